"""Committed facts as they travel between nodes through the layer: packed here, and unpacked on the other side."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from conversations.announcements import ConversationChanged
from gateway.layer import Layer
from messaging.message import Committed, MessagesCommitted, StoredMessage

MESSAGES = "messages"
CHANGE = "change"

MAX_SESSIONS_TOLD = 1_000
"""More sessions than these are not named to the other nodes; they look into the database instead."""
MAX_CHARACTERS = 500_000
"""Of contents in one publish: Redis cuts subscribers off whose unread answers pass some megabytes."""


def publish_fact(layer: Layer, fact: Any) -> None:
    """Tell the other nodes what was committed here; returns at once."""
    if not layer.is_shared:
        return
    if isinstance(fact, MessagesCommitted):
        for part in _parts(fact.committed):
            layer.publish_batch(MESSAGES, ((item.message.number, _packed(item)) for item in part))
    elif isinstance(fact, ConversationChanged):
        layer.publish(CHANGE, fact.number, _packed_change(fact))


def unpack_messages(payload: Iterable[Sequence[Any]]) -> list[Committed]:
    """The messages of a ``MESSAGES`` envelope."""
    return [Committed(StoredMessage(*row[:-1]), row[-1]) for row in payload]


def unpack_change(payload: dict[str, Any]) -> tuple[ConversationChanged, bool]:
    """The fact of a ``CHANGE`` envelope, and whether its sessions were too many to be named."""
    fields = dict(payload)
    is_nameless = bool(fields.pop("is_nameless"))
    return ConversationChanged(**{**fields, "sessions": tuple(fields["sessions"])}), is_nameless


def _parts(committed: Sequence[Committed]) -> Iterator[Sequence[Committed]]:
    """``committed`` in its order, cut where the contents would become too long for one publish."""
    start, characters = 0, 0
    for position, item in enumerate(committed):
        characters += len(item.message.content)
        if characters > MAX_CHARACTERS and position > start:
            yield committed[start:position]
            start, characters = position, len(item.message.content)
    yield committed[start:]


def _packed(item: Committed) -> list[Any]:
    message = item.message
    return [
        message.number,
        message.conversation_id,
        message.msg_id,
        message.seq,
        message.session,
        message.send_time,
        message.status,
        message.type,
        message.content,
        item.version,
    ]


def _packed_change(fact: ConversationChanged) -> dict[str, Any]:
    is_nameless = len(fact.sessions) > MAX_SESSIONS_TOLD
    return {
        "number": fact.number,
        "conversation_id": fact.conversation_id,
        "conversation_type": fact.conversation_type,
        "event": fact.event,
        "version": fact.version,
        "at": fact.at,
        "member_count": fact.member_count,
        "sessions": [] if is_nameless else list(fact.sessions),
        "is_nameless": is_nameless,
    }
