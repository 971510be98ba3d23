"""uvicorn with the production options, and a shutdown that tells every connection before its socket is closed."""

import gc
import socket
import sys
import time
from typing import Any

import uvicorn
from django.conf import settings

from gateway.node import drain_node
from gateway.server.frames import FramesProtocol

BACKLOG = 2_048
KEEP_ALIVE_SECONDS = 75
PING_SECONDS = 20.0
SHUTDOWN_SECONDS = 10
SWITCH_SECONDS = 0.001


class Server(uvicorn.Server):
    """Says ``bye`` first; uvicorn alone would close WebSockets without a word and wait for streams in vain."""

    turned_at = 0.0
    """When (monotonic seconds) the event loop last came round; kept ten times a second."""

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's own heartbeat."""
        self.turned_at = time.monotonic()
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        self.turned_at = time.monotonic()
        await super().startup(sockets=sockets)
        # What lives now lives for ever: the collector need not look at it again and again.
        # The ledger's thread gets its turn within a millisecond of asking, instead of five: sends wait for it.
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then close."""
        for server in self.servers:
            server.close()
        await drain_node()
        await super().shutdown(sockets=sockets)
        # uvicorn would raise the signal again and end as if killed; a drain that came to its end is a success.
        self._captured_signals.clear()


def server_config(**overrides: Any) -> uvicorn.Config:
    """uvicorn's configuration for ``settings.QUICKIM``."""
    configuration = settings.QUICKIM
    options: dict[str, Any] = {
        "app": "quickim.asgi:application",
        "host": configuration.bind_host,
        "port": configuration.bind_port,
        "loop": "uvloop",
        "http": "httptools",
        "ws": FramesProtocol,
        "ws_per_message_deflate": False,
        # Twice the limit: a frame over it is still read, so that its sender can be told.
        "ws_max_size": configuration.max_body_bytes * 2,
        "ws_ping_interval": PING_SECONDS,
        "ws_ping_timeout": PING_SECONDS,
        "lifespan": "on",
        # X-Forwarded-For is believed from QUICKIM_TRUSTED_PROXIES only (gateway.guard); uvicorn trusts loopback.
        "proxy_headers": False,
        "server_header": False,
        # It would write tokens: /notify takes them in its query.
        "access_log": False,
        "log_config": None,
        "backlog": BACKLOG,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        "timeout_graceful_shutdown": SHUTDOWN_SECONDS,
    }
    return uvicorn.Config(**{**options, **overrides})
