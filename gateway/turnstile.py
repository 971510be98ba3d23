"""A turnstile for whoever connects: so many pass in a turn of the event loop, so that a crowd that comes at once does
not hold up those who are in already. It serves the event loop that is running; one that ended leaves nothing behind.
"""

import asyncio
from collections import deque

PER_TURN = 8
"""Some milliseconds of work."""


class Turnstile:
    """See the module. First come, first served; the line is as long as the server lets connections be many."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._passed = 0
        """In this turn."""
        self._line: deque[asyncio.Future[None]] = deque()

    def try_enter(self) -> bool:
        """Pass, if there is nobody to wait for."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._passed = loop, 0
            self._line.clear()
        if self._passed < PER_TURN and not self._line:
            self._pass()
            return True
        return False

    async def enter(self) -> None:
        """Wait for one's turn; there is none to wait for while few come."""
        if self.try_enter():
            return
        place = asyncio.get_running_loop().create_future()
        self._line.append(place)
        await place

    def _pass(self) -> None:
        if not self._passed:
            asyncio.get_running_loop().call_soon(self._turn)
        self._passed += 1

    def _turn(self) -> None:
        self._passed = 0
        while self._line and self._passed < PER_TURN:
            place = self._line.popleft()
            if not place.done():
                self._pass()
                place.set_result(None)
