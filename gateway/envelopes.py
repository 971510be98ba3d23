"""Committed facts as they travel between nodes through the layer: packed here, and unpacked on the other side."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from conversations.announcements import ConversationChanged
from gateway.layer import Layer, key_of
from gateway.revocation import Revocation, TokensRevoked
from gateway.traces import traceparents
from messaging.message import Committed, MessagesCommitted, MessagesRedacted, RedactedMessage, StoredMessage
from quickim.observability import tracing

MESSAGES = "messages"
CHANGE = "change"
REDACTED = "redacted"
REVOKED = "revoked"

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
            traces = traceparents(part) if tracing.spans() is not None else ()
            layer.publish_batch(MESSAGES, ((item.message.number, _packed(item)) for item in part), traces)
    elif isinstance(fact, ConversationChanged):
        layer.publish(CHANGE, fact.number, _packed_change(fact))
    elif isinstance(fact, MessagesRedacted):
        layer.publish(REDACTED, fact.number, _packed_redactions(fact))
    elif isinstance(fact, TokensRevoked):
        for one in fact.revocations:
            layer.publish(REVOKED, key_of(one.session), [[one.session, one.platform, one.before, one.at]])


def unpack_messages(payload: Iterable[Sequence[Any]]) -> list[Committed]:
    """The messages of a ``MESSAGES`` envelope."""
    return [Committed(StoredMessage(*row[:-1]), row[-1]) for row in payload]


def unpack_change(payload: dict[str, Any]) -> tuple[ConversationChanged, bool]:
    """The fact of a ``CHANGE`` envelope, and whether its sessions were too many to be named."""
    fields = dict(payload)
    is_nameless = bool(fields.pop("is_nameless"))
    return ConversationChanged(**{**fields, "sessions": tuple(fields["sessions"])}), is_nameless


def unpack_redactions(payload: Sequence[Any]) -> MessagesRedacted:
    """The fact of a ``REDACTED`` envelope."""
    number, conversation_id, conversation_type, version, at, messages = payload
    redacted = tuple(RedactedMessage(*message) for message in messages)
    return MessagesRedacted(number, conversation_id, conversation_type, version, at, redacted)


def unpack_revocations(payload: Iterable[Sequence[Any]]) -> list[Revocation]:
    """Those of a ``REVOKED`` envelope."""
    return [Revocation(*row) for row in payload]


def _packed_redactions(fact: MessagesRedacted) -> list[Any]:
    messages = [[message.redaction, message.msg_id, message.seq] for message in fact.messages]
    return [fact.number, fact.conversation_id, fact.conversation_type, fact.version, fact.at, messages]


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
