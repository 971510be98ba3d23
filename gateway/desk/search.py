"""Words in messages: a bounded walk through what the existing indexes give, newest first.

Laws: no index is made for this. One request looks at ``LOOKED_AT`` messages at most, tells up to where it came, and
the next goes on from there; inside a conversation by (conversation, seq), over a stretch of time by MsgId.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from conversations.models import Conversation
from messaging import msgid
from messaging.models import Message

LOOKED_AT = 10_000
FOUND = 50
AROUND = 80
"""Characters shown before and after the word."""
_MESSAGES, _CONVERSATIONS = Message._meta.db_table, Conversation._meta.db_table


@dataclass(frozen=True, slots=True)
class Hit:
    """A message that holds the word, cut to what stands around it."""

    conversation_id: str
    msg_id: str
    seq: int
    session: str
    send_time: int
    before: str
    word: str
    after: str


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, newest first; ``go_on``: where the next request goes on, "" when all was looked at."""

    hits: Sequence[Hit]
    go_on: str
    looked_at: int


def in_conversation(conversation: Conversation, word: str, below: int | None = None) -> Found:
    """Messages of ``conversation`` that hold ``word``, below the Seq ``below``."""
    high = conversation.last_seq if below is None else min(below - 1, conversation.last_seq)
    low = max(conversation.first_seq, high - LOOKED_AT + 1)
    if high < low:
        return Found([], "", 0)
    hits = _hits(
        word,
        # Seq has no gaps, so these are no more than LOOKED_AT; the limit is for the planner.
        "m.conversation_id = %s AND m.seq >= %s AND m.seq <= %s ORDER BY m.seq DESC",
        [conversation.pk, low, high],
    )
    reached = hits[-1].seq if len(hits) == FOUND else low
    return Found(hits, str(reached) if reached > conversation.first_seq else "", high - reached + 1)


def in_time(word: str, since: int, until: int, below: str = "") -> Found:
    """Messages of all conversations that hold ``word``, sent from ``since`` to ``until`` (microseconds), below the
    MsgId ``below``."""
    low, high = msgid.before_all(msgid.tick_at(since)), below or msgid.before_all(msgid.tick_at(until))
    window = "m.msg_id >= %s AND m.msg_id < %s ORDER BY m.msg_id DESC"
    with connection.cursor() as cursor:
        # The index alone answers this.
        cursor.execute(
            f"SELECT count(*), min(msg_id) FROM (SELECT m.msg_id FROM {_MESSAGES} m"  # noqa: S608  # constants
            f" WHERE {window} LIMIT {LOOKED_AT}) w",
            [low, high],
        )
        looked_at, lowest = cursor.fetchone()
    if not looked_at:
        return Found([], "", 0)
    hits = _hits(word, window, [low, high])
    if len(hits) == FOUND:
        return Found(hits, hits[-1].msg_id, looked_at)
    return Found(hits, lowest if looked_at == LOOKED_AT else "", looked_at)


def _hits(word: str, window: str, parameters: list[Any]) -> list[Hit]:
    wanted = re.compile(re.escape(word), re.IGNORECASE)
    with connection.cursor() as cursor:
        holds, more = _condition(word, wanted)
        # The inner limit keeps the condition on the content out of the choice of an index.
        cursor.execute(
            "SELECT c.public_id, w.msg_id, w.seq, w.session, w.send_time, w.content FROM ("  # noqa: S608  # constants
            "SELECT m.conversation_id, m.msg_id, m.seq, m.session, m.send_time, m.content"
            f" FROM {_MESSAGES} m WHERE {window} LIMIT {LOOKED_AT}) w"
            f" JOIN {_CONVERSATIONS} c ON c.id = w.conversation_id"
            f" WHERE {holds} ORDER BY w.msg_id DESC LIMIT {FOUND}",
            [*parameters, *more],
        )
        return [_hit(wanted, *row) for row in cursor.fetchall()]


def _condition(word: str, wanted: re.Pattern[str]) -> tuple[str, list[str]]:
    """SQL that says whether ``w.content`` holds the word, and its parameters."""
    if connection.vendor == "sqlite":
        # Its LIKE tells upper from lower case outside of ASCII.
        raw: Any = connection.connection
        raw.create_function("desk_holds", 1, lambda content: wanted.search(content) is not None)
        return "desk_holds(w.content)", []
    pattern = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return "w.content ILIKE %s ESCAPE '\\'", [f"%{pattern}%"]


def _hit(
    wanted: re.Pattern[str], public_id: Any, msg_id: str, seq: int, session: str, send_time: int, content: str
) -> Hit:
    # The database's own idea of upper and lower case may differ: then the beginning is shown, and nothing marked.
    match = wanted.search(content)
    at, end = match.span() if match else (0, 0)
    start = max(0, at - AROUND)
    before = ("…" if start else "") + content[start:at]
    after = content[end : end + AROUND] + ("…" if len(content) > end + AROUND else "")
    text = str(public_id)
    if "-" not in text:
        # SQLite keeps them as 32 hexadecimal digits.
        text = "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
    return Hit(text, msg_id, seq, session, send_time, before, content[at:end], after)
