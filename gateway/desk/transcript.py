"""Pages of a transcript, by Seq: both ways from a place, around a MsgId or a moment, or the end.

Laws: a page reads at most ``PAGE`` messages and of each at most ``SHOWN_CHARACTERS``; what is read is text, and stays
that: nothing here makes markup of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Value
from django.db.models.functions import Left, Length

from conversations.models import Conversation
from messaging import msgid
from messaging.models import Message
from messaging.positions import seq_at
from messaging.redaction import redacted_among

PAGE = 50
CONTEXT = 10
"""Messages shown before the one that was jumped to."""
SHOWN_CHARACTERS = 4_000


@dataclass(frozen=True, slots=True)
class Line:
    """One message as the desk shows it; ``hidden``: how many characters of it are left out."""

    msg_id: str
    seq: int
    session: str
    send_time: int
    type: int
    status: int
    content: str
    hidden: int
    is_redacted: bool


@dataclass(frozen=True, slots=True)
class TranscriptPage:
    """Lines, oldest first. ``has_older``, ``has_newer``: kept messages lie before or after them."""

    lines: Sequence[Line]
    has_older: bool
    has_newer: bool
    target: int = 0
    """The Seq that was jumped to; 0 for none."""

    @property
    def first(self) -> int:
        """The lowest Seq shown; 0 without lines."""
        return self.lines[0].seq if self.lines else 0

    @property
    def last(self) -> int:
        """The highest Seq shown; 0 without lines."""
        return self.lines[-1].seq if self.lines else 0


def last_page(conversation: Conversation) -> TranscriptPage:
    """The end."""
    return before(conversation, conversation.last_seq + 1)


def before(conversation: Conversation, seq: int) -> TranscriptPage:
    """The messages just before ``seq``."""
    lines = _lines(conversation, "-seq", seq__lt=seq)[::-1]
    return _page(conversation, lines)


def after(conversation: Conversation, seq: int) -> TranscriptPage:
    """The messages just after ``seq``."""
    return _page(conversation, _lines(conversation, "seq", seq__gt=seq))


def around(conversation: Conversation, seq: int) -> TranscriptPage:
    """The page on which ``seq`` is shown, with a little of what was said before it."""
    target = min(max(seq, conversation.first_seq), conversation.last_seq)
    lines = _lines(conversation, "seq", seq__gt=target - CONTEXT - 1)
    return _page(conversation, lines, target)


def seq_of(conversation: Conversation, msg_id: str) -> int:
    """The Seq at the position ``msg_id`` (well-formed; it need not exist); 0 before the first."""
    return int(Conversation.objects.filter(pk=conversation.pk).values_list(seq_at(conversation.pk, "<=", msg_id))[0][0])


def seq_at_moment(conversation: Conversation, microseconds: int) -> int:
    """The Seq of the first message at or after that moment; one past the last when there is none."""
    return seq_of(conversation, msgid.before_all(msgid.tick_at(microseconds))) + 1


def whole(conversation: Conversation, msg_id: str) -> Line | None:
    """One message with all of its content; None when the conversation keeps no such."""
    return next(iter(_read(Message.objects.filter(pk=msg_id, conversation=conversation), None)), None)


def _page(conversation: Conversation, lines: list[Line], target: int = 0) -> TranscriptPage:
    if not lines:
        return TranscriptPage([], has_older=False, has_newer=False)
    return TranscriptPage(
        lines,
        has_older=lines[0].seq > conversation.first_seq,
        has_newer=lines[-1].seq < conversation.last_seq,
        target=target,
    )


def _lines(conversation: Conversation, order: str, **bounds: int) -> list[Line]:
    rows = Message.objects.filter(conversation=conversation, **bounds).order_by(order)[:PAGE]
    return _read(rows, SHOWN_CHARACTERS)


def _read(rows: Any, characters: int | None) -> list[Line]:
    shown = F("content") if characters is None else Left("content", characters)
    found = list(
        rows.annotate(shown=shown, characters=Length("content") + Value(0)).values_list(
            "msg_id", "seq", "session", "send_time", "type", "status", "shown", "characters"
        )
    )
    redacted = redacted_among(row[0] for row in found if not row[6])
    return [
        Line(msg_id, seq, session, send_time, kind, status, text, length - len(text), msg_id in redacted)
        for msg_id, seq, session, send_time, kind, status, text, length in found
    ]
