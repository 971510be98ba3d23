"""uvicorn's WebSocket protocol, offering the application its transport: ``scope["extensions"]["quickim.frames"]``.

Law: only whole, unmasked, uncompressed frames are written here, between those that the protocol writes itself; so
deflate must be off, and the application uses it for text frames only.
"""

from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

LINGER_SECONDS = 5.0
"""How long one who answers no ping has to take what was written before."""


class Frames:
    """The transport of one WebSocket (gateway.transports.websocket.FrameWriter)."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: "FramesProtocol") -> None:
        self._protocol = protocol

    @property
    def pending(self) -> int:
        """Bytes not yet taken by the socket."""
        return self._protocol.transport.get_write_buffer_size()

    def write(self, frame: bytes) -> int:
        """Write a whole frame, nothing once the socket closes; returns what is pending."""
        protocol = self._protocol
        if self.is_closing:
            return 0
        transport = protocol.transport
        transport.write(frame)
        return transport.get_write_buffer_size()

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be written any more: the protocol itself has said its last word."""
        return self._protocol.close_sent or self._protocol.disconnected

    async def drained(self) -> None:
        """Wait until the socket took most of it, or is gone."""
        await self._protocol.writable.wait()

    def abort(self) -> None:
        """Drop the connection."""
        self._protocol.transport.abort()


class FramesProtocol(WebSocketsSansIOProtocol):
    """See the module."""

    def keepalive_timeout(self) -> None:
        """Who answers no ping may not read, either: what waits for him would keep the connection for ever."""
        super().keepalive_timeout()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def handle_connect(self, event: Request) -> None:
        """Adds the extension before the application's task begins to run."""
        super().handle_connect(event)
        if self.handshake_initiated and not self.close_sent:
            cast(dict[str, Any], self.scope["extensions"])["quickim.frames"] = Frames(self)
