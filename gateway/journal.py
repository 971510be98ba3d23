"""What was announced in the last seconds, for connections whose load from the database was under way meanwhile. Pure.

A load is a snapshot; what commits after it and is announced before the connection is attached would be lost between
the two. The journal keeps of it just enough to see that: numbers and names, never messages.
"""

from collections import deque
from collections.abc import Collection

KEPT_SECONDS = 5.0
MAX_LOAD_SECONDS = 2.0
"""A load older than this is not used: sweeps, which overlap by more, then find what no announcement told."""


class Journal:
    """Heads and versions by conversation's number, and who joined or left what."""

    def __init__(self) -> None:
        self._heads: dict[int, tuple[int, float]] = {}
        self._versions: dict[int, tuple[int, float]] = {}
        self._changes: deque[tuple[float, int, Collection[str] | None]] = deque()

    def message(self, number: int, seq: int, version: int, now: float) -> None:
        """A message is committed: ``seq``, under member_version ``version`` (-1: not known)."""
        if seq > self.head(number):
            self._heads[number] = (seq, now)
        self._version(number, version, now)

    def change(self, number: int, version: int, sessions: Collection[str] | None, now: float) -> None:
        """Membership or state changed; ``sessions``: whom it concerns, None when too many to name."""
        self._version(number, version, now)
        self._changes.append((now, number, sessions))

    def head(self, number: int) -> int:
        """The highest Seq heard of lately; 0 when none was."""
        return self._heads.get(number, (0, 0.0))[0]

    def version(self, number: int) -> int:
        """The highest member_version heard of lately; -1 when none was."""
        return self._versions.get(number, (-1, 0.0))[0]

    def joined_or_left(self, session: str, since: float) -> set[int]:
        """The conversations that ``session`` may have joined or left since then."""
        numbers = set()
        for at, number, sessions in reversed(self._changes):
            if at < since:
                break
            if sessions is None or session in sessions:
                numbers.add(number)
        return numbers

    def prune(self, now: float) -> None:
        """Forget what is old."""
        before = now - KEPT_SECONDS
        for table in (self._heads, self._versions):
            for number in [number for number, (_, at) in table.items() if at < before]:
                del table[number]
        while self._changes and self._changes[0][0] < before:
            self._changes.popleft()

    def _version(self, number: int, version: int, now: float) -> None:
        if version > self.version(number):
            self._versions[number] = (version, now)
