"""Doing something exactly between what the gateway read in the database and what it makes of it.

One gate at a time is armed; it opens when that many reads of its place were done, whoever did them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from quickim.database import in_database

Place = Literal["entrance", "replay", "repair", "sweep"]
"""The module of the gateway that reads: a load, a page, a hole or a room's members, all that is new."""
PLACES: tuple[Place, ...] = ("entrance", "replay", "repair", "sweep")

Deed = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Gate:
    place: Place
    reads_left: int
    deed: Deed


class Gates:
    """See the module."""

    def __init__(self) -> None:
        self._armed: _Gate | None = None
        self._failures: list[BaseException] = []

    def arm(self, place: Place, after_reads: int, deed: Deed) -> None:
        """Do ``deed`` after so many more reads of ``place``."""
        self._armed = _Gate(place, after_reads, deed)

    def reset(self) -> None:
        """As in the beginning."""
        self._armed = None
        self._failures.clear()

    def disarm(self) -> bool:
        """Nothing is to be done any more; whether it was not done yet. Raises what failed in a deed."""
        was_armed, self._armed = self._armed is not None, None
        failures, self._failures = self._failures, []
        for failure in failures:
            raise failure
        return was_armed

    async def passed(self, place: Place) -> None:
        """Something was read at ``place``."""
        gate = self._armed
        if gate is None or gate.place != place:
            return
        gate.reads_left -= 1
        if gate.reads_left <= 0:
            self._armed = None
            try:
                await gate.deed()
            except BaseException as failure:
                # The product would log it and go on: the step fails with it.
                self._failures.append(failure)
                raise


GATES = Gates()


def use_gates(patch: pytest.MonkeyPatch) -> None:
    """Every read of the gateway passes its gate."""
    for place in PLACES:
        patch.setattr(f"gateway.{place}.in_database", _reading(place))


def _reading(place: Place) -> Callable[..., Awaitable[Any]]:
    async def read(function: Callable[..., Any], *args: Any) -> Any:
        found = await in_database(function, *args)
        await GATES.passed(place)
        return found

    return read
