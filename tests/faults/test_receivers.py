"""What the receivers of a run are made of ends when it is told to."""

import asyncio
from typing import Self

import pytest

from tests.clients.listener import Listener


class _Slow(Listener):
    """Whose reader ends when it may."""

    protoc = "poll"

    async def connect(self) -> Self:
        self.reading, self.ending_reader, self.may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        await self.reading.wait()
        return self

    async def _read(self) -> None:
        self.reading.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ending_reader.set()
            await self.may_end.wait()

    async def _disconnect(self) -> None:
        """Nothing is connected."""


async def test_who_is_cancelled_while_his_listener_closes_is_cancelled() -> None:
    listener = await _Slow("", "").connect()
    closing = asyncio.create_task(listener.close())
    await listener.ending_reader.wait()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    listener.may_end.set()
