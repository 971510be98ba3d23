"""What `/static/` serves, and what it answers to whoever looks for more."""

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.exceptions import SuspiciousOperation
from django.http import FileResponse, Http404, HttpRequest, HttpResponse


class StaticFiles(ASGIStaticFilesHandler):
    """Django's, for which a path that leads out of its directories is a crash and not a page that does not exist."""

    def serve(self, request: HttpRequest) -> HttpResponse | FileResponse:
        """The file of ``request``; raises Http404."""
        try:
            return super().serve(request)
        except SuspiciousOperation as error:
            raise Http404 from error
