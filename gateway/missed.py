"""Missed messages, read from the database: pages of many conversations for a connection, or one conversation's for a
hub.

Laws: everything a connection is given from here was read together with the membership that allows it, in one
statement. Seq has no gaps, so a window (above ``low`` up to ``high``) is exact and needs no counting. Synchronous.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from conversations.models import Conversation, Membership
from gateway.wire import Frame, message_frame
from messaging.message import StoredMessage
from messaging.models import Message
from messaging.redaction import redacted_among
from quickim.bundles import bundle

MAX_MISSED = 10_000
"""A resume that would replay more starts anew with a ``reset``."""
ACTIVE = Membership.State.ACTIVE


@dataclass(frozen=True, slots=True)
class Window:
    """Messages of one conversation above ``low`` up to ``high``."""

    number: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Page:
    """Messages in MsgId order over all windows; ``complete``: there are no more of them. ``is_pruned``: of some window
    the first messages are not kept any more, though the session might have had them; then there are no frames.
    ``deleted``: the conversations that gave none because they are deleted, and the state_version that said so."""

    frames: Sequence[Frame]
    complete: bool
    is_pruned: bool = False
    deleted: Mapping[int, int] = field(default_factory=dict)


def read_page(session: str, windows: Sequence[Window], max_messages: int, max_characters: int) -> Page:
    """The first messages, in MsgId order, that lie in ``windows`` and that ``session`` may have as a member now.

    At most ``max_messages``, and cut once their contents pass ``max_characters`` (one message comes in any case).
    Whether all are kept, and which conversations are deleted, is read in the same statement, so that no pruning and no
    restoration comes in between.
    """
    clipped = [(window.number, window.low, min(window.high, window.low + max_messages)) for window in windows]
    message, membership = Message._meta.db_table, Membership._meta.db_table
    conversation = Conversation._meta.db_table
    source, parameters = _windows_sql(clipped)
    query = (
        f"WITH windows(number, low, high) AS {source}, chosen AS ("  # noqa: S608  # table names only
        " SELECT m.msg_id, c.public_id"
        f" FROM windows w JOIN {membership} b ON b.conversation_id = w.number AND b.session = %s"
        f" AND b.state = {int(ACTIVE)} JOIN {conversation} c ON c.id = w.number AND NOT c.is_deleted"
        f" {_messages_of_window(message)} ORDER BY m.msg_id LIMIT %s), sized AS ("
        " SELECT m.conversation_id, n.public_id, m.msg_id, m.seq, m.session, m.send_time, m.status, m.type,"
        " m.content, sum(length(m.content) + 200) OVER (ORDER BY m.msg_id) AS upto"
        f" FROM chosen n JOIN {message} m ON m.msg_id = n.msg_id)"
        " SELECT * FROM sized WHERE upto - length(content) - 200 < %s"
        # Of a conversation without messages to give, its state_version where they have their Seq: it is deleted, or
        # (with -1) no longer whole.
        " UNION ALL SELECT w.number, NULL, NULL, CASE WHEN c.is_deleted THEN c.state_version ELSE -1 END,"
        " NULL, NULL, NULL, NULL, NULL, NULL"
        f" FROM windows w JOIN {membership} b ON b.conversation_id = w.number AND b.session = %s"
        f" AND b.state = {int(ACTIVE)} JOIN {conversation} c ON c.id = w.number WHERE c.is_deleted"
        " OR w.low + 1 < c.first_seq AND b.joined_seq + 1 < c.first_seq AND b.joined_seq < w.high"
        " ORDER BY 3"
    )
    found = bundle([(query, [*parameters, session, max_messages, max_characters, session])])[0]
    rows = [row for row in found if row[2] is not None]
    silent = {row[0]: row[3] for row in found if row[2] is None}
    if -1 in silent.values():
        return Page([], complete=False, is_pruned=True)
    complete = len(rows) < max_messages and (not rows or rows[-1][-1] < max_characters)
    return Page(_frames([row[:-1] for row in rows]), complete, deleted=silent)


def read_window(window: Window, limit: int) -> tuple[list[Frame], int]:
    """The messages of ``window`` in order, at most ``limit``; then the conversation's member_version, read after them:
    whoever delivers them checks his members against that version first."""
    rows = (
        Message.objects.filter(
            conversation_id=window.number, seq__gt=window.low, seq__lte=min(window.high, window.low + limit)
        )
        .order_by("seq")
        .values_list("msg_id", "seq", "session", "send_time", "status", "type", "content")
    )
    found = list(rows)
    public_id, version = Conversation.objects.values_list("public_id", "member_version").get(pk=window.number)
    return _frames([(window.number, public_id, *row) for row in found]), version


def _frames(rows: Sequence[Sequence[Any]]) -> list[Frame]:
    redacted = redacted_among(row[2] for row in rows if not row[-1])
    ids = {number: str(as_uuid(public_id)) for number, public_id in {(row[0], row[1]) for row in rows}}
    return [_frame(row, ids[row[0]], row[2] in redacted) for row in rows]


def _frame(row: Sequence[Any], conversation_id: str, is_redacted: bool) -> Frame:
    number, _, msg_id, seq, session, send_time, status, kind, content = row
    return message_frame(
        StoredMessage(number, conversation_id, msg_id, seq, session, send_time, status, kind, content, is_redacted)
    )


def as_uuid(public_id: uuid.UUID | str) -> uuid.UUID:
    """A conversation's id; SQLite keeps them as 32 hexadecimal digits."""
    return public_id if isinstance(public_id, uuid.UUID) else uuid.UUID(public_id)


def _messages_of_window(message: str) -> str:
    """Joins the messages ``m`` of the window ``w`` that the member ``b`` may have, by the index (conversation, seq).

    PostgreSQL must not guess how many they are: over a big conversation it would read all of it, or the whole table. A
    subquery with a limit leaves it no other way than window by window; the limit itself is never reached.
    """
    condition = "m.conversation_id = w.number AND m.seq > w.low AND m.seq <= w.high AND m.seq > b.joined_seq"
    if connection.vendor == "postgresql":
        rows = f"SELECT m.msg_id FROM {message} m WHERE {condition} ORDER BY m.seq LIMIT {MAX_MISSED}"  # noqa: S608
        return f"CROSS JOIN LATERAL ({rows}) m"
    return f"JOIN {message} m ON {condition}"


def _windows_sql(windows: Sequence[tuple[int, int, int]]) -> tuple[str, list[Any]]:
    if connection.vendor == "postgresql":
        columns = [f"{{{','.join(map(str, column))}}}" for column in zip(*windows, strict=True)] or ["{}"] * 3
        # Used twice, PostgreSQL would otherwise plan without knowing how few they are.
        return "NOT MATERIALIZED (SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]))", columns
    rows = ", ".join(["(%s, %s, %s)"] * len(windows))
    return f"(VALUES {rows})", [value for window in windows for value in window]
