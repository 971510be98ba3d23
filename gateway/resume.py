"""What the database knows that a connection starts from: the seats of its session, where its cursor stands in each, and
what changed since.

Law: one statement reads all seats, so they are one moment's; what happens after it, the hub hears. Synchronous.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce

from conversations.models import Membership
from conversations.services import JOINED, LEFT
from gateway.cursor import Cursor
from gateway.missed import ACTIVE, MAX_MISSED
from gateway.redactions import MAX_REDACTIONS, load_redactions
from gateway.wire import REDACTIONS, Frame, conversation_notice, redaction_notice
from messaging import msgid
from messaging.models import Message
from messaging.positions import SeqAt
from quickim.database import database_clock

LATELY_MICROSECONDS = 30_000_000
"""Changes this recent are noted even for a connection without a cursor: a poll's cursor reaches back behind them."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One conversation of a session, as one snapshot of the database shows it."""

    number: int
    conversation_id: str
    conversation_type: int
    is_archived: bool
    is_deleted: bool
    state_version: int
    member_version: int
    last_seq: int
    joined_seq: int
    version: int
    """Of the membership itself."""
    changed_at: int
    """When it last changed."""
    last_tick: int
    """Of the conversation's last message; 0 before the first."""
    position: int
    """The Seq up to which the client has everything."""
    is_exact: bool
    """Whether the cursor named that position, and did not only imply it by its tick."""

    def joined_notice(self, session: str) -> Frame:
        """The notice that ``session``, whose seat it is, joined."""
        return conversation_notice(
            JOINED,
            self.conversation_id,
            self.conversation_type,
            self.changed_at,
            [session],
            number=self.number,
            version=self.version,
            is_archived=self.is_archived,
        )


@dataclass(frozen=True, slots=True)
class SessionLoad:
    """All that a connection starts from. ``at``: the database's clock just before; ``loaded``: ours, monotonic."""

    session: str
    at: int
    loaded: float
    seats: Sequence[Seat]
    notices: Sequence[Frame] = ()
    is_reset: bool = False
    told: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By conversation's number, what changed lately or since the cursor: (member_version, microseconds)."""


class Own(NamedTuple):
    """The place of a cursor's own message: conversation's number, Seq, microseconds."""

    number: int
    seq: int
    send_time: int


def load_session(session: str, cursor: Cursor | None) -> SessionLoad:
    """Where ``session`` stands at ``cursor`` (None: now)."""
    loaded = time.monotonic()
    at = database_clock()
    own = _own(cursor.msg_id) if cursor and cursor.msg_id else None
    since = cursor.microseconds if cursor else at - LATELY_MICROSECONDS
    seats: list[Seat] = []
    notices: list[Frame] = []
    told: dict[int, tuple[int, int]] = {}
    is_reset = False
    for row in _rows(session, cursor, since):
        if row["state"] == ACTIVE:
            seat = _seat(row, cursor, own)
            seats.append(seat)
            is_reset = is_reset or (not seat.is_deleted and seat.position + 1 < row["conversation__first_seq"])
        changed_at = max(row["changed_at"], row["conversation__changed_at"])
        if changed_at > since:
            told[row["conversation_id"]] = (row["conversation__member_version"], changed_at)
        if cursor and (notice := _notice(row, session, cursor, own)) is not None:
            notices.append(notice)
    redactions = load_redactions(session, since)
    for fact in redactions[:MAX_REDACTIONS]:
        (message,) = fact.messages
        counted = fact.number | REDACTIONS
        told[counted] = (message.redaction, fact.at)
        if cursor and message.redaction > cursor.notices.get(counted, -1):
            notices.append(redaction_notice(fact, message))
    missed = sum(seat.last_seq - seat.position for seat in seats if not seat.is_deleted)
    return SessionLoad(
        session=session,
        at=at,
        loaded=loaded,
        seats=seats,
        notices=sorted(notices, key=lambda notice: notice.at),
        is_reset=is_reset or missed > MAX_MISSED or (cursor is not None and len(redactions) > MAX_REDACTIONS),
        told=told,
    )


def _rows(session: str, cursor: Cursor | None, since: int) -> Any:
    rows = Membership.objects.filter(Q(changed_at__gt=since) | Q(state=ACTIVE), session=session)
    if cursor:
        # Nothing that is kept lies below the cursor: it stands before the first kept message, or, when something that
        # was pruned lies above it, somewhere before that.
        earlier = Case(
            When(conversation__pruned_msg_id__lte=cursor.bound, then=F("conversation__first_seq") - 1),
            default=F("conversation__first_seq") - 2,
        )
        # Most conversations have nothing new: their head alone tells the position.
        rows = rows.annotate(
            position=Case(
                When(conversation__last_msg_id__lte=cursor.bound, then=F("conversation__last_seq")),
                default=Coalesce(SeqAt(F("conversation_id"), "<=", cursor.bound), earlier),
            )
        )
    else:
        rows = rows.annotate(position=F("conversation__last_seq") + Value(0))
    return rows.values(
        "state",
        "joined_seq",
        "version",
        "changed_at",
        "position",
        "conversation_id",
        "conversation__public_id",
        "conversation__type",
        "conversation__is_archived",
        "conversation__is_deleted",
        "conversation__last_event",
        "conversation__changed_at",
        "conversation__state_version",
        "conversation__member_version",
        "conversation__first_seq",
        "conversation__pruned_msg_id",
        "conversation__last_seq",
        "conversation__last_msg_id",
    )


def _seat(row: dict[str, Any], cursor: Cursor | None, own: Own | None) -> Seat:
    number = row["conversation_id"]
    position, is_exact = row["position"], True
    pruned_seq, pruned_msg_id = row["conversation__first_seq"] - 1, row["conversation__pruned_msg_id"]
    if own and own.number == number:
        position = own.seq
    elif cursor and cursor.msg_id and cursor.msg_id == pruned_msg_id:
        # Its own message is not kept any more, but all after it are.
        position = pruned_seq
    elif cursor and number in cursor.positions:
        position = cursor.positions[number]
        if pruned_msg_id <= cursor.bound:
            # The client has these, or was told that they are lost.
            position = max(position, pruned_seq)
    else:
        is_exact = cursor is None
    last_seq = row["conversation__last_seq"]
    return Seat(
        number=number,
        conversation_id=str(row["conversation__public_id"]),
        conversation_type=row["conversation__type"],
        is_archived=row["conversation__is_archived"],
        is_deleted=row["conversation__is_deleted"],
        state_version=row["conversation__state_version"],
        member_version=row["conversation__member_version"],
        last_seq=last_seq,
        joined_seq=row["joined_seq"],
        version=row["version"],
        changed_at=row["changed_at"],
        last_tick=msgid.tick_of(row["conversation__last_msg_id"]) if last_seq else 0,
        position=min(max(position, row["joined_seq"]), last_seq),
        is_exact=is_exact,
    )


def _own(msg_id: str) -> Own | None:
    """Where a MsgId lies, if it exists."""
    row = Message.objects.filter(pk=msg_id).values_list("conversation_id", "seq", "send_time").first()
    return Own(*row) if row else None


def _notice(row: dict[str, Any], session: str, cursor: Cursor, own: Own | None) -> Frame | None:
    """One notice of what became of this conversation for the session since ``cursor``, the latest; None: nothing.

    In the cursor's own conversation that is what changed after its message, in the others after its tick.
    """
    number = row["conversation_id"]
    since = own.send_time if own and own.number == number else cursor.microseconds + 1
    told = cursor.notices.get(number, -1)
    active = row["state"] == ACTIVE
    changes = []
    if not (active and row["conversation__is_deleted"]):
        changes.append((row["changed_at"], row["version"], JOINED if active else LEFT))
    if active:
        changes.append(
            (
                row["conversation__changed_at"],
                row["conversation__state_version"],
                row["conversation__last_event"],
            )
        )
    news = [change for change in changes if change[0] >= since and change[1] > told]
    if not news:
        return None
    at, version, event = max(news)
    return conversation_notice(
        event,
        str(row["conversation__public_id"]),
        row["conversation__type"],
        at,
        [session] if event in (JOINED, LEFT) else (),
        number=number,
        version=version,
        is_archived=event == JOINED and row["conversation__is_archived"],
    )
