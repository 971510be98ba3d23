"""The one door to a conversation's row on somebody's behalf.

Law: whoever is not let in here reads and writes nothing of a conversation, and learns of a deleted one no more than
of one that never was.
"""

import re
import uuid

from conversations.models import Conversation, Membership
from quickim.database import locked
from quickim.errors import ConversationNotFound, NotMember
from quickim.rest.callers import Caller

CONVERSATION_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
"""The one form of a conversation's id."""


def parse_conversation_id(text: str) -> uuid.UUID:
    """The id that ``text`` spells in our one form. Raises ConversationNotFound."""
    if CONVERSATION_ID.fullmatch(text) is None:
        raise ConversationNotFound
    return uuid.UUID(text)


def access_conversation(caller: Caller, conversation_id: str, *, lock: bool = False) -> Conversation:
    """The conversation, if ``caller`` may act in it now: an active member, or the system.

    With ``lock`` (inside a transaction) its row stays locked until the end, and membership is read after that.
    Raises ConversationNotFound (unknown or deleted) or NotMember.
    """
    conversation = find_conversation(conversation_id, lock=lock)
    if not caller.is_system and not is_member(conversation, caller.session):
        raise NotMember
    return conversation


def find_conversation(conversation_id: str, *, lock: bool = False) -> Conversation:
    """The conversation, whoever asks. Raises ConversationNotFound (unknown or deleted)."""
    rows = Conversation.objects.filter(public_id=parse_conversation_id(conversation_id))
    conversation = (locked(rows) if lock else rows).first()
    if conversation is None or conversation.is_deleted:
        raise ConversationNotFound
    return conversation


def is_member(conversation: Conversation, session: str) -> bool:
    """Whether ``session`` is an active member."""
    return Membership.objects.filter(conversation=conversation, session=session, state=Membership.State.ACTIVE).exists()
