"""Listeners on the three protocols that peers push over: WebSocket, server-sent events and long polls.

Laws: what one listener has taken apart, the others recognise (see ``audience``); a connection that the peer drops or
an answer other than 200 rings the alarm.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from bench.alarm import Alarm, BenchmarkError
from bench.load.http import head_of
from bench.load.websocket import WebSocketConnection
from bench.peers.audience import Audience, Ear
from bench.peers.content import number_in, numbers_in

_EVENT_ENDS = (b"\n\n\r\n", b"\n\n")
"""With the end of an HTTP chunk, and without."""
_SUBSCRIBED_SECONDS = 0.5
"""After the last one is open, for what a peer does then; a message that still misses it shows in the figures."""


class WebSocketListener(WebSocketConnection):
    """One text frame holds at most one message; any other goes to ``other_received``."""

    def __init__(self, alarm: Alarm, path: str, token: str, audience: Audience) -> None:
        super().__init__(alarm, path, token)
        self._ear = Ear(audience)
        self._only_messages = True

    def other_received(self, payload: bytes) -> None:
        """A text frame without a message; whatever this raises rings the alarm."""
        raise BenchmarkError(f"an unexpected frame: {payload[:200]!r}")

    def data_received(self, data: bytes) -> None:
        whole_before = self._upgraded and not self._received
        if whole_before and self._ear.knows(data):
            return
        place_before, self._only_messages = self._ear.place, True
        super().data_received(data)
        if whole_before and not self._received and self._only_messages:
            self._ear.learn(data, place_before)

    def text_received(self, payload: bytes) -> None:
        if number := number_in(payload):
            self._ear.hear(number)
        else:
            self._only_messages = False
            self.other_received(payload)

    def _control_received(self, opcode: int, payload: bytes) -> None:
        self._only_messages = False
        super()._control_received(opcode, payload)


class HttpListener(asyncio.Protocol):
    """What both kinds over HTTP have in common."""

    def __init__(self, alarm: Alarm, first_request: bytes, audience: Audience) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._alarm = alarm
        self._request = first_request
        self._ear = Ear(audience)
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._alarm.ring(BenchmarkError(f"the peer dropped a listener ({exc})"))

    def close(self) -> None:
        """Ends the connection from our side."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


class EventListener(HttpListener):
    """Server-sent events; ``opened`` when the head of the answer is there."""

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            self._received += data
            status, headers, size = head_of(self._received)
            if not size:
                return
            if status != 200 or not headers.get("content-type", "").startswith("text/event-stream"):
                raise BenchmarkError(f"no event stream: {self._received[:300]!r}")
            data, self._received = self._received[size:], b""
            self.opened.set_result(None)
        if not self._received and self._ear.knows(data):
            return
        whole_before, place_before = not self._received, self._ear.place
        received, end = self._received + data, 0
        for number, after in numbers_in(received):
            self._ear.hear(number)
            end = after
        self._received = b"" if received.endswith(_EVENT_ENDS) else received[end:]
        if whole_before and not self._received:
            self._ear.learn(data, place_before)


class PollListener(HttpListener):
    """Long polls on one connection; ``next_request`` makes the request after an answer, head and body."""

    def __init__(
        self, alarm: Alarm, first_request: bytes, next_request: Callable[[bytes], bytes], audience: Audience
    ) -> None:
        super().__init__(alarm, first_request, audience)
        self._next_request = next_request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.opened.set_result(None)

    def data_received(self, data: bytes) -> None:
        whole_before = not self._received
        received = self._received = self._received + data
        if not (whole_before and self._ear.knows(data)):
            if not _is_whole(received):
                return
            place_before = self._ear.place
            for number, _ in numbers_in(received):
                self._ear.hear(number)
            self._ear.learn(received, place_before)
        self._received = b""
        if self._transport is not None:
            self._transport.write(self._next_request(received))


async def open_all(port: int, listeners: Sequence[WebSocketListener | HttpListener]) -> None:
    """Connects them, one after the other; returns when all are open."""
    loop = asyncio.get_running_loop()
    for listener in listeners:
        await loop.create_connection(partial(itself, listener), "127.0.0.1", port)
        await listener.opened
    await asyncio.sleep(_SUBSCRIBED_SECONDS)


def itself(protocol: asyncio.Protocol) -> asyncio.Protocol:
    """For a factory of protocols, when the one is there already."""
    return protocol


def _is_whole(answer: bytes) -> bool:
    status, headers, size = head_of(answer)
    if not size:
        return False
    if status != 200 or "content-length" not in headers:
        raise BenchmarkError(f"unexpected answer to a poll: {answer[:300]!r}")
    return len(answer) >= size + int(headers["content-length"])
