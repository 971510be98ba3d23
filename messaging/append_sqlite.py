"""The append transaction on SQLite: what is asked for goes in as one JSON array, rows are written one by one in a
single call. The IMMEDIATE transaction has locked everything already."""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from messaging import msgid
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
    Key,
    by_key,
    head,
    head_values,
    message_values,
)
from messaging.message import NewMessage, StoredMessage
from quickim.rest.strict_json import encode


class SqliteStatements:
    """See the module, and Statements."""

    def read(self, drafts: Sequence[NewMessage]) -> Ground:
        """See Statements."""
        heads = self._heads({draft.conversation_id for draft in drafts})
        keys = [(draft, found) for draft in drafts if (found := heads.get(draft.conversation_id)) is not None]
        return Ground(
            heads=heads,
            members=self._members({(found.number, draft.session) for draft, found in keys if draft.session}),
            known=self._known_repeats(
                {(found.number, draft.session, draft.client_msg_id) for draft, found in keys if draft.client_msg_id}
            ),
            floor=self.floor(),
        )

    def floor(self) -> int | None:
        """One rising counter serves all conversations: its last value."""
        ((kept, pruned),) = _query(
            f"SELECT (SELECT max(msg_id) FROM {MESSAGES}),"  # noqa: S608  # constants
            f" (SELECT max(pruned_msg_id) FROM {CONVERSATIONS} WHERE NOT (pruned_msg_id = ''))"
        )
        highest = max(kept or "", pruned or "")
        return msgid.tick_of(highest) if highest else 0

    def store(self, rows: Sequence[tuple[StoredMessage, str]], heads: Sequence[Head]) -> None:
        """See Statements."""
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {MESSAGES} ({', '.join(MESSAGE_COLUMNS)})"  # noqa: S608  # constants
                f" VALUES ({', '.join(['%s'] * len(MESSAGE_COLUMNS))})",
                message_values(rows),
            )
            cursor.executemany(
                f"UPDATE {CONVERSATIONS} SET last_seq = %s, last_msg_id = %s, last_send_time = %s,"  # noqa: S608
                " last_send_session = %s WHERE id = %s",
                [(*values[1:], values[0]) for values in head_values(heads)],
            )

    def commit_may_have_happened(self, error: Exception) -> bool:
        """Never."""
        return False

    def _heads(self, ids: set[str]) -> dict[str, Head]:
        if not ids:
            return {}
        texts = {text.replace("-", ""): text for text in ids}
        rows = _asked_query(
            f"SELECT {HEAD_COLUMNS} FROM {CONVERSATIONS}"  # noqa: S608  # constants
            " WHERE public_id IN (SELECT value FROM json_each(%s))",
            list(texts),
        )
        return {texts[row[0]]: head(texts[row[0]], row, locked=True) for row in rows}

    def _members(self, pairs: set[tuple[int, str]]) -> set[tuple[int, str]]:
        if not pairs:
            return set()
        return set(
            _asked_query(
                "SELECT m.conversation_id, m.session"  # noqa: S608  # constants
                f" FROM json_each(%s) wanted CROSS JOIN {MEMBERSHIPS} m"
                " ON m.conversation_id = json_extract(wanted.value, '$[0]')"
                f" AND m.session = json_extract(wanted.value, '$[1]') WHERE m.state = {ACTIVE}",
                list(pairs),
            )
        )

    def _known_repeats(self, keys: set[Key]) -> dict[Key, StoredMessage]:
        """The condition is spelled as in the partial index, or SQLite would not use that."""
        if not keys:
            return {}
        return by_key(
            _asked_query(
                f"SELECT {REPEAT_COLUMNS} FROM json_each(%s) wanted"  # noqa: S608
                f" CROSS JOIN {MESSAGES} m ON m.conversation_id = json_extract(wanted.value, '$[0]')"
                " AND m.session = json_extract(wanted.value, '$[1]')"
                " AND m.client_msg_id = json_extract(wanted.value, '$[2]') WHERE NOT (m.client_msg_id = '')",
                list(keys),
            )
        )


def _query(sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def _asked_query(sql: str, wanted: list[Any]) -> list[Any]:
    """The rows of a statement whose one parameter is a JSON array of what is asked for."""
    return _query(sql, [encode(wanted).decode()])
