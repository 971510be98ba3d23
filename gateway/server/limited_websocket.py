"""uvicorn's WebSocket protocol with bounds: frames that ASGI does not tell of (pings, pongs, pieces of messages) count
as well, and who was told the end need not be waited for.
"""

from typing import Any

from django.conf import settings
from websockets.frames import Frame

from gateway.server.arrivals import arrivals
from gateway.server.frames import FramesProtocol
from quickim.rest.addresses import peer_key
from quickim.rest.rates import Bucket


class LimitedWebSocket(FramesProtocol):
    """See the module."""

    __slots__ = ("_rate", "_unseen")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rate = settings.QUICKIM.frame_rate
        self._rate = rate
        self._unseen = Bucket(rate, self.loop.time()) if rate else None

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        arrivals().wake(self)
        arrivals().leave(peer_key(self.client[0]) if self.client else "")

    async def send(self, message: Any) -> None:
        """Whoever was told the end need not be waited for, when others come."""
        await super().send(message)
        if self.close_timer is not None and not self.disconnected:
            arrivals().rest(self)

    def drop(self) -> None:
        """See Idle."""
        arrivals().wake(self)
        self.transport.abort()

    def handle_ping(self) -> None:
        """Answer it."""
        super().handle_ping()
        self._count()

    def handle_pong(self, event: Frame) -> None:
        """Ours, or one that nobody asked for."""
        super().handle_pong(event)
        self._count()

    def handle_cont(self, event: Frame) -> None:
        """A piece of a message."""
        super().handle_cont(event)
        self._count()

    def _count(self) -> None:
        if self._unseen is not None and self._rate and self._unseen.take(self._rate, self.loop.time()):
            self._unseen = None
            flood: Any = {"type": "websocket.receive", "quickim.flood": True}
            self.queue.put_nowait(flood)
