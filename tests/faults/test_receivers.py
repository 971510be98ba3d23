"""What the receivers of a run are made of ends when it is told to."""

import asyncio
from typing import Self

import pytest

from tests.clients.listener import Listener


class _Slow(Listener):
    """Whose reader needs a moment to end."""

    protoc = "poll"

    async def connect(self) -> Self:
        self.closing = asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        await asyncio.sleep(0)
        return self

    async def _read(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.closing.set()
            await asyncio.sleep(0.01)

    async def _disconnect(self) -> None:
        """Nothing is connected."""


async def test_who_is_cancelled_while_his_listener_closes_is_cancelled() -> None:
    listener = await _Slow("", "").connect()
    closing = asyncio.create_task(listener.close())
    await listener.closing.wait()
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
