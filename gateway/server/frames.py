"""uvicorn's WebSocket protocol, offering the application its transport: ``scope["extensions"]["quickim.frames"]``.

Law: only whole, unmasked, uncompressed frames are written here, between those that the protocol writes itself; so
deflate must be off, and the application uses it for text frames only.
"""

from typing import Any, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

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


class Conversation(ServerProtocol):
    """RFC 6455, with its 5.4 to the letter: a close may come amid the pieces of a message, and is no error then."""

    def recv_frame(self, frame: Frame) -> None:
        """Take one frame."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)


class FramesProtocol(WebSocketsSansIOProtocol):
    """See the module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = Conversation(max_size=self.config.ws_max_size, logger=self.logger)

    def send_receive_event_to_app(self) -> None:
        """A message is whole. Text that is none ends the connection, which is the client's fault and no crash."""
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf8(self.frames):
            self.frames = []
            self.conn.fail(CloseCode.INVALID_DATA, "invalid UTF-8")
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def keepalive_timeout(self) -> None:
        """Who answers no ping may not read, either: what waits for him would keep the connection for ever."""
        super().keepalive_timeout()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def handle_connect(self, event: Request) -> None:
        """Adds the extension before the application's task begins to run."""
        super().handle_connect(event)
        if self.handshake_initiated and not self.close_sent:
            cast(dict[str, Any], self.scope["extensions"])["quickim.frames"] = Frames(self)


def _is_utf8(pieces: list[bytes]) -> bool:
    if all(piece.isascii() for piece in pieces):
        return True
    try:
        b"".join(pieces).decode()
    except UnicodeDecodeError:
        return False
    return True
