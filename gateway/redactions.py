"""Redactions on their way to the members: told once to those who are connected, and to those who come back.

Laws: a frame that was made before its message was redacted is not handed out afterwards (``current``); the notice goes
to members only, also when one was removed a moment ago; what no announcement told is found by the sweep.
"""

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from conversations.models import Conversation, Membership
from gateway.missed import as_uuid
from gateway.room import Room
from gateway.wire import Frame, redacted_frame, redaction_notice
from messaging.message import MessagesRedacted, RedactedMessage
from messaging.models import Redaction
from quickim.bundles import Rows, Statement

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.hub import Hub
    from gateway.resume import SessionLoad

REMEMBERED_SECONDS = 120.0
REMEMBERED = 20_000
MAX_REDACTIONS = 1_000
"""More than these since a cursor are not told one by one: ``reset`` says it."""
_PER_SWEEP = 10_000
_COLUMNS = (
    "conversation_id",
    "conversation__public_id",
    "conversation__type",
    "conversation__member_version",
    "at",
    "id",
    "msg_id",
    "seq",
)


def redactions_since(since: int) -> Statement:
    """What reads the redactions from ``since`` (microseconds) on, oldest first, for ``redacted_facts``."""
    return _SINCE, (since,)


def redacted_facts(rows: Rows) -> list[MessagesRedacted]:
    """The facts in the rows of ``redactions_since``."""
    return [_fact(row[0], as_uuid(row[1]), *row[2:]) for row in rows]


_SINCE = (
    "SELECT r.conversation_id, c.public_id, c.type, c.member_version, r.at, r.id, r.msg_id, r.seq"  # noqa: S608
    f" FROM {Redaction._meta.db_table} r JOIN {Conversation._meta.db_table} c ON c.id = r.conversation_id"
    f" WHERE r.at >= %s AND NOT c.is_deleted ORDER BY r.at, r.id LIMIT {_PER_SWEEP}"
)


def load_redactions(session: str, since: int) -> list[MessagesRedacted]:
    """Those after ``since`` in the conversations of ``session``, oldest first, at most one over ``MAX_REDACTIONS``.
    Synchronous."""
    rows = Redaction.objects.filter(
        at__gt=since,
        conversation__is_deleted=False,
        conversation__memberships__session=session,
        conversation__memberships__state=Membership.State.ACTIVE,
    ).order_by("at", "id")
    return [_fact(*row) for row in rows.values_list(*_COLUMNS)[: MAX_REDACTIONS + 1]]


def _fact(
    number: int, public_id: object, kind: int, version: int, at: int, redaction: int, msg_id: str, seq: int
) -> MessagesRedacted:
    return MessagesRedacted(number, str(public_id), kind, version, at, (RedactedMessage(redaction, msg_id, seq),))


class Redactions:
    """The redactions of the last two minutes on one node; lives on its event loop."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._recent: OrderedDict[str, tuple[float, MessagesRedacted, RedactedMessage]] = OrderedDict()

    def current(self, frame: Frame) -> Frame:
        """``frame``, or what is left of it when its message was redacted since it was made."""
        return redacted_frame(frame) if frame.msg_id in self._recent else frame

    def tell(self, fact: MessagesRedacted) -> int:
        """Contents were taken back; what was heard before is told no second time. How many were news."""
        self._prune()
        news = [message for message in fact.messages if message.msg_id not in self._recent]
        if not news:
            return 0
        now = time.monotonic()
        self._recent.update((message.msg_id, (now, fact, message)) for message in news)
        room = self._hub.rooms.get(fact.number)
        if room is None:
            return len(news)
        for message in news:
            if (waiting := room.waiting.get(message.seq)) is not None:
                room.waiting[message.seq] = self.current(waiting)
        notices = [redaction_notice(fact, message) for message in news]
        room.announced_version = max(room.announced_version, fact.version)
        if room.is_stale:
            self._hub.repairs.spawn(self._push_when_level(room, notices), "redaction")
        else:
            _push(room, notices)
        return len(news)

    def catch_up(self, connection: "Connection", loaded: "SessionLoad") -> None:
        """Tell ``connection``, which was attached a moment ago, what was redacted since ``loaded`` was read."""
        numbers = {seat.number for seat in loaded.seats if not seat.is_deleted}
        for at, fact, message in reversed(list(self._recent.values())):
            if at < loaded.loaded:
                return
            if fact.number in numbers:
                connection.push(redaction_notice(fact, message))

    async def _push_when_level(self, room: Room, notices: list[Frame]) -> None:
        """Not before it is known who is a member: nothing that happens after a removal is told to who was removed."""
        while room.is_stale and self._hub.rooms.get(room.number) is room:
            await self._hub.repairs.level(room)
        _push(room, notices)

    def _prune(self) -> None:
        before = time.monotonic() - REMEMBERED_SECONDS
        recent = self._recent
        while recent and (len(recent) > REMEMBERED or next(iter(recent.values()))[0] < before):
            recent.popitem(last=False)


def _push(room: Room, notices: list[Frame]) -> None:
    for connection in list(room.audience):
        for notice in notices:
            connection.push(notice)
