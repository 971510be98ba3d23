"""uvicorn's HTTP protocol with bounds on what a client may owe, hold or repeat before the application hears of it.

Laws: a connection is counted from its first moment to its last, also when it becomes a WebSocket; a request head is at
most ``MAX_HEAD_BYTES`` long, and so is what surrounds a body; while requests wait behind one that is being answered,
nothing more is read, and ``MOST_WAITING`` may; answers and refusals come in the order of what they answer; an answer
that nobody takes is given up.
"""

from asyncio import BaseTransport
from collections.abc import Callable
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.server.arrivals import FLOOR_BYTES_PER_SECOND, HEAD_SECONDS, arrivals
from gateway.server.flow import Flow
from gateway.server.refusals import refusal
from gateway.server.streams import UNTAKEN_SECONDS, Source, Stream, give_up_untaken
from quickim.errors import InvalidParameter, QuickimError, TooManyRequests
from quickim.rest.addresses import peer_key
from quickim.tasks import spawn

MAX_HEAD_BYTES = 65_536
FRAMING = 9
"""Bytes around each of a body's, when a client sends it in the smallest of chunks, and the byte itself."""
MOST_WAITING = 16
"""Requests behind the one that is being answered."""


class _Refused(Exception):
    """Nothing more of the connection is read."""


class LimitedHttp(HttpToolsProtocol):
    """See the module."""

    limit_key = ""
    flow: Flow

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stays = False
        self._is_open = True
        """Whether the rest of a request is still to come; also before the first."""
        self._has_head = False
        self._piece = 0
        """Bytes of what is being parsed."""
        self._is_pipelined = False
        """Whether another request came to its end in that."""
        self._received = 0
        """Bytes since the request began, at least."""
        self._most_received = 0
        """The same, at most."""
        self._body_bytes = 0
        self._running: RequestResponseCycle | None = None
        """The request that is being answered, or was last."""
        self._last_word = b""
        """What is said when all that came before it is answered."""
        self._when_gone: Callable[[], None] | None = None
        self._is_upgrading = False

    def connection_made(self, transport: BaseTransport) -> None:
        """Let it stay, or say why not."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.flow = Flow(self.transport, self.pipeline)
        self.limit_key = peer_key(self.client[0]) if self.client else ""
        self._stays = arrivals().enter(self.limit_key)
        if self._stays:
            arrivals().begin(self, self.loop.time())
        else:
            self._say_last(refusal(TooManyRequests(retry_after_seconds=HEAD_SECONDS)))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        # uvicorn tells only the request that came last.
        self.pipeline.clear()
        if self._is_answering():
            self._give_up_running()
        self._leave()
        if self._when_gone is not None:
            self._when_gone()
            self._when_gone = None

    def data_received(self, data: bytes) -> None:
        """Parse it, and note whether the client owes more."""
        if self._last_word or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._piece = len(data)
        self._is_pipelined = False
        self._received += self._piece
        self._most_received += self._piece
        try:
            self._parse(data)
            if self._is_open and self._received - FRAMING * self._body_bytes > MAX_HEAD_BYTES:
                self._refuse(InvalidParameter.field("head", "is too large"))
        except _Refused:
            return
        if not self._stays or self._is_upgrading:
            return
        if not self._is_open and not self._is_answering():
            # Ends of lines, behind which nothing begins yet.
            self._is_open, self._has_head, self._received, self._body_bytes = True, False, self._piece, 0
        if self._is_open and not self.pipeline:
            arrivals().begin(self, self.loop.time())
        else:
            arrivals().end(self)

    def _parse(self, data: bytes) -> None:
        """Feed the parser. Raises _Refused, and goes on behind what asks for a protocol that is not spoken here."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except HttpParserUpgrade as upgrade:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                    return
                data = data[upgrade.args[0] :]
            except HttpParserError:
                # Also what a callback of ours raised.
                if not self._last_word and not self.transport.is_closing():
                    self._refuse(InvalidParameter())
                raise _Refused from None

    def on_message_begin(self) -> None:
        """A request."""
        super().on_message_begin()
        self._is_open, self._has_head = True, False
        self._body_bytes = 0
        self._received, self._most_received = 0 if self._is_pipelined else self._piece, self._piece
        cast(dict[str, Any], self.scope)["extensions"] = {
            "quickim.stream": self.leave_to,
            "quickim.gone": self.when_gone,
        }

    def on_headers_complete(self) -> None:
        """Its head is whole. Raises _Refused."""
        if self._most_received > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES:
            self._refuse(InvalidParameter.field("head", "is too large"))
        if len(self.pipeline) >= MOST_WAITING:
            self._refuse(TooManyRequests(retry_after_seconds=1))
        if self.parser.should_upgrade() and self._should_upgrade():
            self._check_upgrade()
        super().on_headers_complete()
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        """A piece of its body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """It is whole."""
        super().on_message_complete()
        self._is_open = False
        self._is_pipelined = True

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection on when its turn has come."""
        arrivals().end(self)
        if arrivals().upgrades.try_enter():
            self._upgrade()
        else:
            self._is_upgrading = True
            self.flow.pause_reading()
            spawn(self._upgrade_in_turn(), "websocket upgrade")

    async def _upgrade_in_turn(self) -> None:
        await arrivals().upgrades.enter()
        if not self.transport.is_closing():
            self._upgrade()
            self.flow.resume_reading()

    def _upgrade(self) -> None:
        """Hand the connection on, and with it its place."""
        self._stays = False
        super().handle_websocket_upgrade()
        websocket: Any = self.transport.get_protocol()
        if not websocket.handshake_initiated:
            # The library of WebSockets could not even read it, and uvicorn does not look at that.
            self._say_last(refusal(InvalidParameter.field("head", "cannot be read as a WebSocket's")))

    def when_gone(self, tell: Callable[[], None] | None) -> bool:
        """Call ``tell`` if the client goes while the answer is under way, until that is taken back; False when it is
        gone."""
        self._when_gone = tell
        return not self.transport.is_closing()

    def leave_to(self, source: Source) -> Stream | None:
        """The answer under way goes on from ``source``, and the application returns; None when it cannot be: the
        client is gone, or has begun to ask for more."""
        cycle, transport = self.cycle, self.transport
        if cycle.disconnected or not cycle.chunked_encoding or cycle.keep_alive or self._is_open or self.pipeline:
            return None
        if transport.is_closing() or not self._stays:
            return None
        self._stays = False
        self.flow.forget()
        self.connections.discard(self)
        self.flow.resume_reading()
        stream = Stream(transport, source, self.connections, self.limit_key, takes=not self.flow.write_paused)
        # As if it were lost: this is no more its connection than one that became a WebSocket.
        cycle.disconnected = True
        self._running = None
        self.parser = self.cycle = self.scope = None  # type: ignore[assignment]
        return stream

    def on_response_complete(self) -> None:
        """The next request that is here begins, whole or not."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._give_up_untaken()
        elif self._last_word and not self._is_answering():
            self._say_last(self._last_word)
        elif self._stays and self._is_open and not self.pipeline:
            arrivals().begin(self, self.loop.time())
        elif self._stays and not self._is_answering():
            arrivals().rest(self)

    def is_late(self, seconds: float) -> bool:
        """See Arriving."""
        # What came in before the application read on waits here, and the client can do nothing about it.
        if self._has_head and self.flow.read_paused:
            return False
        return not self._has_head or self._body_bytes < (seconds - HEAD_SECONDS) * FLOOR_BYTES_PER_SECOND

    def drop(self) -> None:
        """See Arriving."""
        self._leave()
        self.transport.abort()

    def timeout_keep_alive_handler(self) -> None:
        """Idle for long; closing waits for what was not taken, but only while somebody takes it."""
        super().timeout_keep_alive_handler()
        self._give_up_untaken()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _is_answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _give_up_running(self) -> None:
        """Its application writes nothing more, and hears that its client is gone."""
        if self._running is not None:
            self._running.disconnected = True
            self._running.message_event.set()

    def _head_bytes(self) -> int:
        fields = sum(len(name) + len(value) + len(": \r\n") for name, value in self.headers)
        return len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n\r\n") + fields

    def _check_upgrade(self) -> None:
        """A WebSocket begins with a request alone. Raises _Refused."""
        if any(
            (name == b"content-length" and value.strip(b"0")) or name == b"transfer-encoding"
            for name, value in self.headers
        ):
            self._refuse(InvalidParameter.field("body", "is not for a request to upgrade"))
        if self._is_answering():
            self._refuse(InvalidParameter.field("handshake", "must wait for the answers before it"))

    def _give_up_untaken(self) -> None:
        if pending := self.transport.get_write_buffer_size():
            self.loop.call_later(UNTAKEN_SECONDS, give_up_untaken, self.transport, pending)

    def _leave(self) -> None:
        arrivals().end(self)
        if self._stays:
            self._stays = False
            arrivals().leave(self.limit_key)

    def _refuse(self, error: QuickimError) -> None:
        """Say so in its turn, and close. Raises _Refused."""
        arrivals().end(self)
        last: RequestResponseCycle | None = self.cycle
        if last is not None and last.more_body and not last.response_complete:
            # It is the body of the last request: that is never answered.
            if self.pipeline:
                self.pipeline.popleft()
            else:
                self._give_up_running()
                self._say_last(b"" if last.response_started else refusal(error))
                raise _Refused
        if self._is_answering():
            self._last_word = refusal(error)
        else:
            self._say_last(refusal(error))
        raise _Refused

    def _say_last(self, word: bytes) -> None:
        self.transport.write(word)
        self.transport.close()
        self._give_up_untaken()
