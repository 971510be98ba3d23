"""Polls between two questions: the connection of an answered poll stays where it is for a moment, so that the next poll
of its chain goes on without a look into the database.

Laws: who asks again with the very cursor that ended the answer, as the same session on the same platform, and here,
gets the connection; any other cursor is read from the database as if nothing were kept. So nothing that is kept is
needed: it goes after a few seconds, or when there are too many, or when it might not be the poller's to have any more.
"""

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from quickim.rest.callers import Caller

if TYPE_CHECKING:
    from gateway.transports.poll_connection import PollConnection

KEPT_SECONDS = 5.0
"""How long a poller may take to ask again."""
MOST_KEPT = 10_000

_Key = tuple[str, int, str]


class KeptPolls:
    """Those of one node; lives on its event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._kept: OrderedDict[_Key, tuple[float, PollConnection]] = OrderedDict()
        """By session, platform and cursor, in the order in which they came, which is that of their ends."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, connection: "PollConnection") -> None:
        """Keep ``connection``, which ended at its ``cursor``, in the place of whatever ended there before."""
        key = _key(connection.caller, connection.cursor)
        if (other := self._kept.pop(key, None)) is not None:
            other[1].let_go()
        self._kept[key] = (self._loop.time() + KEPT_SECONDS, connection)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)[1][1].let_go()
        if self._timer is None:
            self._timer = self._loop.call_later(KEPT_SECONDS, self._end_old)

    def take(self, caller: Caller, cursor: str) -> "PollConnection | None":
        """The connection of ``caller`` that ended at ``cursor``, if it is still kept; it is no longer."""
        entry = self._kept.pop(_key(caller, cursor), None)
        return entry[1] if entry else None

    def forget(self, connection: "PollConnection") -> None:
        """``connection`` is over."""
        self.take(connection.caller, connection.cursor)

    def close(self) -> None:
        """The node ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_old(self) -> None:
        self._timer, now = None, self._loop.time()
        while self._kept:
            key, (end, connection) = next(iter(self._kept.items()))
            if end > now:
                self._timer = self._loop.call_at(end, self._end_old)
                return
            del self._kept[key]
            connection.let_go()


def _key(caller: Caller, cursor: str) -> _Key:
    return caller.session, caller.platform, cursor
