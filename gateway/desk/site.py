"""The desk's site: Django's admin under a strict Content-Security-Policy, with a bounded number of logins, and the
desk's own pages in front of the model pages.

Django's own pages were chosen over a theme: they run no inline script, need no build and follow the browser's dark
mode; the themes that were looked at bring a script framework that evaluates strings, which the policy forbids.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver

from gateway.guard import client_address
from quickim.errors import TooManyRequests
from quickim.rest.rates import Buckets

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
    " object-src 'none'"
)


class _LoginRate(NamedTuple):
    per_second: float
    burst: int


ADDRESS_RATE, NAME_RATE = _LoginRate(1 / 10, 10), _LoginRate(1 / 2, 30)
"""Attempts to log in: few from one address; more for one name, lest somebody else keep its owner out."""
_logins = Buckets()


class DeskSite(AdminSite):
    """See the module."""

    site_title = "quickim"
    site_header = "quickim support desk"
    index_title = "Support desk"
    site_url = None
    enable_nav_sidebar = False

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """The desk's pages, then Django's."""
        from gateway.desk.pages import pages  # noqa: PLC0415  # models, which are not ready when the site is made

        return [*pages(self), *super().get_urls()]

    def admin_view(self, view: Callable[..., Any], cacheable: bool = False) -> Any:
        """Every page behind the login, with its headers; what goes wrong is a page, too."""

        @wraps(view)
        def in_words(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            from gateway.desk.answers import refused  # noqa: PLC0415  # models, as above

            # PostgreSQL's text cannot hold it, so no page has to look for it.
            if any("\0" in value for _, values in request.GET.lists() for value in values):
                return refused(request, 400, "Not understood", "The address holds a character that no text has.")
            try:
                response: HttpResponseBase = view(request, *args, **kwargs)
            except PermissionDenied:
                text = "Your account lacks the permission for this page. An administrator can give it."
                return refused(request, 403, "Not allowed", text)
            except Http404:
                return refused(request, 404, "No such page", "There is nothing at this address.")
            return response

        inner = super().admin_view(in_words, cacheable)

        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return _with_policy(inner(request, *args, **kwargs))

        return answer

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The login; who guesses has to wait."""
        if request.method == "POST":
            address = client_address(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))
            try:
                _logins.spend(f"address {address}", ADDRESS_RATE)
                _logins.spend(f"name {request.POST.get('username', '')[:150]}", NAME_RATE)
            except TooManyRequests as error:
                refusal = HttpResponse("Too many attempts: wait a minute.", status=429, content_type="text/plain")
                refusal["Retry-After"] = str(int(error.retry_after_seconds or 1) + 1)
                return refusal
        response = super().login(request, extra_context)
        _with_policy(response)
        return response


def _with_policy(response: HttpResponseBase) -> HttpResponseBase:
    response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response
