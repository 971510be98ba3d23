"""What the append transaction asks of a database, and what PostgreSQL's and SQLite's statements have in common."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from conversations.models import Conversation, Membership
from messaging import msgid
from messaging.message import NewMessage, StoredMessage
from messaging.models import Draft, Message
from messaging.redaction import redacted_among

Key = tuple[int, str, str]
"""(conversation's number, session, client_msg_id)."""


@dataclass(slots=True)
class Head:
    """A conversation as its append sees it; ``locked``: ours until the commit."""

    number: int
    conversation_id: str
    type: int
    is_archived: bool
    is_deleted: bool
    member_version: int
    last_seq: int
    last_msg_id: str
    last_send_time: int
    locked: bool
    last_tick: int = 0
    last_send_session: str = ""


@dataclass(slots=True)
class Ground:
    """What a batch stands on, all of it read after the locks were taken."""

    heads: dict[str, Head] = field(default_factory=dict)
    """The conversations of the batch that exist, by their public id, locked where nobody else holds them."""
    members: Collection[tuple[int, str]] = ()
    """The senders of the batch that are active members: (conversation's number, session)."""
    known: dict[Key, StoredMessage] = field(default_factory=dict)
    """The stored messages that carry a client_msg_id of the batch."""
    floor: int | None = None
    """A tick that all new ones must exceed; None: ticks rise per conversation."""
    clock: int | None = None
    """The database's clock in microseconds, read after the locks; None: it is to be read now."""


class Statements(Protocol):
    """The append transaction in a database's own words; every statement serves the whole batch."""

    def read(self, drafts: Sequence[NewMessage]) -> Ground:
        """Lock the conversations of ``drafts`` (their ids are well-formed), then read what the batch stands on."""

    def store(self, rows: Sequence[tuple[StoredMessage, str]], heads: Sequence[Head]) -> None:
        """Store messages, each with its client_msg_id, and write what they changed of their conversations."""

    def commit_may_have_happened(self, error: Exception) -> bool:
        """Whether a COMMIT that failed with ``error`` leaves it open if it took place."""


CONVERSATIONS = Conversation._meta.db_table
MEMBERSHIPS = Membership._meta.db_table
MESSAGES = Message._meta.db_table
ACTIVE = int(Membership.State.ACTIVE)
HEAD_COLUMNS = "public_id, id, type, is_archived, is_deleted, member_version, last_seq, last_msg_id, last_send_time"
MESSAGE_COLUMNS = (
    "msg_id",
    "conversation_id",
    "seq",
    "session",
    "send_time",
    "status",
    "type",
    "content",
    "client_msg_id",
)
REPEAT_COLUMNS = (
    "m.conversation_id, m.session, m.client_msg_id, m.msg_id, m.seq, m.send_time, m.status, m.type, m.content"
)


def head(text: str, row: Sequence[Any], *, locked: bool) -> Head:
    """The head in a row of ``HEAD_COLUMNS``; ``text``: its public id."""
    _, number, kind, archived, deleted, version, seq, msg_id, send_time = row
    return Head(
        number=number,
        conversation_id=text,
        type=kind,
        is_archived=bool(archived),
        is_deleted=bool(deleted),
        member_version=version,
        last_seq=seq,
        last_msg_id=msg_id,
        last_send_time=send_time,
        locked=locked,
        last_tick=msgid.tick_of(msg_id) if msg_id else 0,
    )


def head_values(heads: Iterable[Head]) -> list[tuple[int, int, str, int, str]]:
    """Number, and the head's columns: last Seq, MsgId, time, session."""
    return [
        (head.number, head.last_seq, head.last_msg_id, head.last_send_time, head.last_send_session) for head in heads
    ]


def message_values(rows: Iterable[tuple[StoredMessage, str]]) -> list[tuple[Any, ...]]:
    """The values of ``MESSAGE_COLUMNS``, a row for each message."""
    return [
        (
            message.msg_id,
            message.number,
            message.seq,
            message.session,
            message.send_time,
            message.status,
            message.type,
            message.content,
            client_msg_id,
        )
        for message, client_msg_id in rows
    ]


def by_key(rows: Sequence[Any]) -> dict[Key, StoredMessage]:
    """The messages in rows of ``REPEAT_COLUMNS``."""
    known = {}
    redacted = redacted_among(row[3] for row in rows if not row[-1])
    for number, session, client_msg_id, msg_id, seq, send_time, status, kind, content in rows:
        known[number, session, client_msg_id] = StoredMessage(
            number=number,
            conversation_id="",
            msg_id=msg_id,
            seq=seq,
            session=session,
            send_time=send_time,
            status=status,
            type=kind,
            content=content,
            is_redacted=msg_id in redacted,
        )
    return known


def waiting_drafts(ids: set[int]) -> set[int]:
    """Those of ``ids`` whose draft rows are still there."""
    return set(Draft.objects.filter(pk__in=ids).values_list("pk", flat=True)) if ids else set()


def delete_drafts(ids: list[int]) -> None:
    """Drafts that are messages now."""
    if ids:
        Draft.objects.filter(pk__in=ids).delete()
