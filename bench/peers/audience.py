"""What all listeners of a peer hear: counted, and compared with the order in which the first of them heard it.

Laws: a listener's message counts once, and not at all when the listener heard before it what others heard after it.
Bytes that one listener took apart, the others recognise: they receive the same. Senders stay a few messages ahead of
the listeners at most, so no peer is driven into the overflow of a buffer.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from bench.alarm import BenchmarkError
from bench.load.senders import Call, Receipts, Sender

MOST_AHEAD = 8
"""Messages that may be under way to the listeners when another is sent."""
_STALLED_SECONDS = 5.0
_MAX_CHUNKS = 512


class Audience:
    """All listeners, through one round after the other."""

    def __init__(self) -> None:
        self.ears: list[Ear] = []
        self.chunks: dict[bytes, tuple[int, int]] = {}
        """Bytes as they came from a socket, to the places in ``order`` of what is in them, from and up to."""
        self.order: list[int] = []
        self.places: dict[int, int] = {}
        self.sent = self.received = 0
        self._waiting: list[PacedSender] = []
        self._goal = -1
        self._reached: asyncio.Future[None] | None = None

    def begin(self) -> None:
        """A new round; what still arrives of the one before is out of place in it."""
        self.chunks.clear()
        self.order.clear()
        self.places.clear()
        self.sent = self.received = 0
        for ear in self.ears:
            ear.place = 0

    def is_behind(self) -> bool:
        """Whether the listeners have to catch up before the next message."""
        return (self.sent - MOST_AHEAD) * len(self.ears) >= self.received

    def wait(self, sender: "PacedSender") -> None:
        """``sender`` is resumed when the listeners have caught up."""
        self._waiting.append(sender)

    def release(self) -> None:
        """The round is over: who still waits sends no more."""
        waiting, self._waiting = self._waiting, []
        for sender in waiting:
            sender.resume()

    def heard(self, count: int) -> None:
        """``count`` more messages reached a listener."""
        self.received += count
        while self._waiting and not self.is_behind():
            self._waiting.pop(0).resume()
        if self._reached is not None and self.received >= self._goal:
            self._reached.set_result(None)
            self._reached = None

    async def settled(self, goal: int) -> None:
        """Returns when ``goal`` messages were heard in this round, or none for a while."""
        before = -1
        while before != self.received < goal:
            before, self._goal = self.received, goal
            self._reached = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._reached], timeout=_STALLED_SECONDS)
        self._reached = None


class Ear:
    """One listener's place in the order."""

    def __init__(self, audience: Audience) -> None:
        self.place = 0
        self._audience = audience
        audience.ears.append(self)

    def knows(self, received: bytes) -> bool:
        """Takes ``received`` as a whole, if another listener heard the same at the same place."""
        known = self._audience.chunks.get(received)
        if known is None or known[0] != self.place:
            return False
        self.place = known[1]
        self._audience.heard(known[1] - known[0])
        return True

    def learn(self, received: bytes, place_before: int) -> None:
        """``received`` has been taken apart: it holds whole messages and nothing else that matters."""
        if self.place > place_before:
            if len(self._audience.chunks) >= _MAX_CHUNKS:
                self._audience.chunks.clear()
            self._audience.chunks[received] = (place_before, self.place)

    def hear(self, number: int) -> None:
        """Message ``number``."""
        audience = self._audience
        place = audience.places.get(number)
        if place is None:
            place = audience.places[number] = len(audience.order)
            audience.order.append(number)
        if place >= self.place:  # otherwise it comes too late, or again
            self.place = place + 1
            audience.heard(1)


class PacedSender(Sender):
    """A sender whose next message waits until its last is acknowledged and the listeners, if any, are not behind."""

    def __init__(
        self, write: Callable[[bytes], None], calls: Sequence[Call], receipts: Receipts, audience: Audience | None
    ) -> None:
        super().__init__(write, calls, receipts)
        self._audience = audience

    def _send(self) -> None:
        if self._audience is None:
            super()._send()
        elif self._audience.is_behind():
            self._audience.wait(self)
        else:
            self._audience.sent += 1
            super()._send()

    def acknowledged(self, _answer: bytes) -> None:
        """For a peer whose answers say nothing but that they are there."""
        self.answered(str(self._number))

    def resume(self) -> None:
        """The wait is over."""
        round_ = self._round
        if round_ is None:
            raise BenchmarkError("a sender that waits outside of a round")
        if time.perf_counter() < round_.ends:
            self._send()
        else:
            self._round = None
            round_.left()
