"""A client whose events are all kept as they come, and can be awaited."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from gateway.client import Client, ConnectionEnded, Event, Message, MessageCame, Reset, StateChanged

WAIT_SECONDS = 30.0


class Following:
    """``async with Following(url, token, **options) as following``: connected, unless ``is_late``."""

    def __init__(self, url: str, token: Any, *, is_late: bool = False, **options: Any) -> None:
        options = {"longest_pause_seconds": 1.0} | options
        self.client = Client(url, token, **options)
        self.events: list[Event] = []
        self.ended: ConnectionEnded | None = None
        self._is_late = is_late
        self._stirred = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        if not self._is_late:
            async with asyncio.timeout(WAIT_SECONDS):
                await self.client.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.close()
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    @property
    def messages(self) -> list[Message]:
        """Those so far."""
        return [event.message for event in self.events if isinstance(event, MessageCame)]

    @property
    def texts(self) -> list[str]:
        """Their contents."""
        return [message["Content"] for message in self.messages]

    @property
    def resets(self) -> list[Reset]:
        """Those so far."""
        return [event for event in self.events if isinstance(event, Reset)]

    @property
    def states(self) -> list[StateChanged]:
        """Those so far."""
        return [event for event in self.events if isinstance(event, StateChanged)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition holds; fails with what came instead."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not condition():
                    self._stirred.clear()
                    await self._stirred.wait()
        except TimeoutError:
            raise AssertionError(f"{self.texts[-5:]} of {len(self.texts)}, {self.states[-8:]}") from None

    async def has(self, count: int) -> list[str]:
        """Waits for that many messages; their contents."""
        await self.until(lambda: len(self.messages) >= count)
        return self.texts

    async def _follow(self) -> None:
        try:
            async for event in self.client.events():
                self.events.append(event)
                self._stirred.set()
        except ConnectionEnded as ended:
            self.ended = ended
            self._stirred.set()
