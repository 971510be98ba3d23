"""Members' push streams, each checked for order and completeness; here those over WebSocket.

Laws: a stream carries the messages of one conversation from Seq 1 on, without a hole and without a repeat;
the tally counts what all streams of a benchmark received, so that it is full only when every one of them has
everything.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import msgspec

from bench.alarm import Alarm, BenchmarkError
from bench.load.websocket import WebSocketConnection


class Frame(msgspec.Struct):
    """What a frame may be: a message (Seq), a notice (Event), or the answer to a call (code)."""

    seq: int | None = msgspec.field(default=None, name="Seq")
    event: str = msgspec.field(default="", name="Event")
    reason: str = msgspec.field(default="", name="Reason")
    code: int | None = None
    id: int | None = None
    data: Any = None
    error: str = ""


decode_frame = msgspec.json.Decoder(Frame).decode


class Tally:
    """Messages received by all streams together."""

    def __init__(self) -> None:
        self.received = 0
        self._goal = -1
        self._reached: asyncio.Future[None] | None = None

    async def reaching(self, goal: int) -> None:
        """Returns when ``goal`` messages have been received since the start."""
        if self.received > goal:
            raise BenchmarkError(f"{self.received} messages were pushed, {goal} are due")
        if self.received < goal:
            self._reached = asyncio.get_running_loop().create_future()
            self._goal = goal
            await self._reached

    def add(self, count: int) -> None:
        """``count`` more, checked by their stream."""
        self.received += count
        if self.received == self._goal and self._reached is not None:
            self._goal = -1
            self._reached.set_result(None)


class Stream(asyncio.Protocol, ABC):
    """What the streams of all protocols have in common."""

    @abstractmethod
    async def ready(self) -> None:
        """Returns when the stream certainly takes part."""

    @abstractmethod
    def close(self) -> None:
        """Ends the connection from our side."""


async def connect(port: int, stream: Stream) -> None:
    """Connects ``stream`` to the server on ``port`` of the loopback; returns when it is ready."""
    await asyncio.get_running_loop().create_connection(lambda: stream, "127.0.0.1", port)
    await stream.ready()


class MemberStream(WebSocketConnection, Stream):
    """A member's WebSocket: what is pushed is checked and counted, answers to calls go to ``on_answer``."""

    def __init__(self, alarm: Alarm, token: str, tally: Tally, since: str = "") -> None:
        super().__init__(alarm, "/notify?protoc=ws" + (f"&since={since}" if since else ""), token)
        self.seq = 0
        self.on_answer: Callable[[Frame], None] | None = None
        self._tally = tally

    def text_received(self, payload: bytes) -> None:
        frame = decode_frame(payload)
        if frame.seq is not None:
            if frame.seq != self.seq + 1:
                raise BenchmarkError(f"Seq {frame.seq} was pushed after {self.seq}")
            self.seq += 1
            self._tally.add(1)
        elif frame.code is not None and self.on_answer is not None:
            self.on_answer(frame)
        elif frame.event in ("", "bye", "reset"):
            raise BenchmarkError(f"an unexpected frame: {payload[:500].decode('utf-8', 'replace')}")

    async def ready(self) -> None:
        """Returns when the server has answered a call."""
        await self.opened
        answered: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        before, self.on_answer = self.on_answer, answered.set_result
        self.send(b'{"id":0,"method":"ping","params":{}}')
        answer = await answered
        self.on_answer = before
        if answer.code != 0:
            raise BenchmarkError(f"ping was answered {answer.code} {answer.error}")
