"""The statements of the append transaction, PostgreSQL's and portable ones side by side.

PostgreSQL takes arrays (one round trip and no parsing per row); SQLite takes lists of values and ``executemany``.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from django.db import InterfaceError, OperationalError, connection

from conversations.models import Conversation, Membership
from messaging import msgid
from messaging.message import StoredMessage
from messaging.models import Draft, Message

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


class Statements:
    """Portable SQL; SQLite's IMMEDIATE transaction has locked everything before the first of them."""

    active: ClassVar[int] = Membership.State.ACTIVE

    def lock_heads(self, ids: set[str]) -> dict[str, Head]:
        """The conversations of ``ids`` that exist, by their public id, locked where nobody else holds them."""
        if not ids:
            return {}
        texts = {text.replace("-", ""): text for text in ids}
        rows = _query(f"{_HEADS} WHERE public_id IN ({_places('%s', len(texts))})", list(texts))
        return {texts[row[0]]: _head(texts[row[0]], row, locked=True) for row in rows}

    def members(self, pairs: set[tuple[int, str]]) -> set[tuple[int, str]]:
        """Those of ``pairs`` (conversation's number, session) that are active memberships."""
        if not pairs:
            return set()
        table = Membership._meta.db_table
        return {
            (int(number), str(session))
            for number, session in _query(
                f"SELECT conversation_id, session FROM {table} WHERE state = {self.active}"  # noqa: S608  # constants
                f" AND (conversation_id, session) IN (VALUES {_places('(%s, %s)', len(pairs))})",
                [value for pair in pairs for value in pair],
            )
        }

    def known_repeats(self, keys: set[Key]) -> dict[Key, StoredMessage]:
        """The stored messages that carry one of ``keys``."""
        if not keys:
            return {}
        table = Message._meta.db_table
        return _by_key(
            _query(
                f"SELECT {_REPEAT_COLUMNS} FROM {table} m WHERE client_msg_id <> ''"  # noqa: S608  # constants
                " AND (conversation_id, session, client_msg_id)"
                f" IN (VALUES {_places('(%s, %s, %s)', len(keys))})",
                [value for key in keys for value in key],
            )
        )

    def common_floor(self) -> int | None:
        """A tick that all new ones must exceed: on SQLite one rising counter serves all conversations."""
        ((highest,),) = _query(f"SELECT max(msg_id) FROM {Message._meta.db_table}")  # noqa: S608  # constants
        return msgid.tick_of(highest) if highest else 0

    def insert(self, rows: Sequence[tuple[StoredMessage, str]]) -> None:
        """Store messages, each with its client_msg_id."""
        columns = _MESSAGE_COLUMNS
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {Message._meta.db_table} ({', '.join(columns)})"  # noqa: S608  # constants
                f" VALUES ({', '.join(['%s'] * len(columns))})",
                _values(rows),
            )

    def update_heads(self, heads: Sequence[Head]) -> None:
        """Write what the new messages changed of their conversations."""
        with connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {Conversation._meta.db_table} SET last_seq = %s, last_msg_id = %s,"  # noqa: S608  # constants
                " last_send_time = %s, last_send_session = %s WHERE id = %s",
                [
                    (
                        head.last_seq,
                        head.last_msg_id,
                        head.last_send_time,
                        head.last_send_session,
                        head.number,
                    )
                    for head in heads
                ],
            )

    def waiting_drafts(self, ids: set[int]) -> set[int]:
        """Those of ``ids`` whose rows are still there."""
        return set(Draft.objects.filter(pk__in=ids).values_list("pk", flat=True)) if ids else set()

    def delete_drafts(self, ids: list[int]) -> None:
        """Drafts that are messages now."""
        Draft.objects.filter(pk__in=ids).delete()

    def commit_may_have_happened(self, error: Exception) -> bool:
        """Whether a failing COMMIT leaves it open if it took place; SQLite's never does."""
        return False


class PostgresStatements(Statements):
    """One array per column instead of one parameter per value."""

    def lock_heads(self, ids: set[str]) -> dict[str, Head]:
        """Locks in id order, skipping what others hold; reads only after that."""
        if not ids:
            return {}
        wanted = [uuid.UUID(text) for text in ids]
        locked = {
            number
            for (number,) in _query(
                f"SELECT id FROM {Conversation._meta.db_table} WHERE public_id = ANY(%s)"  # noqa: S608  # constants
                " ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
                [wanted],
            )
        }
        rows = _query(f"{_HEADS} WHERE public_id = ANY(%s)", [wanted])
        return {str(row[0]): _head(str(row[0]), row, locked=row[1] in locked) for row in rows}

    def members(self, pairs: set[tuple[int, str]]) -> set[tuple[int, str]]:
        """See Statements."""
        if not pairs:
            return set()
        return {
            (int(number), str(session))
            for number, session in _query(
                f"SELECT m.conversation_id, m.session FROM {Membership._meta.db_table} m"  # noqa: S608  # constants
                " JOIN unnest(%s::bigint[], %s::text[]) AS wanted(number, session)"
                " ON m.conversation_id = wanted.number AND m.session = wanted.session"
                f" WHERE m.state = {self.active}",
                _columns(pairs, 2),
            )
        }

    def known_repeats(self, keys: set[Key]) -> dict[Key, StoredMessage]:
        """See Statements."""
        if not keys:
            return {}
        return _by_key(
            _query(
                f"SELECT {_REPEAT_COLUMNS} FROM {Message._meta.db_table} m"  # noqa: S608  # constants
                " JOIN unnest(%s::bigint[], %s::text[], %s::text[]) AS wanted(number, sender, client)"
                " ON m.conversation_id = wanted.number AND m.session = wanted.sender"
                " AND m.client_msg_id = wanted.client WHERE m.client_msg_id <> ''",
                _columns(keys, 3),
            )
        )

    def common_floor(self) -> int | None:
        """None: ticks rise per conversation."""
        return None

    def insert(self, rows: Sequence[tuple[StoredMessage, str]]) -> None:
        """See Statements."""
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {Message._meta.db_table} ({', '.join(_MESSAGE_COLUMNS)})"  # noqa: S608  # constants
                " SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[],"
                " %s::integer[], %s::integer[], %s::text[], %s::text[])",
                _columns(_values(rows), len(_MESSAGE_COLUMNS)),
            )

    def update_heads(self, heads: Sequence[Head]) -> None:
        """See Statements."""
        rows = [
            (head.number, head.last_seq, head.last_msg_id, head.last_send_time, head.last_send_session)
            for head in heads
        ]
        with connection.cursor() as cursor:
            cursor.execute(
                f"UPDATE {Conversation._meta.db_table} c SET last_seq = n.seq, last_msg_id = n.msg_id,"  # noqa: S608
                " last_send_time = n.send_time, last_send_session = n.session"
                " FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::text[])"
                " AS n(number, seq, msg_id, send_time, session) WHERE c.id = n.number",
                _columns(rows, 5),
            )

    def commit_may_have_happened(self, error: Exception) -> bool:
        """A lost connection leaves it open; a refusal by the server (it has an SQLSTATE) does not."""
        return isinstance(error, OperationalError | InterfaceError) and not getattr(error.__cause__, "sqlstate", None)


_MESSAGE_COLUMNS = (
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
_REPEAT_COLUMNS = (
    "m.conversation_id, m.session, m.client_msg_id, m.msg_id, m.seq, m.send_time, m.status, m.type, m.content"
)


_HEADS = (
    "SELECT public_id, id, type, is_archived, is_deleted, member_version, last_seq, last_msg_id, last_send_time"  # noqa: S608
    f" FROM {Conversation._meta.db_table}"
)


def _head(text: str, row: Sequence[Any], *, locked: bool) -> Head:
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


@cache
def _statements(vendor: str) -> Statements:
    return PostgresStatements() if vendor == "postgresql" else Statements()


def statements() -> Statements:
    """The statements for the database in use."""
    return _statements(connection.vendor)


def _query(sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _places(one: str, count: int) -> str:
    return ", ".join([one] * count)


def _columns(rows: Any, width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]


def _values(rows: Sequence[tuple[StoredMessage, str]]) -> list[tuple[Any, ...]]:
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


def _by_key(rows: list[Any]) -> dict[Key, StoredMessage]:
    known = {}
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
        )
    return known
