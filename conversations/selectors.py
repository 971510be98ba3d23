"""What can be read about who may meet; synchronous, one or two queries each."""

from typing import Any

from django.db.models.functions import Greatest

from conversations.access import access_conversation, find_conversation
from conversations.models import Conversation, Membership
from quickim.errors import ConversationNotFound, NotMember
from quickim.rest.callers import Caller


def is_joined(caller: Caller, conversation_id: str) -> bool:
    """Whether the caller is an active member; false for an unknown conversation."""
    try:
        access_conversation(caller, conversation_id)
    except (ConversationNotFound, NotMember):
        return False
    return True


def joined_conversations(session: str) -> list[str]:
    """The ids of all conversations of ``session``, newest activity (message, else creation) first."""
    return [
        str(public_id)
        for public_id in Conversation.objects.filter(
            memberships__session=session, memberships__state=Membership.State.ACTIVE, is_deleted=False
        )
        .order_by(Greatest("last_send_time", "created_at").desc(), "-id")
        .values_list("public_id", flat=True)
    ]


def conversation_detail(caller: Caller, conversation_id: str) -> dict[str, Any]:
    """The wire's description of one conversation. Raises ConversationNotFound or NotMember."""
    conversation = access_conversation(caller, conversation_id)
    return {
        "ConversationID": str(conversation.public_id),
        "ConversationType": conversation.type,
        "LastMsgID": conversation.last_msg_id,
        "LastSendTime": conversation.last_send_time,
        "LastSendSession": conversation.last_send_session,
        "IsDelete": conversation.is_deleted,
        "IsArchive": conversation.is_archived,
    }


def last_msg_id(caller: Caller, conversation_id: str) -> str:
    """The MsgId of the last message, ``""`` before the first. Raises ConversationNotFound or NotMember."""
    return str(access_conversation(caller, conversation_id).last_msg_id)


def members(conversation_id: str) -> list[dict[str, Any]]:
    """The active members, longest standing first. Raises ConversationNotFound."""
    rows = Membership.objects.filter(
        conversation=find_conversation(conversation_id), state=Membership.State.ACTIVE
    ).order_by("joined_at", "id")
    return [
        {"SessionId": session, "JoinedAt": joined_at} for session, joined_at in rows.values_list("session", "joined_at")
    ]
