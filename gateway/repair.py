"""Bringing rooms level with the database: members that may have changed, messages that are missing.

Law: members come first. What was read under a newer membership than the room's is not delivered before the room knows
that membership; and a database that is away is waited for, never given up.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import DatabaseError, InterfaceError

from gateway.members import read_room_view
from gateway.missed import Window, read_window
from gateway.room import Room
from gateway.traces import filled
from gateway.wire import reset_notice
from quickim.database import in_database
from quickim.errors import Unavailable
from quickim.observability import metrics, tracing
from quickim.tasks import cancel, spawn

if TYPE_CHECKING:
    from gateway.hub import Hub

T = TypeVar("T")

FILL_MESSAGES = 200
RETRY_SECONDS = 0.25


class Repairs:
    """The background work of one hub; it owns the tasks."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._adopting: dict[tuple[int, int], asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def soon(self, room: Room) -> None:
        """See to ``room``, unless somebody is at it."""
        if room.repair is None:
            room.repair = self.spawn(self._repair(room), "repair")

    def gap_is_due(self, room: Room) -> None:
        """What was missing has had its time to come by itself."""
        room.gap_timer = None
        if room.has_gap and self._is_live(room):
            self.soon(room)

    async def level(self, room: Room) -> None:
        """See to ``room`` at once and wait until it is level with what was announced (or held back, or gone)."""
        room.cancel_gap_timer()
        self.soon(room)
        if room.repair is not None:
            await asyncio.shield(room.repair)

    def adopt(self, number: int, version: int) -> asyncio.Task[None]:
        """Learn who of those connected here became, or ceased to be, a member of ``number`` with ``version``."""
        key = (number, version)
        task = self._adopting.get(key)
        if task is None:
            task = self._adopting[key] = self.spawn(self._adopt(number, version), "adoption")
            task.add_done_callback(lambda _: self._adopting.pop(key, None))
        return task

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run ``work`` until it ends or the hub is closed."""
        task: asyncio.Task[None] = spawn(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """End everything that is under way."""
        await cancel(list(self._tasks))

    def _is_live(self, room: Room) -> bool:
        return self._hub.rooms.get(room.number) is room

    async def _adopt(self, number: int, version: int) -> None:
        view = await _patiently(read_room_view, number, version - 1)
        if view is not None:
            self._hub.apply(view)

    async def _repair(self, room: Room) -> None:
        try:
            while self._is_live(room) and (room.is_stale or room.has_gap):
                if room.is_stale:
                    view = await _patiently(read_room_view, room.number, room.version)
                    if view is None:
                        return
                    self._hub.apply(view)
                else:
                    await self._fill(room)
                if self._hub.is_held(room):
                    return
        finally:
            room.repair = None
        self._hub.advance(room)

    async def _fill(self, room: Room) -> None:
        before, start = room.delivered, time.time_ns()
        window = Window(room.number, before, room.announced_seq)
        frames, version = await _patiently(read_window, window, FILL_MESSAGES)
        room.announced_version = max(room.announced_version, version)
        if room.is_stale or room.delivered != before:
            # Read under a newer membership than the room's, or delivered meanwhile: look again.
            return
        if tracing.spans() is not None:
            filled(room, frames, start)
        for frame in frames:
            room.waiting[frame.seq] = self._hub.redactions.current(frame)
        if frames:
            metrics.GAPS_FILLED.inc(1)
        first = frames[0].seq if frames else window.high + 1
        if first > before + 1:
            self._pass_over(room, before, first - 1)
        self._hub.advance(room)

    def _pass_over(self, room: Room, before: int, last: int) -> None:
        """What lies above ``before`` up to ``last`` is not kept any more: those here can only go on after it."""
        room.delivered = last
        for connection in list(room.audience):
            if connection.floors.get(room.number, 0) >= last:
                # He has them, or they are from before his joining.
                continue
            if connection.behind:
                # His replay finds it in its turn, and tells him once.
                connection.behind.setdefault(room.number, before)
            else:
                connection.push(reset_notice())


async def _patiently(read: Callable[..., T], *args: Any) -> T:
    """``read`` on a database thread, again and again until the database answers."""
    while True:
        try:
            return await in_database(read, *args)
        except (Unavailable, DatabaseError, InterfaceError):
            await asyncio.sleep(RETRY_SECONDS)
