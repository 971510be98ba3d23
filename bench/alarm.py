"""Failing loudly: connections live in callbacks, where an exception would only be logged; the alarm carries
it out.

Law: nothing in a benchmark is awaited without the alarm and a limit in seconds.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


class BenchmarkError(Exception):
    """No result: an answer was wrong, missing or out of order, or the server did not do its part."""


class Alarm:
    """The first failure of any connection of a benchmark."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._rung: asyncio.Future[None] = loop.create_future()
        loop.set_exception_handler(self._callback_failed)

    def ring(self, error: BenchmarkError) -> None:
        """Keeps the first failure; the later ones are mostly its consequences."""
        if not self._rung.done():
            self._rung.set_exception(error)

    def raise_first(self) -> None:
        """Raises what rang the alarm, if anything did."""
        if self._rung.done():
            self._rung.result()

    def _callback_failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What the loop would only log: an exception in a protocol's or a future's callback."""
        error = context.get("exception")
        if isinstance(error, BenchmarkError):
            self.ring(error)
        else:
            failure = BenchmarkError(f"{context['message']}: {error!r}")
            failure.__cause__ = error
            self.ring(failure)

    async def guard(self, work: Awaitable[T], seconds: float, doing: str) -> T:
        """The result of ``work``; raises what rang the alarm meanwhile, BenchmarkError after ``seconds``."""
        task = asyncio.ensure_future(work)
        both: tuple[asyncio.Future[Any], ...] = (task, self._rung)
        try:
            await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            self.raise_first()
            if not task.done():
                raise BenchmarkError(f"{doing}: not finished after {seconds:g} s")
            return task.result()
        finally:
            task.cancel()
