"""The pages for people at ``/`` (the playground, or what runs here) and ``/docs``, and the OpenAPI document that the
latter shows.

Laws: they fetch nothing from elsewhere and run no inline script, and a Content-Security-Policy holds them to it; they
read no database, so they answer when it is away; what is wrong with a request is answered in the envelope.
"""

from collections.abc import Callable
from functools import cache, lru_cache, wraps
from hashlib import sha256

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.translation import get_language_from_request
from django.views.decorators.csrf import csrf_exempt

from conversations.api import AN_ID
from gateway.playground.admission import is_shown
from quickim.errors import MethodNotAllowed
from quickim.openapi.document import Document, build_document
from quickim.openapi.outline import build_outline
from quickim.rest.answers import failure
from quickim.rest.strict_json import encode

View = Callable[[HttpRequest], HttpResponse]

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
)
_READING = ("GET", "HEAD")
_BASES = 8
"""How many addresses of this server the page of documents is kept ready for."""


def _page(view: View) -> View:
    """Reading only, under the policy, and sent again only when it changed."""

    # There is nothing to forge, and Django's check would answer a POST with a page before we can with the envelope.
    @csrf_exempt
    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        if request.method not in _READING:
            refusal = failure(MethodNotAllowed())
            refusal["Allow"] = ", ".join(_READING)
            return refusal
        response = view(request)
        response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response["Cache-Control"] = "no-cache"
        response["ETag"] = etag = f'"{sha256(response.content).hexdigest()[:32]}"'
        return get_conditional_response(request, etag=etag, response=response) or response

    return answer


@_page
def landing(request: HttpRequest) -> HttpResponse:
    """The playground for whom it is there; for others, and with ``?page=landing``, what runs here and how to begin.

    In Chinese for a browser that prefers it, or with ``?lang=zh`` or ``en``.
    """
    asked = request.GET.get("lang", "") or get_language_from_request(request)
    has_playground = is_shown(request)
    is_playground = has_playground and request.GET.get("page") != "landing"
    context = {
        "is_chinese": asked.startswith("zh"),
        "base": _base(request),
        "has_playground": has_playground,
        "needs_key": bool(settings.QUICKIM.inner_api_keys),
    }
    response = HttpResponse(render_to_string("playground.html" if is_playground else "landing.html", context))
    patch_vary_headers(response, ["Accept-Language", "Cookie"])
    return response


@_page
def docs(request: HttpRequest) -> HttpResponse:
    """The document, to be read."""
    return HttpResponse(_docs_page(_base(request)))


@_page
def openapi(request: HttpRequest) -> HttpResponse:
    """The document itself."""
    return HttpResponse(_encoded_document(), content_type="application/json")


@cache
def _document() -> Document:
    return build_document(settings.QUICKIM)


@cache
def _encoded_document() -> bytes:
    return encode(_document())


@lru_cache(_BASES)
def _docs_page(base: str) -> str:
    context = {"outline": build_outline(_document()), "base": base, "conversation_id": AN_ID}
    return render_to_string("docs.html", context)


def _base(request: HttpRequest) -> str:
    """This server's address as the caller knows it."""
    return request.build_absolute_uri("/").rstrip("/")
