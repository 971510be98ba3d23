"""What the database knows that a connection starts from: the seats of its session, where its cursor stands in each, and
what changed since.

Law: one statement reads all seats, so they are one moment's; what happens after it, the hub hears. Synchronous.
"""

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import connection

from conversations.models import Conversation, Membership
from conversations.services import JOINED, LEFT
from gateway.cursor import Cursor
from gateway.missed import ACTIVE, MAX_MISSED, as_uuid
from gateway.redactions import MAX_REDACTIONS, load_redactions
from gateway.wire import REDACTIONS, Frame, conversation_notice, redaction_notice
from messaging import msgid
from messaging.models import Message, Redaction
from messaging.positions import seq_at_sql
from quickim.bundles import Rows, Statement, bundle
from quickim.database import POSTGRESQL_CLOCK, database_clock

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
    at, own, rows = _read(session, cursor)
    since = cursor.microseconds if cursor else at - LATELY_MICROSECONDS
    seats: list[Seat] = []
    notices: list[Frame] = []
    told: dict[int, tuple[int, int]] = {}
    is_reset = False
    redacted_at = 0
    for row in rows:
        redacted_at = row.redacted_at or 0
        if row.state == ACTIVE:
            seat = _seat(row, cursor, own)
            seats.append(seat)
            is_reset = is_reset or (not seat.is_deleted and seat.position + 1 < row.first_seq)
        changed_at = max(row.changed_at, row.state_changed_at)
        if changed_at > since:
            told[row.number] = (row.member_version, changed_at)
        if cursor and (notice := _notice(row, session, cursor, own)) is not None:
            notices.append(notice)
    redactions = load_redactions(session, since) if redacted_at > since else []
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


class _Row(NamedTuple):
    """A membership of the session, its conversation, the Seq at the cursor, and when the last redaction of all was."""

    state: int
    joined_seq: int
    version: int
    changed_at: int
    number: int
    public_id: uuid.UUID | str
    type: int
    is_archived: bool
    is_deleted: bool
    last_event: str
    state_changed_at: int
    state_version: int
    member_version: int
    first_seq: int
    pruned_msg_id: str
    last_seq: int
    last_msg_id: str
    redacted_at: int | None
    position: int


def _select(position: str) -> str:
    """The statement that brings rows; parameters: those of ``position``, the session, and since when."""
    return (
        "SELECT b.state, b.joined_seq, b.version, b.changed_at, c.id, c.public_id, c.type, c.is_archived, c.is_deleted,"  # noqa: S608
        " c.last_event, c.changed_at, c.state_version, c.member_version, c.first_seq, c.pruned_msg_id, c.last_seq,"
        f" c.last_msg_id, (SELECT max(at) FROM {Redaction._meta.db_table}), {position}"
        f" FROM {Membership._meta.db_table} b JOIN {Conversation._meta.db_table} c ON c.id = b.conversation_id"
        f" WHERE b.session = %s AND (b.changed_at > %s OR b.state = {int(ACTIVE)})"
    )


_NOW = _select("c.last_seq")
# Most conversations have nothing new: their head alone tells the position. Where nothing that is kept lies below the
# cursor, it stands before the first kept message, or, when something that was pruned lies above it, somewhere before
# that.
_AT = _select(
    f"CASE WHEN c.last_msg_id <= %s THEN c.last_seq ELSE coalesce({seq_at_sql('c.id', '<=', '%s')},"
    " CASE WHEN c.pruned_msg_id <= %s THEN c.first_seq - 1 ELSE c.first_seq - 2 END) END"
)
_OWN = f"SELECT conversation_id, seq, send_time FROM {Message._meta.db_table} WHERE msg_id = %s"  # noqa: S608

# Each statement of a bundle costs the driver as much as a row of it.
_CLOCK_AND_OWN = f"SELECT {POSTGRESQL_CLOCK}, own.* FROM (SELECT 1) one LEFT JOIN ({_OWN}) own ON true"  # noqa: S608


def _read(session: str, cursor: Cursor | None) -> tuple[int, Own | None, Iterable[_Row]]:
    """The database's clock just before, where the cursor's own message lies, if it exists, and the rows."""
    is_postgresql = connection.vendor == "postgresql"
    at = 0 if is_postgresql and cursor else database_clock()
    if cursor is None:
        return at, None, map(_Row._make, bundle([(_NOW, (session, at - LATELY_MICROSECONDS))])[0])
    bound = cursor.bound
    statements: list[Statement] = [(_AT, (bound, bound, bound, session, cursor.microseconds))]
    if is_postgresql:
        statements.insert(0, (_CLOCK_AND_OWN, (cursor.msg_id,)))
    elif cursor.msg_id:
        statements.insert(0, (_OWN, (cursor.msg_id,)))
    *first, rows = bundle(statements)
    own: Rows = first[0] if first else []
    if is_postgresql:
        at, own = database_clock(own[0][0]), [row[1:] for row in own if row[1] is not None]
    return at, Own(*own[0]) if own else None, map(_Row._make, rows)


def _seat(row: _Row, cursor: Cursor | None, own: Own | None) -> Seat:
    number = row.number
    position, is_exact = row.position, True
    pruned_seq, pruned_msg_id = row.first_seq - 1, row.pruned_msg_id
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
    last_seq = row.last_seq
    return Seat(
        number=number,
        conversation_id=str(as_uuid(row.public_id)),
        conversation_type=row.type,
        is_archived=bool(row.is_archived),
        is_deleted=bool(row.is_deleted),
        state_version=row.state_version,
        member_version=row.member_version,
        last_seq=last_seq,
        joined_seq=row.joined_seq,
        version=row.version,
        changed_at=row.changed_at,
        last_tick=msgid.tick_of(row.last_msg_id) if last_seq else 0,
        position=min(max(position, row.joined_seq), last_seq),
        is_exact=is_exact,
    )


def _notice(row: _Row, session: str, cursor: Cursor, own: Own | None) -> Frame | None:
    """One notice of what became of this conversation for the session since ``cursor``, the latest; None: nothing.

    In the cursor's own conversation that is what changed after its message, in the others after its tick.
    """
    number = row.number
    since = own.send_time if own and own.number == number else cursor.microseconds + 1
    told = cursor.notices.get(number, -1)
    active = row.state == ACTIVE
    changes = []
    if not (active and row.is_deleted):
        changes.append((row.changed_at, row.version, JOINED if active else LEFT))
    if active:
        changes.append(
            (
                row.state_changed_at,
                row.state_version,
                row.last_event,
            )
        )
    news = [change for change in changes if change[0] >= since and change[1] > told]
    if not news:
        return None
    at, version, event = max(news)
    return conversation_notice(
        event,
        str(as_uuid(row.public_id)),
        row.type,
        at,
        [session] if event in (JOINED, LEFT) else (),
        number=number,
        version=version,
        is_archived=event == JOINED and bool(row.is_archived),
    )
