"""Which web pages may use this server: CORS by exact origins, and the origin of a browser's WebSocket.

Laws: credentials of the browser's own (cookies) are never let across, so an answer names the origin and nothing more;
``null``, the origin of files and sandboxes that anybody may make, is nobody's; what is for the product's back end or
its staff is for no page of another site.
"""

from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpResponse
from django.http.request import split_domain_port, validate_host
from django.http.response import HttpResponseBase

Headers = list[tuple[bytes, bytes]]

_HEADERS = "Authorization, Content-Type, Last-Event-ID, X-Request-Id, traceparent"
_PREFLIGHT_SECONDS = "600"
_VARY = (b"vary", b"Origin")
_EXPOSED = (b"access-control-expose-headers", b"X-Request-Id, Retry-After")


def origin_allowed(origin: str) -> bool:
    """Whether ``QUICKIM_ALLOWED_ORIGINS`` names ``origin``; same origin is the caller's to know."""
    allowed: tuple[str, ...] = settings.QUICKIM.allowed_origins
    return origin != "null" and ("*" in allowed or origin in allowed)


def is_own_origin(origin: str, host: str) -> bool:
    """Whether a page of this server's own asks, which was called by the name ``host``."""
    try:
        netloc = urlsplit(origin).netloc
    except ValueError:
        return False
    domain, _ = split_domain_port(host)
    # Only by a name of ours: anybody may have a name of his own point here.
    return bool(netloc) and netloc == host and bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


def cross_origin_headers(headers: dict[bytes, bytes], *, is_private: bool) -> Headers:
    """What tells the browser of a page of another site whether that may read the answer."""
    if not settings.QUICKIM.allowed_origins or is_private:
        return []
    origin = headers.get(b"origin")
    if origin is None or not origin_allowed(origin.decode("latin-1")):
        # Also without an origin: what a cache keeps of this answer is not for a page with one.
        return [_VARY]
    return [_VARY, (b"access-control-allow-origin", origin), _EXPOSED]


def preflight(extra: Headers) -> HttpResponseBase:
    """The answer to a browser that asks first, with the ``extra`` headers of every answer."""
    response = HttpResponse(status=204)
    del response["Content-Type"]
    for name, value in extra:
        response[name.decode()] = value.decode("latin-1")
    if "Access-Control-Allow-Origin" in response:
        response["Access-Control-Allow-Methods"] = "GET, POST"
        response["Access-Control-Allow-Headers"] = _HEADERS
        response["Access-Control-Max-Age"] = _PREFLIGHT_SECONDS
    return response
