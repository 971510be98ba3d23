"""A member's push stream over SSE: the chunked body taken apart into events, messages checked and counted.

Laws: those of ``streams``; an answer that is no event stream, a notice that ends it, or its end rings the
alarm.
"""

import asyncio
from typing import cast

from bench.alarm import Alarm, BenchmarkError
from bench.load.http import head_of, request
from bench.load.streams import Stream, Tally, decode_frame


class EventStream(Stream):
    """A member's stream of one conversation."""

    def __init__(self, alarm: Alarm, token: str, tally: Tally) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.seq = 0
        self._alarm = alarm
        self._tally = tally
        self._request = request("GET", "/notify?protoc=sse", token, "Accept: text/event-stream\r\n")
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""
        self._text = b""
        self._head_read = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._head_read:
            self._read_head()
        if self._head_read:
            self._read_chunks()
            self._read_events()

    def _read_head(self) -> None:
        status, headers, size = head_of(self._received)
        if not size:
            return
        is_stream = headers.get("content-type", "").startswith("text/event-stream")
        if status != 200 or not is_stream or headers.get("transfer-encoding") != "chunked":
            raise BenchmarkError(f"no event stream: {self._received[:500].decode('utf-8', 'replace')}")
        self._received = self._received[size:]
        self._head_read = True
        self.opened.set_result(None)

    def _read_chunks(self) -> None:
        while (line_end := self._received.find(b"\r\n")) >= 0:
            size = int(self._received[:line_end], 16)
            end = line_end + 2 + size
            if size == 0:
                raise BenchmarkError("the server ended an event stream")
            if len(self._received) < end + 2:
                return
            self._text += self._received[line_end + 2 : end]
            self._received = self._received[end + 2 :]

    def _read_events(self) -> None:
        *events, self._text = self._text.replace(b"\r\n", b"\n").split(b"\n\n")
        for event in events:
            lines = (line.partition(":") for line in event.decode().split("\n"))
            fields = {name: value.removeprefix(" ") for name, _, value in lines}
            name = fields.get("event", "")
            if name == "message":
                self.message_received(fields["data"])
            elif name in ("bye", "reset"):
                raise BenchmarkError(f"an unexpected notice: {event.decode()}")

    def message_received(self, payload: str) -> None:
        """One message; whatever this raises rings the alarm."""
        frame = decode_frame(payload)
        if frame.seq != self.seq + 1:
            raise BenchmarkError(f"Seq {frame.seq} was pushed after {self.seq}")
        self.seq += 1
        self._tally.add(1)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._alarm.ring(BenchmarkError(f"the server dropped an event stream ({exc})"))

    async def ready(self) -> None:
        """Returns when the answer's head is there."""
        await self.opened

    def close(self) -> None:
        """Ends the connection from our side."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
