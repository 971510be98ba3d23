"""Reading back: every page is one keyset query on the index (conversation, seq), never an offset; a MsgId is first
turned into a Seq (messaging.positions), in the same statement.

Law: membership is checked *after* the page was read, so that whoever is removed meanwhile sees nothing committed later.
"""

from collections.abc import Sequence
from typing import Any, Literal

from conversations.access import find_conversation, is_member
from conversations.models import Conversation
from messaging.models import Message
from messaging.positions import seq_at
from messaging.redaction import redacted_among
from quickim.errors import NotMember
from quickim.rest.callers import Caller

MAX_RANGE = 1_000
NEIGHBOURS = 30
COLUMNS = ("msg_id", "session", "send_time", "status", "type", "content", "seq")

MsgObject = dict[str, Any]
Bound = tuple[str, Literal["<", "<="], str]
"""A lookup on Seq, and the position it is compared with: below or not above a MsgId."""


def msg_object(
    conversation_id: str,
    msg_id: str,
    session: str,
    send_time: int,
    status: int,
    kind: int,
    content: str,
    seq: int,
    *,
    is_redacted: bool = False,
) -> MsgObject:
    """The wire's ``Msg``, the same on every protocol and in history; ``Redacted`` is there only when it is true."""
    message: MsgObject = {
        "MsgId": msg_id,
        "ConversationID": conversation_id,
        "FromSession": session,
        "SendTime": send_time,
        "Status": status,
        "Type": kind,
        "Content": content,
        "Seq": seq,
    }
    if is_redacted:
        message["Redacted"] = True
    return message


def msg_objects(conversation_id: str, rows: Sequence[Sequence[Any]]) -> list[MsgObject]:
    """The ``Msg`` of each of ``rows``, which hold ``COLUMNS``."""
    redacted = redacted_among(row[0] for row in rows if not row[5])
    return [msg_object(conversation_id, *row, is_redacted=row[0] in redacted) for row in rows]


def range_page(
    caller: Caller, conversation_id: str, start: str, end: str, *, newest_first: bool
) -> tuple[list[MsgObject], bool]:
    """Messages from ``start`` to ``end``, both included, ``""`` open; and whether more than the 1,000 given exist.

    The oldest 1,000 of them, or with ``newest_first`` the newest. Raises ConversationNotFound or NotMember.
    """
    bounds: list[Bound] = [("seq__gt", "<", start)] if start else []
    if end:
        bounds.append(("seq__lte", "<=", end))
    messages = _page(caller, conversation_id, bounds, from_end=newest_first, limit=MAX_RANGE + 1)
    return messages[:MAX_RANGE], len(messages) > MAX_RANGE


def before(caller: Caller, conversation_id: str, msg_id: str, *, newest_first: bool) -> list[MsgObject]:
    """The 30 nearest strictly before ``msg_id``. Raises ConversationNotFound or NotMember."""
    return _ordered(_page(caller, conversation_id, [("seq__lte", "<", msg_id)], from_end=True), newest_first, True)


def after(caller: Caller, conversation_id: str, msg_id: str, *, newest_first: bool) -> list[MsgObject]:
    """The 30 nearest strictly after ``msg_id``. Raises ConversationNotFound or NotMember."""
    return _ordered(_page(caller, conversation_id, [("seq__gt", "<=", msg_id)], from_end=False), newest_first, False)


def last(caller: Caller, conversation_id: str, limit: int, *, newest_first: bool) -> list[MsgObject]:
    """The last ``limit`` messages. Raises ConversationNotFound or NotMember."""
    return _ordered(_page(caller, conversation_id, [], from_end=True, limit=limit), newest_first, True)


def _page(
    caller: Caller, conversation_id: str, bounds: Sequence[Bound], *, from_end: bool, limit: int = NEIGHBOURS
) -> list[MsgObject]:
    conversation = find_conversation(conversation_id)
    rows = list(
        Message.objects.filter(
            conversation=conversation,
            **{lookup: seq_at(conversation.pk, operator, msg_id) for lookup, operator, msg_id in bounds},
        )
        .order_by("-seq" if from_end else "seq")
        .values_list(*COLUMNS)[:limit]
    )
    _still_allowed(caller, conversation)
    return msg_objects(conversation_id, rows)


def _still_allowed(caller: Caller, conversation: Conversation) -> None:
    if not caller.is_system and not is_member(conversation, caller.session):
        raise NotMember


def _ordered(messages: list[MsgObject], newest_first: bool, is_newest_first: bool) -> list[MsgObject]:
    return messages if newest_first == is_newest_first else messages[::-1]
