"""The bound on what Django's own handler serves at a time."""

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async

from quickim.rest import slots
from quickim.rest.slots import Slots


class Doors:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.open = asyncio.Event()
        self._changed = asyncio.Condition()

    async def has(self, number: int) -> None:
        """Returns when so many are inside."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.inside >= number)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves one request."""
        self.inside += 1
        self.most = max(self.most, self.inside)
        async with self._changed:
            self._changed.notify_all()
        try:
            await self.open.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
        finally:
            self.inside -= 1


async def ask(application: Slots) -> int:
    """The status that a request is answered with."""
    sent: list[Any] = []

    async def send(event: Any) -> None:
        sent.append(event)

    async def receive() -> Any:
        return {"type": "http.request"}

    await application({"type": "http"}, receive, send)
    return int(sent[0]["status"])


async def test_no_more_than_its_slots_are_inside_and_all_are_served() -> None:
    doors = Doors()
    application = Slots(doors, 3)
    asked = [asyncio.create_task(ask(application)) for _ in range(10)]
    await doors.has(3)
    doors.open.set()
    assert await asyncio.gather(*asked) == [200] * 10
    assert doors.most == 3


async def test_a_line_that_is_too_long_or_too_slow_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "MAX_WAITING", 1)
    monkeypatch.setattr(slots, "WAIT_SECONDS", 0.05)
    doors = Doors()
    application = Slots(doors, 1)
    first = asyncio.create_task(ask(application))
    await doors.has(1)
    assert set(await asyncio.gather(ask(application), ask(application))) == {503}
    doors.open.set()
    assert await first == 200
    assert await ask(application) == 200


async def test_a_request_that_is_cancelled_gives_its_slot_back() -> None:
    doors = Doors()
    application = Slots(doors, 1)
    gone = asyncio.create_task(ask(application))
    await doors.has(1)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    doors.open.set()
    assert await ask(application) == 200


async def test_requests_one_after_another_share_a_thread() -> None:
    threads = set()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        # As Django's handler does: its own context reuses the one around it.
        async with ThreadSensitiveContext():
            threads.add(await sync_to_async(threading.get_ident)())
        await send({"type": "http.response.start", "status": 200, "headers": []})

    slots = Slots(application, 4)
    for _ in range(20):
        assert await ask(slots) == 200
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
