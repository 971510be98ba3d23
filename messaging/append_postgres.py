"""The append transaction on PostgreSQL: two bundles of statements and a COMMIT, one round trip each.

Law: the locks are a statement of their own, and everything else is a later one, with a snapshot of its own.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import InterfaceError, OperationalError

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
from quickim.bundles import Statement, bundle
from quickim.database import APPEND_MARK, POSTGRESQL_CLOCK

# In id order, skipping what others hold. Whoever gets a lock bears the mark that ``settled_clock`` looks for, before he
# reads the clock, which is another statement.
_LOCK = (
    f"SELECT id, pg_advisory_xact_lock_shared({APPEND_MARK[0]}, {APPEND_MARK[1]}) FROM {CONVERSATIONS}"  # noqa: S608
    " WHERE public_id = ANY(%s::uuid[]) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
)
_HEADS = f"SELECT {HEAD_COLUMNS}, {POSTGRESQL_CLOCK} FROM {CONVERSATIONS} WHERE public_id = ANY(%s::uuid[])"  # noqa: S608
_MEMBERS = (
    "SELECT m.conversation_id, m.session FROM unnest(%s::uuid[], %s::text[]) AS wanted(public_id, session)"  # noqa: S608
    f" JOIN {CONVERSATIONS} c ON c.public_id = wanted.public_id"
    f" JOIN {MEMBERSHIPS} m ON m.conversation_id = c.id AND m.session = wanted.session AND m.state = {ACTIVE}"
)
_REPEATS = (
    f"SELECT {REPEAT_COLUMNS} FROM unnest(%s::uuid[], %s::text[], %s::text[])"  # noqa: S608
    f" AS wanted(public_id, sender, client) JOIN {CONVERSATIONS} c ON c.public_id = wanted.public_id"
    f" JOIN {MESSAGES} m ON m.conversation_id = c.id AND m.session = wanted.sender"
    " AND m.client_msg_id = wanted.client WHERE NOT (m.client_msg_id = '')"
)
_INSERT = (
    f"INSERT INTO {MESSAGES} ({', '.join(MESSAGE_COLUMNS)})"  # noqa: S608
    " SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[],"
    " %s::integer[], %s::integer[], %s::text[], %s::text[])"
)
_UPDATE_HEADS = (
    f"UPDATE {CONVERSATIONS} c SET last_seq = n.seq, last_msg_id = n.msg_id,"  # noqa: S608
    " last_send_time = n.send_time, last_send_session = n.session"
    " FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::text[])"
    " AS n(number, seq, msg_id, send_time, session) WHERE c.id = n.number"
)


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
        answers = iter(bundle(statements))
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
        bundle([(_INSERT, _arrays(message_values(rows))), (_UPDATE_HEADS, _arrays(head_values(heads)))])

    def commit_may_have_happened(self, error: Exception) -> bool:
        """A lost connection leaves it open; a refusal by the server (it has an SQLSTATE) does not."""
        return isinstance(error, OperationalError | InterfaceError) and not getattr(error.__cause__, "sqlstate", None)


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
