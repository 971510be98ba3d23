"""``/metrics``: the numbers of all processes of this machine, for Prometheus.

Law: guarded like /inner, whatever else is configured: they tell how much is going on.
"""

import asyncio

from django.http import HttpRequest, HttpResponse

from gateway.guard import guard_inner
from quickim.errors import MethodNotAllowed, QuickimError
from quickim.observability.metrics_sharing import exposition, gather, read_values
from quickim.rest.answers import failure


async def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format, or OpenMetrics where the request accepts that."""
    try:
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed
        guard_inner(request)
    except QuickimError as error:
        response = failure(error)
        if isinstance(error, MethodNotAllowed):
            response["Allow"] = "GET, HEAD"
        return response
    # Here what belongs to the event loop, the other processes' files on a thread.
    own = read_values()
    accept = request.META.get("HTTP_ACCEPT", "")
    loop = asyncio.get_running_loop()
    body, content_type = await loop.run_in_executor(None, lambda: exposition(gather(own), accept))
    return HttpResponse(
        body, headers={"Content-Type": content_type, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    )


metrics.lean = True  # type: ignore[attr-defined]
