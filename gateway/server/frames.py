"""uvicorn's WebSocket protocol, offering the application its transport: ``scope["extensions"]["quickim.frames"]``.

Laws: only whole, unmasked, uncompressed frames are written here, between those that the protocol writes itself; so
deflate must be off, and the application uses it for text frames only. An application that left a listener behind may
return while its socket lives: the listener is called for one event after the other, the last one a disconnect, in a
task that lives as long as there are some. Nothing of the handshake is kept for an idle socket.
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import (  # type: ignore[attr-defined]  # apply_mask: in C, where it was built
    CloseCode,
    Frame,
    Opcode,
    apply_mask,
)
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway.server.refusals import handshake_refusal
from gateway.server.waiting import Events, Gate
from quickim.tasks import spawn

Listener = Callable[[Any], Awaitable[None]]
"""Takes one ASGI event."""
SHORTEST = 6
"""Bytes of a frame from a client: two of the head, four of the mask."""
WHOLE_TEXT = 0x81
MASKED = 0x80
TWO_BYTES, EIGHT_BYTES = 126, 127
"""What stands for a length when it is that many bytes long (RFC 6455, 5.2)."""
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

    def leave_to(self, listener: Listener) -> None:
        """Once the application has returned, its ``receive`` is over and ``listener`` takes what comes."""
        self._protocol.listener = listener


class Conversation(ServerProtocol):
    """RFC 6455, with its 5.4 to the letter: a close may come amid the pieces of a message, and is no error then."""

    is_level = False
    """Whether the last byte that came was a message's last: the next begins another."""

    def reject(self, status: Any, text: str) -> Response:
        """A handshake is refused as everything is: in the envelope."""
        return handshake_refusal(int(status))

    def receive_data(self, data: bytes | bytearray) -> None:
        """Take what came in."""
        self.is_level = False
        super().receive_data(data)

    def recv_frame(self, frame: Frame) -> None:
        """Take one frame."""
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)
        self.is_level = not self.reader.buffer and self.current_size is None and self.state is State.OPEN


class FramesProtocol(WebSocketsSansIOProtocol):
    """See the module."""

    # uvicorn's own attributes, too: in slots they take a fifth of what they take in a dictionary.
    __slots__ = (
        "_is_listening",
        "app",
        "app_state",
        "asgi_version",
        "client",
        "close_sent",
        "close_timeout",
        "close_timer",
        "config",
        "conn",
        "connections",
        "curr_msg_data_type",
        "default_headers",
        "disconnected",
        "frames",
        "handshake_complete",
        "handshake_initiated",
        "initial_response",
        "last_ping_rtt",
        "listener",
        "logger",
        "loop",
        "pending_ping_payload",
        "ping_interval",
        "ping_sent_at",
        "ping_timeout",
        "ping_timer",
        "pong_timer",
        "queue",
        "read_paused",
        "request",
        "response",
        "root_path",
        "scheme",
        "scope",
        "server",
        "tasks",
        "transport",
        "writable",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn: Conversation = Conversation(max_size=self.config.ws_max_size, logger=self.logger)
        self.queue: Any = Events()
        self.writable: Any = Gate()
        self.listener: Listener | None = None
        self._is_listening = False

    async def run_asgi(self) -> None:
        """Run the application, which may leave its socket to a listener."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except BaseException:
            self.logger.exception("Exception in ASGI application\n")
            self.send_500_response()
        else:
            if self.listener is not None:
                self._listen()
                return
            if not self.handshake_complete:
                self.logger.error("ASGI callable returned without completing handshake.")
                self.send_500_response()
        if self.close_timer is None:
            self.transport.close()

    def _listen(self) -> None:
        del self.scope, self.request, self.response
        self.queue.came = self._wake
        if not self.queue.empty():
            self._wake()

    def _wake(self) -> None:
        if self.listener is not None and not self._is_listening:
            self._is_listening = True
            task = spawn(self._hear(), "websocket listener")
            task.add_done_callback(self.on_task_complete)
            self.tasks.add(task)

    async def _hear(self) -> None:
        """All that waits; what comes meanwhile, too."""
        try:
            while (listener := self.listener) is not None and not self.queue.empty():
                event = await self.receive()
                if event["type"] == "websocket.disconnect":
                    self.listener = None
                await listener(event)
        except Exception as error:  # whatever it is, the connection must not stay half alive
            if not isinstance(error, OSError):
                self.logger.exception("Exception in ASGI application\n")
            await self._give_up()
        finally:
            self._is_listening = False
            if self.listener is None:
                self.queue.came = None
                if self.close_timer is None:
                    self.transport.close()

    async def _give_up(self) -> None:
        """The listener failed, perhaps at its end."""
        listener, self.listener = self.listener, None
        if listener is not None:
            await listener({"type": "websocket.disconnect", "code": CloseCode.ABNORMAL_CLOSURE})

    def data_received(self, data: bytes) -> None:
        """Take what came in: whole messages here, all else by the library, which may not be amid anything then."""
        if self.conn.is_level and not self.close_sent:
            data = self._take_messages(data)
        if data:
            super().data_received(data)

    def _take_messages(self, data: bytes) -> bytes:
        """Nearly all that comes is a short text in one frame, which this reads at a fraction of the library's cost.
        Returns what begins with anything else."""
        start, size = 0, len(data)
        while size - start >= SHORTEST and data[start] == WHOLE_TEXT:
            length, mask = data[start + 1], start + 2
            if length < MASKED or length == MASKED | EIGHT_BYTES:
                break
            length -= MASKED
            if length == TWO_BYTES:
                length, mask = int.from_bytes(data[mask : mask + 2], "big"), mask + 2
                if length < TWO_BYTES:
                    break
            end = mask + 4 + length
            if end > size:
                break
            self.curr_msg_data_type = "text"
            self.frames = [apply_mask(data[mask + 4 : end], data[mask : mask + 4])]
            self.send_receive_event_to_app()
            if self.close_sent:
                return b""
            start = end
        return data[start:]

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
