"""What a connection waits with, made only while something waits: asyncio's own queue and event keep a kilobyte each."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any


class Events:
    """ASGI events for one reader, as much of ``asyncio.Queue`` as uvicorn uses."""

    __slots__ = ("_taker", "_waiting", "came")

    def __init__(self) -> None:
        self._waiting: deque[Any] | None = None
        self._taker: asyncio.Future[None] | None = None
        self.came: Callable[[], None] | None = None
        """Called after each that was put, when there is nobody who waits in ``get``."""

    def put_nowait(self, event: Any) -> None:
        """Append one."""
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(event)
        if self._taker is not None:
            if not self._taker.done():
                self._taker.set_result(None)
        elif self.came is not None:
            self.came()

    def empty(self) -> bool:
        """Whether nothing waits."""
        return self._waiting is None

    async def get(self) -> Any:
        """The first, when there is one."""
        while self._waiting is None:
            self._taker = asyncio.get_running_loop().create_future()
            try:
                await self._taker
            finally:
                self._taker = None
        event = self._waiting.popleft()
        if not self._waiting:
            self._waiting = None
        return event


class Gate:
    """An ``asyncio.Event`` that is nearly always set."""

    __slots__ = ("_opening",)

    def __init__(self) -> None:
        self._opening: asyncio.Event | None = None

    def clear(self) -> None:
        """Whoever comes now waits."""
        if self._opening is None:
            self._opening = asyncio.Event()

    def set(self) -> None:
        """All may go on."""
        if self._opening is not None:
            self._opening.set()
            self._opening = None

    async def wait(self) -> None:
        """Wait until it is set."""
        if self._opening is not None:
            await self._opening.wait()
