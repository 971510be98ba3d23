"""uvicorn with the production options, and a shutdown that tells every connection before its socket is closed."""

import asyncio
import gc
import logging
import socket
import sys
import time
from typing import Any

import uvicorn
from django.conf import settings
from uvicorn.config import STARTUP_FAILURE

from gateway.node import drain_node
from gateway.server.arrivals import arrivals
from gateway.server.limited import LimitedHttp
from gateway.server.limited_websocket import LimitedWebSocket
from quickim.rest.edge import PRIVATE_LISTENER

logger = logging.getLogger(__name__)

BACKLOG = 65_535
"""As many as the system lets wait to be accepted: who finds no room tries again after seconds."""
KEEP_ALIVE_SECONDS = 75
PING_SECONDS = 20.0
SHUTDOWN_SECONDS = 10
SWITCH_SECONDS = 0.001
TICKS_BETWEEN_LOOKS = 10
"""Of a tenth of a second each."""


class Server(uvicorn.Server):
    """Says ``bye`` first; uvicorn alone would close WebSockets without a word and wait for streams in vain."""

    turned_at = 0.0
    """When (monotonic seconds) the event loop last came round; kept ten times a second."""

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's own heartbeat."""
        self.turned_at = time.monotonic()
        if counter % TICKS_BETWEEN_LOOKS == 0:
            arrivals().drop_late(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve; of two ``sockets`` the second is that of ``QUICKIM_INNER_BIND``."""
        self.turned_at = time.monotonic()
        await super().startup(sockets=sockets[:1] if sockets else None)
        address: tuple[str, int] | None = settings.QUICKIM.inner_bind
        if address is not None and self.started:
            await self._listen_privately(address, sockets[1] if sockets else None)
        # What lives now lives for ever: the collector need not look at it again and again.
        # The ledger's thread gets its turn within a millisecond of asking, instead of five: sends wait for it.
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.collect()
        gc.freeze()

    async def _listen_privately(self, address: tuple[str, int], listener: socket.socket | None) -> None:
        def connected() -> asyncio.Protocol:
            # Told by the listener, not by the address: nothing that a client sends makes it so.
            app_state = {**self.lifespan.state, PRIVATE_LISTENER: True}
            return LimitedHttp(self.config, self.server_state, app_state)

        loop = asyncio.get_running_loop()
        host, port = address
        where: dict[str, Any] = {"sock": listener} if listener else {"host": host, "port": port}
        try:
            server = await loop.create_server(connected, backlog=BACKLOG, **where)
        except OSError as error:
            logger.error("QUICKIM_INNER_BIND cannot be listened at: %s.", error.strerror)
            self.started = False
            for public in self.servers:
                public.close()
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)
        self.servers.append(server)

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
        "http": LimitedHttp,
        "ws": LimitedWebSocket,
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
