"""Sending from a product's own Django code.

``post_message`` belongs inside the product's transaction: the message exists if, and only if, that commits. It takes no
lock and gives no Seq there, since a lock held for the rest of a foreign transaction would stall everybody else.
"""

import uuid
from functools import partial
from typing import Any

from django.db import transaction
from rest_framework import serializers

from conversations.access import access_conversation
from conversations.models import Conversation
from messaging.ledger import ledger
from messaging.message import NewMessage
from messaging.models import Draft
from quickim.bundles import bundle
from quickim.database import database_clock
from quickim.errors import ConversationArchived, Unavailable
from quickim.observability import tracing
from quickim.rest.answers import known_error
from quickim.rest.callers import Caller
from quickim.rest.fields import ClientMsgIdField, ContentField, IntegerField, SessionField, StringField

DRAFTS_PER_SWEEP = 500
_SWEEP_AFTER_SECONDS = 2


class MessageToSend(serializers.Serializer[Any]):
    """What a caller sends."""

    conversation_id = StringField()
    type = IntegerField(required=False, default=0)
    status = IntegerField(required=False, default=0)
    content = ContentField()
    client_msg_id = ClientMsgIdField()


class MessageFromBackEnd(MessageToSend):
    """What the product's back end sends: as ``session``, or as the system without it."""

    session = SessionField(required=False, default="")


def post_message(
    conversation_id: str,
    content: str,
    *,
    session: str = "",
    type: int = 0,  # the wire's word
    status: int = 0,
    client_msg_id: str = "",
) -> int:
    """Post ``content`` as ``session`` (a member), or as the system; returns the draft's id.

    It becomes a message right after the surrounding transaction commits, at the latest with the next sweep of any node.
    Raises what a send raises: InvalidParameter, ConversationNotFound, NotMember, ConversationArchived.
    """
    # In a process that serves nobody, the first one begins to trace.
    tracing.start()
    fields: dict[str, Any] = {
        "conversation_id": conversation_id,
        "content": content,
        "type": type,
        "status": status,
    }
    if session:
        fields["session"] = session
    if client_msg_id:
        fields["client_msg_id"] = client_msg_id
    try:
        checked = MessageFromBackEnd().run_validation(fields)
    except serializers.ValidationError as error:
        raise known_error(error) from None
    conversation = access_conversation(Caller(session, 0), conversation_id)
    if conversation.is_archived and session:
        raise ConversationArchived
    row = Draft.objects.create(
        conversation=conversation,
        session=session,
        type=checked["type"],
        status=checked["status"],
        content=content,
        client_msg_id=client_msg_id,
        created_at=database_clock(),
    )
    transaction.on_commit(partial(_append_soon, _as_new_message(row, conversation_id)))
    return row.pk


_LEFT_BEHIND = (
    "SELECT c.public_id, d.session, d.type, d.status, d.content, d.client_msg_id, d.id"  # noqa: S608
    f" FROM {Draft._meta.db_table} d JOIN {Conversation._meta.db_table} c ON c.id = d.conversation_id"
    f" WHERE d.refused_code = 0 AND d.created_at < %s ORDER BY d.id LIMIT {DRAFTS_PER_SWEEP}"
)
"""In the order of NewMessage's fields."""


def sweep_drafts() -> int:
    """Put drafts in line that a process left behind; how many. Run by every node, harmless when several do."""
    before = database_clock() - _SWEEP_AFTER_SECONDS * 1_000_000
    (rows,) = bundle([(_LEFT_BEHIND, (before,))], prepare=False)
    for public_id, *columns in rows:
        # SQLite spells it without hyphens.
        _append_soon(NewMessage(str(uuid.UUID(str(public_id))), *columns))
    return len(rows)


def _append_soon(message: NewMessage) -> None:
    try:
        ledger().post(message)
    except Unavailable:
        # The row is stored: a sweep will bring it.
        return


def _as_new_message(row: Draft, conversation_id: str) -> NewMessage:
    return NewMessage(
        conversation_id=conversation_id,
        session=row.session,
        type=row.type,
        status=row.status,
        content=row.content,
        client_msg_id=row.client_msg_id,
        draft_id=row.pk,
    )
