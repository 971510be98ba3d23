"""Where a client stands: what it has processed, which cursor says so, and what is a repeat or a gap. Pure.

Laws: every MsgId of a processed message is a sound cursor, and so is a poll's Cursor once all of its answer is
processed; a repeat moves nothing; a conversation's Seq rises by one, unless the session left and joined again.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass

from gateway.client.events import Message

BEFORE_ALL = "22222-2222-2222-222"
"""The lowest MsgId there is: for whoever was there before any message."""
_DIGIT = "[2-9A-HJ-NP-Z]"
_MSG_ID = re.compile(f"{_DIGIT}{{5}}-{_DIGIT}{{4}}-{_DIGIT}{{4}}-{_DIGIT}{{3}}")


@dataclass(slots=True)
class _Position:
    seq: int
    may_jump: bool = False


class Progress:
    """See the module. ``limit``: how many conversations are remembered."""

    def __init__(self, cursor: str, limit: int) -> None:
        self._cursor = cursor
        self._limit = limit
        self._seen: OrderedDict[str, _Position] = OrderedDict()
        self.start = ""
        """Where to come back to as long as nothing was processed."""

    @property
    def cursor(self) -> str:
        """Where to go on; "" when that is not known."""
        return self._cursor or self.start

    @property
    def has_begun(self) -> bool:
        """Whether anything was processed, or a cursor was given."""
        return bool(self._cursor)

    def is_new(self, message: Message) -> bool:
        """Whether this message was not processed before."""
        seen = self._seen.get(_key(message))
        return seen is None or message.get("Seq", 0) > seen.seq

    def gap_before(self, message: Message) -> int:
        """The Seq after which something is missing before this message; 0 when nothing is."""
        seen = self._seen.get(_key(message))
        return 0 if seen is None or seen.may_jump or message.get("Seq", 0) == seen.seq + 1 else seen.seq

    def done(self, message: Message) -> None:
        """A message was processed."""
        self._seen[_key(message)] = _Position(message.get("Seq", 0))
        self._seen.move_to_end(_key(message))
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        # Two streams may overlap for a moment; plain comparison of MsgIds is time order.
        if not _MSG_ID.fullmatch(self._cursor) or message["MsgId"] > self._cursor:
            self._cursor = message["MsgId"]

    def done_up_to(self, cursor: str) -> None:
        """All of a poll's answer was processed."""
        self._cursor = cursor

    def joined(self, conversation: str) -> None:
        """The session joined it (again): its next message may have any higher Seq."""
        if conversation in self._seen:
            self._seen[conversation].may_jump = True

    def restart(self, cursor: str) -> None:
        """What was missed does not come: go on from ``cursor`` ("" when that is not known), with nothing seen."""
        self._seen.clear()
        self._cursor = cursor or self._cursor


def _key(message: Message) -> str:
    """Its conversation; a message that names none stands for itself."""
    return str(message.get("ConversationID", message["MsgId"]))
