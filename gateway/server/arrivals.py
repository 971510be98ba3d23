"""Connections of this process that have yet to show that they are worth keeping: counted, and timed in what they owe.

Laws: who has not sent a whole request head within ``HEAD_SECONDS``, or sends a body slower than
``FLOOR_BYTES_PER_SECOND``, is dropped; neither takes a timer of its own. One address has so many connections, and a
tenth of them amid a request. When the process is full, whoever has been arriving longest makes room, and then whoever
has been idle longest: neither silent ones nor those that were served once can keep others out.
"""

import resource
from typing import Any, Protocol

from django.conf import settings

from gateway.turnstile import Turnstile

HEAD_SECONDS = 10.0
FLOOR_BYTES_PER_SECOND = 1_024
"""Of a body, after the first ``HEAD_SECONDS``: what a phone on a bad network still does."""
ARRIVING_SHARE = 10
FEWEST_ARRIVING = 10
RESERVED_FILES = 128
"""Open files that are no connections of clients: databases, Redis, SQLite, logs."""


class Idle(Protocol):
    """A connection that nothing would be lost with."""

    def drop(self) -> None:
        """Close it, at once."""


class Arriving(Idle, Protocol):
    """A connection amid a request."""

    limit_key: str

    def is_late(self, seconds: float) -> bool:
        """Whether it should have sent more in the ``seconds`` since it began."""


class Arrivals:
    """The connections of this process."""

    def __init__(self) -> None:
        configuration = settings.QUICKIM
        self.most = configuration.max_connections or _open_files()
        self.most_of_address: int = configuration.max_connections_per_address
        self.most_arriving = max(FEWEST_ARRIVING, self.most_of_address // ARRIVING_SHARE)
        self.upgrades = Turnstile()
        self.total = 0
        self._of_address: dict[str, int] = {}
        self._arriving_of_address: dict[str, int] = {}
        self._since: dict[Any, float] = {}
        """In the order in which they began."""
        self._idle: dict[Any, None] = {}
        """In the order in which they became so."""

    def enter(self, limit_key: str) -> bool:
        """A connection of ``limit_key`` (``""``: not counted by address) was made; False when it may not stay."""
        if limit_key and (
            self._of_address.get(limit_key, 0) >= self.most_of_address
            or self._arriving_of_address.get(limit_key, 0) >= self.most_arriving
        ):
            return False
        if self.total >= self.most:
            longest = next(iter(self._since), None) or next(iter(self._idle), None)
            if longest is None:
                return False
            longest.drop()
        self.total += 1
        if limit_key:
            self._of_address[limit_key] = self._of_address.get(limit_key, 0) + 1
        return True

    def leave(self, limit_key: str) -> None:
        """A connection that could stay is over."""
        self.total -= 1
        if limit_key:
            _decrease(self._of_address, limit_key)

    def begin(self, connection: Arriving, now: float) -> None:
        """``connection`` owes the rest of a request."""
        self._idle.pop(connection, None)
        if connection not in self._since:
            self._since[connection] = now
            key = connection.limit_key
            if key:
                self._arriving_of_address[key] = self._arriving_of_address.get(key, 0) + 1

    def end(self, connection: Arriving) -> None:
        """``connection`` owes nothing now, and is being served."""
        self._idle.pop(connection, None)
        if self._since.pop(connection, None) is not None and connection.limit_key:
            _decrease(self._arriving_of_address, connection.limit_key)

    def rest(self, connection: Idle) -> None:
        """``connection``, which owes nothing, was told all that it asked for; until it begins, ends or ``wakes``."""
        self._idle[connection] = None

    def wake(self, connection: Idle) -> None:
        """``connection`` is idle no more."""
        self._idle.pop(connection, None)

    def drop_late(self, now: float) -> None:
        """Close whoever is behind; to be called every second or so."""
        late = []
        for connection, since in self._since.items():
            if now - since < HEAD_SECONDS:
                break
            if connection.is_late(now - since):
                late.append(connection)
        for connection in late:
            connection.drop()


def _decrease(counts: dict[str, int], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _open_files() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most: int = 1 << 20 if soft == resource.RLIM_INFINITY else soft
    return max(most - RESERVED_FILES, most // 2)


_arrivals: Arrivals | None = None


def arrivals() -> Arrivals:
    """Those of this process."""
    global _arrivals
    if _arrivals is None:
        _arrivals = Arrivals()
    return _arrivals
