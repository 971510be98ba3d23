"""Whoever looks at a conversation without being a member of it: support staff with a transcript open.

Law: a watcher is only woken, never given anything: what it shows it reads from the database, with its own rights. So a
lost hint costs it a moment, and the hub's laws about members know nothing of it. Lives on the node's event loop.
"""

import asyncio
from collections.abc import Iterable

from quickim.errors import TooManyRequests

MAX_WATCHERS = 100
MAX_PER_OWNER = 5


class Watcher:
    """One stream's wish to be woken when something happens in ``number``."""

    def __init__(self, number: int, owner: str) -> None:
        self.number = number
        self.owner = owner
        self.is_over = False
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Something happened."""
        self._news.set()

    async def wait(self, seconds: float) -> None:
        """Until something happened since the last wait, or for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return
        finally:
            self._news.clear()


class Watchers:
    """All of this node, by conversation's number."""

    def __init__(self) -> None:
        self._of: dict[int, set[Watcher]] = {}

    def open(self, number: int, owner: str) -> Watcher:
        """A watcher for ``owner``. Raises TooManyRequests when he, or all together, have too many."""
        everybody = [watcher for watchers in self._of.values() for watcher in watchers]
        own = sum(watcher.owner == owner for watcher in everybody)
        if len(everybody) >= MAX_WATCHERS or own >= MAX_PER_OWNER:
            raise TooManyRequests(retry_after_seconds=5)
        watcher = Watcher(number, owner)
        self._of.setdefault(number, set()).add(watcher)
        return watcher

    def close(self, watcher: Watcher) -> None:
        """It is over."""
        watchers = self._of.get(watcher.number, set())
        watchers.discard(watcher)
        if not watchers:
            self._of.pop(watcher.number, None)

    def wake(self, numbers: Iterable[int]) -> None:
        """Something happened in these conversations."""
        if not self._of:
            return
        for number in numbers:
            for watcher in self._of.get(number, ()):
                watcher.wake()

    def end(self) -> None:
        """The node drains."""
        for watchers in self._of.values():
            for watcher in watchers:
                watcher.is_over = True
                watcher.wake()
