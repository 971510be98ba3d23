"""The ASGI application: HTTP through the edge, WebSockets to the gateway's consumer, one node started before either."""

import os
from typing import Any, cast

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path, re_path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "quickim.settings")
django_application = get_asgi_application()

# Only now: these import models, which need the apps that the line above has set up.
from gateway.node import drain_node, ensure_node  # noqa: E402
from gateway.transports.websocket import NotifyConsumer, RefusedPath  # noqa: E402
from quickim.measured import Measured  # noqa: E402
from quickim.observability import tracing  # noqa: E402
from quickim.rest.edge import Application, Edge, Receive, Scope, Send  # noqa: E402
from quickim.rest.slots import Slots  # noqa: E402
from quickim.static_files import StaticFiles  # noqa: E402

_http = Measured(Edge(Slots(cast(Application, StaticFiles(django_application)))))
_router = ProtocolTypeRouter(
    {
        "http": _http,
        # Django's types know views only; Channels routes to applications.
        "websocket": URLRouter([path("notify", NotifyConsumer.as_asgi()), re_path("", cast(Any, RefusedPath()))]),
    }
)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one scope; the first one starts the node."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    await ensure_node()
    if (spans := tracing.spans()) is not None and scope["type"] == "http" and spans.follows(scope):
        await spans.http(_http, scope, receive, send)
    elif scope["type"] == "http":
        await _http(scope, receive, send)
    else:
        await _router(scope, receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        event: dict[str, Any] = dict(await receive())
        if event["type"] == "lifespan.startup":
            await ensure_node()
            await send({"type": "lifespan.startup.complete"})
        else:
            await drain_node()
            await send({"type": "lifespan.shutdown.complete"})
            return
