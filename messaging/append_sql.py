"""The statements of the append transaction, PostgreSQL's and SQLite's side by side: one for a whole batch each."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django.db import InterfaceError, OperationalError, connection

from conversations.models import Conversation, Membership
from messaging import msgid
from messaging.message import StoredMessage
from messaging.models import Draft, Message
from quickim.database import APPEND_MARK
from quickim.rest.strict_json import encode

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


class Statements(Protocol):
    """What the append transaction asks of a database; every statement is one round trip for the whole batch."""

    def lock_heads(self, ids: set[str]) -> dict[str, Head]:
        """The conversations of ``ids`` that exist, by their public id, locked where nobody else holds them."""

    def members(self, pairs: set[tuple[int, str]]) -> set[tuple[int, str]]:
        """Those of ``pairs`` (conversation's number, session) that are active memberships."""

    def known_repeats(self, keys: set[Key]) -> dict[Key, StoredMessage]:
        """The stored messages that carry one of ``keys``."""

    def common_floor(self) -> int | None:
        """A tick that all new ones must exceed; None: ticks rise per conversation."""

    def insert(self, rows: Sequence[tuple[StoredMessage, str]]) -> None:
        """Store messages, each with its client_msg_id."""

    def update_heads(self, heads: Sequence[Head]) -> None:
        """Write what the new messages changed of their conversations."""

    def commit_may_have_happened(self, error: Exception) -> bool:
        """Whether a COMMIT that failed with ``error`` leaves it open if it took place."""


class SqliteStatements:
    """What is asked for goes in as one JSON array; rows are written one by one in a single call."""

    def lock_heads(self, ids: set[str]) -> dict[str, Head]:
        """See Statements. The IMMEDIATE transaction has locked everything already."""
        if not ids:
            return {}
        texts = {text.replace("-", ""): text for text in ids}
        rows = _asked_query(
            f"SELECT {_HEAD_COLUMNS} FROM {_CONVERSATIONS}"  # noqa: S608  # constants
            " WHERE public_id IN (SELECT value FROM json_each(%s))",
            list(texts),
        )
        return {texts[row[0]]: _head(texts[row[0]], row, locked=True) for row in rows}

    def members(self, pairs: set[tuple[int, str]]) -> set[tuple[int, str]]:
        """See Statements."""
        if not pairs:
            return set()
        rows = _asked_query(
            "SELECT m.conversation_id, m.session"  # noqa: S608  # constants
            f" FROM json_each(%s) wanted CROSS JOIN {_MEMBERSHIPS} m"
            " ON m.conversation_id = json_extract(wanted.value, '$[0]')"
            f" AND m.session = json_extract(wanted.value, '$[1]') WHERE m.state = {_ACTIVE}",
            list(pairs),
        )
        return {(number, session) for number, session in rows}

    def known_repeats(self, keys: set[Key]) -> dict[Key, StoredMessage]:
        """See Statements. The condition is spelled as in the partial index, or SQLite would not use that."""
        if not keys:
            return {}
        return _by_key(
            _asked_query(
                f"SELECT {_REPEAT_COLUMNS} FROM json_each(%s) wanted"  # noqa: S608
                f" CROSS JOIN {_MESSAGES} m ON m.conversation_id = json_extract(wanted.value, '$[0]')"
                " AND m.session = json_extract(wanted.value, '$[1]')"
                " AND m.client_msg_id = json_extract(wanted.value, '$[2]') WHERE NOT (m.client_msg_id = '')",
                list(keys),
            )
        )

    def common_floor(self) -> int | None:
        """See Statements: one rising counter serves all conversations."""
        ((kept, pruned),) = _query(
            f"SELECT (SELECT max(msg_id) FROM {_MESSAGES}),"  # noqa: S608  # constants
            f" (SELECT max(pruned_msg_id) FROM {_CONVERSATIONS} WHERE NOT (pruned_msg_id = ''))"
        )
        highest = max(kept or "", pruned or "")
        return msgid.tick_of(highest) if highest else 0

    def insert(self, rows: Sequence[tuple[StoredMessage, str]]) -> None:
        """See Statements."""
        _execute_many(
            f"INSERT INTO {_MESSAGES} ({', '.join(_MESSAGE_COLUMNS)})"  # noqa: S608  # constants
            f" VALUES ({', '.join(['%s'] * len(_MESSAGE_COLUMNS))})",
            _values(rows),
        )

    def update_heads(self, heads: Sequence[Head]) -> None:
        """See Statements."""
        _execute_many(
            f"UPDATE {_CONVERSATIONS} SET last_seq = %s, last_msg_id = %s, last_send_time = %s,"  # noqa: S608
            " last_send_session = %s WHERE id = %s",
            [(*values, number) for number, *values in _head_values(heads)],
        )

    def commit_may_have_happened(self, error: Exception) -> bool:
        """Never."""
        return False


class PostgresStatements:
    """Batches go in as one array per column."""

    def lock_heads(self, ids: set[str]) -> dict[str, Head]:
        """See Statements. Locks in id order, skipping what others hold; reads only after that, and takes the mark that
        ``settled_clock`` looks for."""
        if not ids:
            return {}
        wanted = [uuid.UUID(text) for text in ids]
        locked = {
            number
            for (number,) in _query(
                f"SELECT id FROM {_CONVERSATIONS} WHERE public_id = ANY(%s)"  # noqa: S608  # constants
                " ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
                [wanted],
            )
        }
        rows = _query(
            f"SELECT {_HEAD_COLUMNS}, pg_advisory_xact_lock_shared(%s, %s) FROM {_CONVERSATIONS}"  # noqa: S608  # constants
            " WHERE public_id = ANY(%s)",
            [*APPEND_MARK, wanted],
        )
        return {str(row[0]): _head(str(row[0]), row[:-1], locked=row[1] in locked) for row in rows}

    def members(self, pairs: set[tuple[int, str]]) -> set[tuple[int, str]]:
        """See Statements."""
        if not pairs:
            return set()
        return {
            (int(number), str(session))
            for number, session in _query(
                f"SELECT m.conversation_id, m.session FROM {_MEMBERSHIPS} m"  # noqa: S608  # constants
                " JOIN unnest(%s::bigint[], %s::text[]) AS wanted(number, session)"
                " ON m.conversation_id = wanted.number AND m.session = wanted.session"
                f" WHERE m.state = {_ACTIVE}",
                _columns(pairs),
            )
        }

    def known_repeats(self, keys: set[Key]) -> dict[Key, StoredMessage]:
        """See Statements."""
        if not keys:
            return {}
        return _by_key(
            _query(
                f"SELECT {_REPEAT_COLUMNS} FROM {_MESSAGES} m"  # noqa: S608  # constants
                " JOIN unnest(%s::bigint[], %s::text[], %s::text[]) AS wanted(number, sender, client)"
                " ON m.conversation_id = wanted.number AND m.session = wanted.sender"
                " AND m.client_msg_id = wanted.client WHERE NOT (m.client_msg_id = '')",
                _columns(keys),
            )
        )

    def common_floor(self) -> int | None:
        """See Statements."""
        return None

    def insert(self, rows: Sequence[tuple[StoredMessage, str]]) -> None:
        """See Statements."""
        _execute(
            f"INSERT INTO {_MESSAGES} ({', '.join(_MESSAGE_COLUMNS)})"  # noqa: S608  # constants
            " SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[],"
            " %s::integer[], %s::integer[], %s::text[], %s::text[])",
            _columns(_values(rows)),
        )

    def update_heads(self, heads: Sequence[Head]) -> None:
        """See Statements."""
        _execute(
            f"UPDATE {_CONVERSATIONS} c SET last_seq = n.seq, last_msg_id = n.msg_id,"  # noqa: S608  # constants
            " last_send_time = n.send_time, last_send_session = n.session"
            " FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::text[])"
            " AS n(number, seq, msg_id, send_time, session) WHERE c.id = n.number",
            _columns(_head_values(heads)),
        )

    def commit_may_have_happened(self, error: Exception) -> bool:
        """A lost connection leaves it open; a refusal by the server (it has an SQLSTATE) does not."""
        return isinstance(error, OperationalError | InterfaceError) and not getattr(error.__cause__, "sqlstate", None)


_CONVERSATIONS = Conversation._meta.db_table
_MEMBERSHIPS = Membership._meta.db_table
_MESSAGES = Message._meta.db_table
_ACTIVE = int(Membership.State.ACTIVE)
_HEAD_COLUMNS = "public_id, id, type, is_archived, is_deleted, member_version, last_seq, last_msg_id, last_send_time"
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


_STATEMENTS: dict[str, Statements] = {"sqlite": SqliteStatements(), "postgresql": PostgresStatements()}


def statements() -> Statements:
    """The statements for the database in use."""
    return _STATEMENTS[connection.vendor]


def waiting_drafts(ids: set[int]) -> set[int]:
    """Those of ``ids`` whose draft rows are still there."""
    return set(Draft.objects.filter(pk__in=ids).values_list("pk", flat=True)) if ids else set()


def delete_drafts(ids: list[int]) -> None:
    """Drafts that are messages now."""
    Draft.objects.filter(pk__in=ids).delete()


def _query(sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _asked_query(sql: str, wanted: list[Any]) -> list[Any]:
    """The rows of a statement whose one parameter is a JSON array of what is asked for."""
    return _query(sql, [encode(wanted).decode()])


def _execute(sql: str, parameters: Sequence[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def _execute_many(sql: str, rows: Sequence[Sequence[Any]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)


def _columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _head_values(heads: Sequence[Head]) -> list[tuple[Any, ...]]:
    return [
        (head.number, head.last_seq, head.last_msg_id, head.last_send_time, head.last_send_session) for head in heads
    ]


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
