"""HTTP as seen from outside: every answer is counted by its endpoint, status and code, and written to the access log
where that is wanted (logger ``quickim.access``, QUICKIM_ACCESS_LOG).

Law: an endpoint is the name of a route, or the folder that others serve below, or ``unknown``: what a client wrote into
its address goes neither into a label nor into a line.
"""

import logging
import re
import time
from functools import cache
from typing import Any

from django.urls import URLPattern, get_resolver

from quickim.observability import metrics
from quickim.rest.edge import Application, Event, Receive, Scope, Send

logger = logging.getLogger("quickim.access")

UNKNOWN = "unknown"
UNTIMED = frozenset({"notify"})
"""Their time is the client's wish."""
MAX_SEEN = 1_000
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CODE = re.compile(rb'\{"code":(\d{1,5})[,}]')


class Measured:
    """The ASGI application around all HTTP."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        began = time.perf_counter()
        seconds = 0.0
        status = 0

        async def send_and_look(event: Event) -> None:
            nonlocal status, seconds
            if event["type"] == "http.response.start":
                status, seconds = event["status"], time.perf_counter() - began
            elif status:
                # The first piece tells the code as the client reads it.
                _count(scope, status, event.get("body", b""), seconds)
                status = 0
            await send(event)

        await self._application(scope, receive, send_and_look)


def _count(scope: Scope, status: int, body: bytes, seconds: float) -> None:
    key = (scope["path"], status, body[:14])
    labels = _seen.get(key) or _labels(*key)
    endpoint, _, code = labels
    metrics.HTTP_REQUESTS.inc(1, *labels)
    if endpoint not in UNTIMED:
        metrics.HTTP_SECONDS.observe(seconds, endpoint)
    if logger.isEnabledFor(logging.INFO):
        method = scope["method"] if scope["method"] in _METHODS else UNKNOWN
        logger.info("%s %s: status %d, code %s, %.1f ms", method, endpoint, status, code or "-", seconds * 1_000)


_seen: dict[tuple[str, int, bytes], tuple[str, str, str]] = {}
"""The labels of answers that came before; only of paths of ours."""


def _labels(path: str, status: int, beginning: bytes) -> tuple[str, str, str]:
    match = _CODE.match(beginning)
    labels = (endpoint_of(path), str(status), match[1].decode() if match else "")
    if path in _routes()[0] and len(_seen) < MAX_SEEN:
        _seen[path, status, beginning] = labels
    return labels


def endpoint_of(path: str) -> str:
    """The name that metrics and logs give to ``path``."""
    names, folders = _routes()
    if (name := names.get(path)) is not None:
        return name
    return next((folder for prefix, folder in folders if path.startswith(prefix)), UNKNOWN)


@cache
def _routes() -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """The names of the paths that are whole, and the folders: each with the path that it begins with."""
    patterns: list[Any] = get_resolver().url_patterns
    names = {f"/{pattern.pattern}": pattern.name or UNKNOWN for pattern in patterns if isinstance(pattern, URLPattern)}
    folders = [str(pattern.pattern) for pattern in patterns if not isinstance(pattern, URLPattern)]
    return names, tuple((f"/{folder}", folder.strip("/")) for folder in (*folders, "static/"))
