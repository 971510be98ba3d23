"""``/healthz`` and ``/readyz``: does the process live, and can it serve."""

from django.http import HttpRequest, HttpResponse

from gateway.node import is_ready, node
from quickim.errors import MethodNotAllowed, Unavailable
from quickim.rest.answers import failure, success


async def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process lives."""
    if request.method not in ("GET", "HEAD"):
        return _not_allowed()
    return success({"status": "ok"})


async def readyz(request: HttpRequest) -> HttpResponse:
    """200 when database, ledger and layer answer; ``degraded`` with only the layer away; else 503 and what does not."""
    if request.method not in ("GET", "HEAD"):
        return _not_allowed()
    missing = await is_ready()
    if missing and set(missing) != {"layer"}:
        return failure(Unavailable(dict(missing)))
    if node().is_draining:
        return failure(Unavailable({"node": "is draining"}))
    return success({"status": "degraded", **missing} if missing else {"status": "ok"})


def _not_allowed() -> HttpResponse:
    response = failure(MethodNotAllowed())
    response["Allow"] = "GET, HEAD"
    return response


healthz.lean = True  # type: ignore[attr-defined]
readyz.lean = True  # type: ignore[attr-defined]
