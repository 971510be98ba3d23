"""What members of any number of conversations receive, on whatever protocol, and the time from a send to each of its
deliveries; here the streams over WebSocket and SSE.

Laws: those of ``streams``, for each conversation by itself. A message's content starts with its number, under which
the clock that all streams share knows when it was sent.
"""

import time
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from bench.alarm import Alarm, BenchmarkError
from bench.load.sse import EventStream
from bench.load.streams import MemberStream, Tally


class Pushed(msgspec.Struct):
    """A message, as far as it is looked at; of anything else ``seq`` is None."""

    seq: int | None = msgspec.field(default=None, name="Seq")
    conversation: str = msgspec.field(default="", name="ConversationID")
    content: str = msgspec.field(default="", name="Content")


class Run(NamedTuple):
    """Messages of one conversation in a row: their Seq from ``first`` to ``last``, and their numbers."""

    conversation: str
    first: int
    last: int
    numbers: tuple[int, ...]


def runs_of(messages: Iterable[Pushed]) -> tuple[Run, ...]:
    """``messages`` in their order. Raises BenchmarkError when one does not follow the one before."""
    runs: list[Run] = []
    for message in messages:
        conversation, seq, number = message.conversation, message.seq, int(message.content[:10])
        assert seq is not None
        if runs and runs[-1].conversation == conversation:
            before = runs[-1]
            if seq != before.last + 1:
                raise BenchmarkError(f"Seq {seq} was pushed after {before.last}")
            runs[-1] = Run(conversation, before.first, seq, (*before.numbers, number))
        else:
            runs.append(Run(conversation, seq, seq, (number,)))
    return tuple(runs)


_decode = msgspec.json.Decoder(Pushed).decode
_MAX_CHUNKS = 4096


@dataclass
class Clock:
    """When messages were sent (perf_counter), by number; and how long each delivery of those took, in seconds.

    ``chunks``: bytes as they came from a socket, to what is in them: members of one conversation receive the same
    bytes, and what one has decoded the others recognise, by a lookup that compares every byte.
    """

    sent_at: dict[int, float] = field(default_factory=dict)
    delays: "array[float]" = field(default_factory=lambda: array("d"))
    chunks: dict[bytes, tuple[Run, ...]] = field(default_factory=dict)

    def delivered(self, number: int, now: float) -> None:
        """A member has message ``number``."""
        sent_at = self.sent_at.get(number)
        if sent_at is not None:
            self.delays.append(now - sent_at)

    def percentile_ms(self, percent: float) -> float:
        """Of the delays since they were last cleared."""
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000

    def clear(self) -> None:
        """Forget what was sent, and the delays."""
        self.sent_at.clear()
        del self.delays[:]

    def keep_chunk(self, chunk: bytes, runs: tuple[Run, ...]) -> None:
        """Another stream that receives ``chunk`` will recognise it."""
        if len(self.chunks) >= _MAX_CHUNKS:
            self.chunks.clear()
        self.chunks[chunk] = runs


class Mailbox:
    """What one client has received, by conversation."""

    def __init__(self, tally: Tally, clock: Clock) -> None:
        self.clock = clock
        self.seqs: dict[str, int] = {}
        self.tally = tally

    def take(self, runs: Iterable[Run]) -> None:
        """Raises BenchmarkError unless each message is the next one of its conversation."""
        seqs, clock = self.seqs, self.clock
        for conversation, first, last, numbers in runs:
            before = seqs.get(conversation, 0)
            if first != before + 1:
                raise BenchmarkError(f"Seq {first} was pushed after {before}")
            seqs[conversation] = last
            if clock.sent_at:
                now = time.perf_counter()
                for number in numbers:
                    clock.delivered(number, now)
            self.tally.add(len(numbers))


class WideStream(MemberStream):
    """A member of any number of conversations; each of its messages is taken once, in the order of its Seq."""

    def __init__(self, alarm: Alarm, token: str, mailbox: Mailbox, since: str = "") -> None:
        super().__init__(alarm, token, mailbox.tally, since)
        self.mailbox = mailbox
        self._pushed: list[Pushed] | None = None

    def data_received(self, data: bytes) -> None:
        chunks = self.mailbox.clock.chunks
        if not self._received and (known := chunks.get(data)) is not None:
            self.mailbox.take(known)
            return
        whole_before, self._pushed = self._upgraded and not self._received, []
        super().data_received(data)
        if whole_before and not self._received and self._pushed:
            self.mailbox.clock.keep_chunk(data, runs_of(self._pushed))

    def text_received(self, payload: bytes) -> None:
        pushed = _decode(payload)
        if pushed.seq is None:
            self._pushed = None
            super().text_received(payload)
            return
        self.mailbox.take(runs_of([pushed]))
        if self._pushed is not None:
            self._pushed.append(pushed)

    def _control_received(self, opcode: int, payload: bytes) -> None:
        self._pushed = None
        super()._control_received(opcode, payload)


class WideEvents(EventStream):
    """The same over SSE."""

    def __init__(self, alarm: Alarm, token: str, mailbox: Mailbox) -> None:
        super().__init__(alarm, token, mailbox.tally)
        self.mailbox = mailbox
        self._pushed: list[Pushed] = []

    def data_received(self, data: bytes) -> None:
        is_whole = self._head_read and not self._received and not self._text
        if is_whole and (known := self.mailbox.clock.chunks.get(data)) is not None:
            self.mailbox.take(known)
            return
        self._pushed = []
        super().data_received(data)
        if is_whole and not self._received and not self._text and self._pushed:
            self.mailbox.clock.keep_chunk(data, runs_of(self._pushed))

    def message_received(self, payload: str) -> None:
        pushed = _decode(payload)
        self.mailbox.take(runs_of([pushed]))
        self._pushed.append(pushed)
