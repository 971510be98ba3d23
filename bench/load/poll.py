"""A member's long polls over one keep-alive connection: the next is asked for, by the cursor, as soon as one is
answered.

Laws: those of ``wide``; an answer is taken whole, and what it holds follows the one before. The cursor is passed on as
it came.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from bench.alarm import Alarm, BenchmarkError
from bench.load.http import HttpConnection, request
from bench.load.streams import Stream
from bench.load.wide import Mailbox, Pushed, Run, runs_of


class Answer(NamedTuple):
    """What one poll brought, and where the next goes on."""

    runs: tuple[Run, ...]
    cursor: bytes


Answers = dict[bytes, Answer]
"""Whole answers, head and all, to what is in them: members who stand at the same place receive the same bytes."""


class _Notice(msgspec.Struct):
    event: str = msgspec.field(name="Event")


class _Polled(msgspec.Struct):
    messages: list[Pushed] = msgspec.field(name="Msg")
    notices: list[_Notice] = msgspec.field(name="Event")
    cursor: str = msgspec.field(name="Cursor")


class _Envelope(msgspec.Struct):
    code: int
    data: _Polled


_decode = msgspec.json.Decoder(_Envelope).decode
_MAX_ANSWERS = 1024
_RETRY_SECONDS = 1.0
"""What the server's Retry-After says."""


def answer_of(body: bytes) -> Answer:
    """Raises BenchmarkError when ``body`` says anything but what a poll may bring."""
    envelope = _decode(body)
    if envelope.code != 0 or any(notice.event in ("bye", "reset") for notice in envelope.data.notices):
        raise BenchmarkError(f"a poll was answered {body[:500].decode('utf-8', 'replace')}")
    return Answer(runs_of(envelope.data.messages), envelope.data.cursor.encode())


class PollStream(HttpConnection, Stream):
    """A member of any number of conversations. The first poll's ``since`` must lie before he joined the last of them:
    its answer tells so at once, and its cursor is where he starts."""

    def __init__(self, alarm: Alarm, token: str, mailbox: Mailbox, answers: Answers, since: str) -> None:
        super().__init__(alarm)
        self.mailbox = mailbox
        self.answered = 0
        """How many polls were."""
        self.refused = 0
        """How many were told 503, and came again with the same cursor."""
        self.on_body: Callable[[bytes], None] = self._body_received
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answers = answers
        self._whole = b""
        self._is_closed = False
        whole = request("GET", "/notify?protoc=poll&since=CURSOR", token)
        self._before, _, self._after = whole.partition(b"CURSOR")
        self._cursor = since.encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._poll()

    def data_received(self, data: bytes) -> None:
        if not self._received and (known := self._answers.get(data)) is not None:
            self._waiting = False
            self._take(known)
            return
        if not self._received and data.startswith(b"HTTP/1.1 503 ") and data.endswith(b"}"):
            self._waiting = False
            self.refused += 1
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._poll)
            return
        # Only an answer that came in one piece can be recognised.
        self._whole = b"" if self._received else data
        super().data_received(data)

    async def ready(self) -> None:
        """Returns when the first poll has been answered."""
        await self._opened

    def _poll(self) -> None:
        if not self._is_closed:
            self.send(self._before + self._cursor + self._after)

    def _body_received(self, body: bytes) -> None:
        answer = answer_of(body)
        if self._whole:
            if len(self._answers) >= _MAX_ANSWERS:
                self._answers.clear()
            self._answers[self._whole] = answer
        self._take(answer)

    def _take(self, answer: Answer) -> None:
        self.answered += 1
        # Before the messages are counted: whoever waits for the last of them may close us.
        self._cursor = answer.cursor
        self._poll()
        if answer.runs:
            self.mailbox.take(answer.runs)
        if not self._opened.done():
            self._opened.set_result(None)

    def close(self) -> None:
        """Ends the connection from our side; the poll that waits stays without an answer."""
        self._waiting, self._is_closed = False, True
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
