"""The append transaction on PostgreSQL: two bundles of statements and a COMMIT, one round trip each.

Laws: the locks are a statement of their own, and everything else is a later one, with a snapshot of its own; a bundle
is no statement: the server takes one after the other, and skips the rest after a failure. Statements are prepared, but
never through a pooler, which may give each transaction another server.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import InterfaceError, OperationalError, connection

from messaging.append_sql import (
    ACTIVE,
    CONVERSATIONS,
    HEAD_COLUMNS,
    MEMBERSHIPS,
    MESSAGE_COLUMNS,
    MESSAGES,
    REPEAT_COLUMNS,
    Ground,
    Head,
    by_key,
    head,
    head_values,
    message_values,
)
from messaging.message import NewMessage, StoredMessage
from quickim.database import APPEND_MARK, POSTGRESQL_CLOCK

Statement = tuple[bytes, Sequence[Any]]
"""SQL and its parameters. A list is a parameter only as the text of an array: the driver's own dumping of lists costs
more than the rest of a send."""

# In id order, skipping what others hold. Whoever gets a lock bears the mark that ``settled_clock`` looks for, before he
# reads the clock, which is another statement.
_LOCK = (
    f"SELECT id, pg_advisory_xact_lock_shared({APPEND_MARK[0]}, {APPEND_MARK[1]}) FROM {CONVERSATIONS}"  # noqa: S608
    " WHERE public_id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
).encode()
_HEADS = (
    f"SELECT {HEAD_COLUMNS}, {POSTGRESQL_CLOCK} FROM {CONVERSATIONS} WHERE public_id = ANY(%s::uuid[])"  # noqa: S608
).encode()
_MEMBERS = (
    "SELECT m.conversation_id, m.session FROM unnest(%s::uuid[], %s::text[]) AS wanted(public_id, session)"  # noqa: S608
    f" JOIN {CONVERSATIONS} c ON c.public_id = wanted.public_id"
    f" JOIN {MEMBERSHIPS} m ON m.conversation_id = c.id AND m.session = wanted.session AND m.state = {ACTIVE}"
).encode()
_REPEATS = (
    f"SELECT {REPEAT_COLUMNS} FROM unnest(%s::uuid[], %s::text[], %s::text[])"  # noqa: S608
    f" AS wanted(public_id, sender, client) JOIN {CONVERSATIONS} c ON c.public_id = wanted.public_id"
    f" JOIN {MESSAGES} m ON m.conversation_id = c.id AND m.session = wanted.sender"
    " AND m.client_msg_id = wanted.client WHERE NOT (m.client_msg_id = '')"
).encode()
_INSERT = (
    f"INSERT INTO {MESSAGES} ({', '.join(MESSAGE_COLUMNS)})"  # noqa: S608
    " SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[],"
    " %s::integer[], %s::integer[], %s::text[], %s::text[])"
).encode()
_UPDATE_HEADS = (
    f"UPDATE {CONVERSATIONS} c SET last_seq = n.seq, last_msg_id = n.msg_id,"  # noqa: S608
    " last_send_time = n.send_time, last_send_session = n.session"
    " FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::text[])"
    " AS n(number, seq, msg_id, send_time, session) WHERE c.id = n.number"
).encode()


class PostgresStatements:
    """See the module, and Statements."""

    def read(self, drafts: Sequence[NewMessage]) -> Ground:
        """See Statements."""
        if not drafts:
            return Ground()
        wanted = _array({draft.conversation_id for draft in drafts})
        statements: list[Statement] = [(_LOCK, [wanted]), (_HEADS, [wanted])]
        pairs = {(draft.conversation_id, draft.session) for draft in drafts if draft.session}
        if pairs:
            statements.append((_MEMBERS, _arrays(pairs)))
        keys = {(draft.conversation_id, draft.session, draft.client_msg_id) for draft in drafts if draft.client_msg_id}
        if keys:
            statements.append((_REPEATS, _arrays(keys)))
        answers = iter(self.bundle(statements))
        locked = {row[0] for row in next(answers)}
        rows = next(answers)
        texts = [str(row[0]) for row in rows]
        return Ground(
            heads={text: head(text, row[:-1], locked=row[1] in locked) for text, row in zip(texts, rows, strict=True)},
            members=set(next(answers)) if pairs else (),
            known=by_key(next(answers)) if keys else {},
            clock=max((int(row[-1]) for row in rows), default=None),
        )

    def store(self, rows: Sequence[tuple[StoredMessage, str]], heads: Sequence[Head]) -> None:
        """See Statements."""
        self.bundle(
            [(_INSERT, _arrays(message_values(rows))), (_UPDATE_HEADS, _arrays(head_values(heads)))],
        )

    def commit_may_have_happened(self, error: Exception) -> bool:
        """A lost connection leaves it open; a refusal by the server (it has an SQLSTATE) does not."""
        return isinstance(error, OperationalError | InterfaceError) and not getattr(error.__cause__, "sqlstate", None)

    def bundle(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        """The rows of each statement; all are sent at once, and their answers awaited together."""
        connection.ensure_connection()
        raw: psycopg.Connection[Any] = connection.connection
        # Its errors are told apart by Django's classes, also those of the very first statement of a connection.
        with connection.wrap_database_errors:
            prepare = _is_preparing(raw)

            def execute(*_: Any) -> list[psycopg.Cursor[Any]]:
                with raw.pipeline():
                    return [psycopg.Cursor(raw).execute(query, values, prepare=prepare) for query, values in statements]

            cursors = _watched(execute, statements) if connection.execute_wrappers else execute()
            return [cursor.fetchall() if cursor.description else [] for cursor in cursors]


def _watched(execute: Callable[..., Any], statements: Sequence[Statement]) -> Any:
    """To who watches the statements of the connection (a recorded trace does), a bundle is one."""
    for wrapper in reversed(connection.execute_wrappers):
        execute = partial(wrapper, execute)
    return execute(b"; ".join(query for query, _ in statements).decode(), None, False, {"connection": connection})


_is_direct: WeakKeyDictionary[psycopg.Connection[Any], bool] = WeakKeyDictionary()


def _is_preparing(raw: psycopg.Connection[Any]) -> bool:
    """Whether statements may be prepared on this connection: nothing stands between us and its server."""
    direct = _is_direct.get(raw)
    if direct is None:
        # A pooler tells its clients a number of its own.
        row = psycopg.Cursor(raw).execute(b"SELECT pg_backend_pid()").fetchone()
        direct = _is_direct[raw] = row is not None and row[0] == raw.info.backend_pid
        # Of statements that ask for it; Django's own never do.
        raw.prepare_threshold = 5 if direct else None
    return direct


def _arrays(rows: Iterable[Sequence[Any]]) -> list[str]:
    """An array for each column of ``rows``."""
    return [_array(column) for column in zip(*rows, strict=True)]


def _array(column: Iterable[Any]) -> str:
    """Texts or integers, as PostgreSQL spells an array."""
    values = tuple(column)
    if type(values[0]) is int:
        return f"{{{','.join(map(str, values))}}}"
    escaped = [text.replace("\\", "\\\\").replace('"', '\\"') for text in values]
    return '{"' + '","'.join(escaped) + '"}'
