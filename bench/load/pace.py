"""An open loop: messages are sent at a fixed number a second, whatever the server does.

Law: a message that finds no sender free waits for one, and its clock runs while it does; so a server that falls behind
is seen to, and the pace never gives way.
"""

import asyncio
import time
from array import array
from collections import deque
from collections.abc import Sequence

from bench.load.senders import Round, Sender
from bench.load.wide import Clock


class Pace:
    """``senders`` are used in turn."""

    def __init__(self, senders: Sequence[Sender], clock: Clock) -> None:
        self._clock = clock
        self._free = deque(_Turn(self, sender) for sender in senders)
        self._due: deque[float] = deque()
        self._missing = 0
        self._answered: asyncio.Future[None] | None = None

    async def run(self, rate: float, seconds: float) -> int:
        """How many messages were sent; returns when the last of them was answered."""
        self._missing = count = max(1, round(rate * seconds))
        self._answered = asyncio.get_running_loop().create_future()
        begin = time.perf_counter()
        for number in range(count):
            # As many as are due: a timer that comes late must not lower the pace.
            if (pause := begin + number / rate - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            now = time.perf_counter()
            if self._free:
                self._free.popleft().begin(now)
            else:
                self._due.append(now)
        await self._answered
        return count

    def _sent(self, number: int, due_at: float) -> None:
        self._clock.sent_at[number] = due_at

    def _over(self, turn: "_Turn") -> None:
        self._missing -= 1
        if self._due:
            turn.begin(self._due.popleft())
        else:
            self._free.append(turn)
        if not self._missing and self._answered is not None and not self._answered.done():
            self._answered.set_result(None)


class _Turn(Round):
    """A round of one message, again and again, of one sender."""

    def __init__(self, pace: Pace, sender: Sender) -> None:
        super().__init__(0)
        self._pace = pace
        self._sender = sender

    def begin(self, due_at: float) -> None:
        """Send the next message, which was due then."""
        self.latencies = array("d")
        self._pace._sent(self._sender.start(self), due_at)

    def left(self) -> None:
        """See Round."""
        self._pace._over(self)
