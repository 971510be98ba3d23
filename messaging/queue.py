"""The line in front of the ledger's writer: bounded, first in first out, with conversations set aside. Pure, not
thread-safe: its owner holds a lock.

Law: the drafts of one conversation keep their order, also when the conversation is parked because another transaction
holds it; drafts of other conversations pass by.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from messaging.message import NewMessage

MAX_DRAFTS = 10_000
MAX_BYTES = 64 * 2**20
MAX_BATCH_DRAFTS = 256
MAX_BATCH_BYTES = 4 * 2**20
PARK_SECONDS = 0.02
"""How long a held conversation is left alone before it is tried again."""


@dataclass(slots=True, eq=False)
class Entry:
    """A draft in line, when its wait ends (monotonic seconds), and who waits for it (the owner's business)."""

    draft: NewMessage
    deadline: float
    waiter: Any = None
    size: int = 0


@dataclass(slots=True)
class _Parked:
    entries: deque[Entry]
    until: float


class DraftQueue:
    """See the module."""

    def __init__(self) -> None:
        self._line: deque[Entry] = deque()
        self._parked: dict[str, _Parked] = {}
        self._bytes = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, entry: Entry) -> bool:
        """Join the line; False when it is full."""
        entry.size = len(entry.draft.content) + 200
        if self._count >= MAX_DRAFTS or self._bytes + entry.size > MAX_BYTES:
            return False
        self._bytes += entry.size
        self._count += 1
        # Always at the end: what waits for a conversation that is set aside is moved there in its order by ``take``.
        self._line.append(entry)
        return True

    def take(self, now: float) -> list[Entry]:
        """The next batch, possibly empty: conversations whose time aside is over, then the line."""
        batch: list[Entry] = []
        size = 0
        for conversation_id in [name for name, parked in self._parked.items() if parked.until <= now]:
            # A few of each at most: while it stays held, its line must not fill the batch and stop the others.
            entries = self._parked[conversation_id].entries
            for _ in range(min(len(entries), MAX_BATCH_DRAFTS // 8)):
                if len(batch) >= MAX_BATCH_DRAFTS // 2 or size >= MAX_BATCH_BYTES // 2:
                    break
                entry = entries.popleft()
                size += entry.size
                batch.append(entry)
            self._parked[conversation_id].until = now + PARK_SECONDS
            if not entries:
                del self._parked[conversation_id]
        while self._line and len(batch) < MAX_BATCH_DRAFTS and size < MAX_BATCH_BYTES:
            entry = self._line.popleft()
            if (parked := self._parked.get(entry.draft.conversation_id)) is not None:
                parked.entries.append(entry)
                continue
            size += entry.size
            batch.append(entry)
        self._forget(batch)
        return batch

    def park(self, entries: list[Entry], now: float) -> None:
        """Take back ``entries``, the first of their conversations, and set those aside for a moment."""
        for entry in reversed(entries):
            parked = self._parked.setdefault(entry.draft.conversation_id, _Parked(deque(), now + PARK_SECONDS))
            parked.entries.appendleft(entry)
            self._bytes += entry.size
            self._count += 1

    def next_retry(self) -> float | None:
        """When (monotonic seconds) a parked conversation is due; None when none is parked."""
        return min((parked.until for parked in self._parked.values()), default=None)

    @property
    def has_line(self) -> bool:
        """Whether a draft waits that is not set aside."""
        return bool(self._line)

    def expire(self, now: float) -> list[Entry]:
        """Withdraw what waited past its deadline."""
        expired = [entry for entry in self._all() if entry.deadline <= now]
        if expired:
            gone = set(map(id, expired))
            self._line = deque(entry for entry in self._line if id(entry) not in gone)
            for conversation_id, parked in list(self._parked.items()):
                parked.entries = deque(entry for entry in parked.entries if id(entry) not in gone)
                if not parked.entries:
                    del self._parked[conversation_id]
            self._forget(expired)
        return expired

    def _all(self) -> Iterator[Entry]:
        yield from self._line
        for parked in self._parked.values():
            yield from parked.entries

    def _forget(self, entries: list[Entry]) -> None:
        self._count -= len(entries)
        self._bytes -= sum(entry.size for entry in entries)
