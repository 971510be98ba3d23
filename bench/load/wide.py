"""Members' WebSockets that carry several conversations, and the time from a send to each of its deliveries.

Laws: those of ``streams``, for each conversation by itself. A message's content starts with its number, under which
the clock that all streams share knows when it was sent.
"""

import time
from array import array
from dataclasses import dataclass, field

import msgspec

from bench.alarm import Alarm, BenchmarkError
from bench.load.streams import MemberStream, Tally


class _Pushed(msgspec.Struct):
    seq: int | None = msgspec.field(default=None, name="Seq")
    conversation: str = msgspec.field(default="", name="ConversationID")
    content: str = msgspec.field(default="", name="Content")


_decode = msgspec.json.Decoder(_Pushed).decode
_Place = tuple[str, int, int]
"""Conversation, Seq, number of the message."""
_MAX_CHUNKS = 4096


@dataclass
class Clock:
    """When messages were sent (perf_counter), by number; and how long each delivery of those took, in seconds.

    ``chunks``: bytes as they came from a socket, to what is in them: members of one conversation receive the same
    bytes, and what one has decoded the others recognise.
    """

    sent_at: dict[int, float] = field(default_factory=dict)
    delays: "array[float]" = field(default_factory=lambda: array("d"))
    chunks: dict[bytes, tuple[_Place, ...]] = field(default_factory=dict)

    def delivered(self, number: int, now: float) -> None:
        """A member has message ``number``."""
        sent_at = self.sent_at.get(number)
        if sent_at is not None:
            self.delays.append(now - sent_at)

    def percentile_ms(self, percent: float) -> float:
        """Of the delays since they were last cleared."""
        ordered = sorted(self.delays)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000


class WideStream(MemberStream):
    """A member of any number of conversations; each of its messages is taken once, in the order of its Seq."""

    def __init__(self, alarm: Alarm, token: str, tally: Tally, clock: Clock) -> None:
        super().__init__(alarm, token, tally)
        self._clock = clock
        self._seqs: dict[str, int] = {}
        self._places: list[_Place] | None = None

    def data_received(self, data: bytes) -> None:
        known = self._clock.chunks.get(data) if not self._received else None
        if known is not None:
            for place in known:
                self._take(place)
            return
        whole_before, self._places = self._upgraded and not self._received, []
        super().data_received(data)
        if whole_before and not self._received and self._places:
            if len(self._clock.chunks) >= _MAX_CHUNKS:
                self._clock.chunks.clear()
            self._clock.chunks[data] = tuple(self._places)

    def text_received(self, payload: bytes) -> None:
        pushed = _decode(payload)
        if pushed.seq is None:
            self._places = None
            super().text_received(payload)
            return
        place = (pushed.conversation, pushed.seq, int(pushed.content[:10]))
        self._take(place)
        if self._places is not None:
            self._places.append(place)

    def _take(self, place: _Place) -> None:
        conversation, seq, number = place
        before = self._seqs.get(conversation, 0)
        if seq != before + 1:
            raise BenchmarkError(f"Seq {seq} was pushed after {before}")
        self._seqs[conversation] = seq
        self._clock.delivered(number, time.perf_counter())
        self._tally.add(1)

    def _control_received(self, opcode: int, payload: bytes) -> None:
        self._places = None
        super()._control_received(opcode, payload)
