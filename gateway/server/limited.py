"""uvicorn's protocols with bounds on what a client may owe, hold or repeat before the application hears of it.

Laws: a connection is counted from its first moment to its last, also when it becomes a WebSocket; a request head is at
most ``MAX_HEAD_BYTES`` long, and so is what surrounds a body; an answer that nobody takes is given up; WebSocket frames
that ASGI does not tell of (pings, pongs, pieces of messages) count as frames too.
"""

import uuid
from asyncio import BaseTransport
from typing import Any

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from websockets.frames import Frame

from gateway.server.arrivals import FLOOR_BYTES_PER_SECOND, HEAD_SECONDS, arrivals
from gateway.server.frames import FramesProtocol
from quickim.errors import InvalidParameter, TooManyRequests
from quickim.rest.addresses import peer_key
from quickim.rest.answers import failure
from quickim.rest.rates import Bucket

MAX_HEAD_BYTES = 65_536
FRAMING = 9
"""Bytes around each of a body's, when a client sends it in the smallest of chunks, and the byte itself."""
UNTAKEN_SECONDS = 10.0
"""How often it is looked whether the rest of an answer is still being taken."""


class LimitedHttp(HttpToolsProtocol):
    """See the module."""

    limit_key = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stays = False
        self._is_open = True
        """Whether the rest of a request is still to come; also before the first."""
        self._has_head = False
        self._received = 0
        self._body_bytes = 0
        self._untaken = 0

    def connection_made(self, transport: BaseTransport) -> None:
        """Let it stay, or say why not."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.limit_key = peer_key(self.client[0]) if self.client else ""
        self._stays = arrivals().enter(self.limit_key)
        if self._stays:
            arrivals().begin(self, self.loop.time())
        else:
            self._refuse(TooManyRequests(retry_after_seconds=HEAD_SECONDS))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Parse it, and note whether the client owes more."""
        if self.transport.is_closing():
            return
        self._received += len(data)
        if self._is_open and self._received - FRAMING * self._body_bytes > MAX_HEAD_BYTES + len(data):
            self._refuse(InvalidParameter.field("head", "is too large"))
            return
        super().data_received(data)
        if not self._stays:
            return
        if self._is_open and not self.pipeline:
            arrivals().begin(self, self.loop.time())
        else:
            arrivals().end(self)

    def on_message_begin(self) -> None:
        """A request."""
        super().on_message_begin()
        self._is_open, self._has_head = True, False
        self._received = self._body_bytes = 0

    def on_headers_complete(self) -> None:
        """Its head is whole."""
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

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection on, and with it its place."""
        arrivals().end(self)
        self._stays = False
        super().handle_websocket_upgrade()

    def on_response_complete(self) -> None:
        """The next request that is here begins, whole or not."""
        super().on_response_complete()
        if self._stays and self._is_open and not self.pipeline and not self.transport.is_closing():
            arrivals().begin(self, self.loop.time())

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

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered in the envelope, too."""
        self._refuse(InvalidParameter())

    def timeout_keep_alive_handler(self) -> None:
        """Idle for long; closing waits for what was not taken, but only while somebody takes it."""
        super().timeout_keep_alive_handler()
        self._untaken = self.transport.get_write_buffer_size()
        if self._untaken:
            self.loop.call_later(UNTAKEN_SECONDS, self._give_up_untaken)

    def _give_up_untaken(self) -> None:
        pending = self.transport.get_write_buffer_size()
        if self._untaken - pending < UNTAKEN_SECONDS * FLOOR_BYTES_PER_SECOND:
            self.transport.abort()
            return
        self._untaken = pending
        self.loop.call_later(UNTAKEN_SECONDS, self._give_up_untaken)

    def _leave(self) -> None:
        arrivals().end(self)
        if self._stays:
            self._stays = False
            arrivals().leave(self.limit_key)

    def _refuse(self, error: InvalidParameter | TooManyRequests) -> None:
        response = failure(error)
        lines = [f"HTTP/1.1 {response.status_code} {response.reason_phrase}", "connection: close"]
        lines += [f"{name.lower()}: {value}" for name, value in response.items()]
        lines.append(f"x-request-id: {uuid.uuid4().hex}")
        lines += [f"content-length: {len(response.content)}", "", ""]
        self.transport.write("\r\n".join(lines).encode("latin-1") + response.content)
        self.transport.close()


class LimitedWebSocket(FramesProtocol):
    """See the module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rate = settings.QUICKIM.frame_rate
        self._rate = rate
        self._unseen = Bucket(rate, self.loop.time()) if rate else None

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        arrivals().leave(peer_key(self.client[0]) if self.client else "")

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
