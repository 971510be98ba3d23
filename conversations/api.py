"""The endpoints about who may meet, public and inner: they translate and nothing else."""

from typing import Any, ClassVar

from django.conf import settings
from rest_framework import serializers

from conversations import selectors, services
from quickim.database import in_database, in_database_locking
from quickim.errors import (
    ConversationArchived,
    ConversationNotFound,
    ConversationTypeOutOfRange,
    NoSessions,
    NotAllowed,
    NotMember,
    RemovedFromConversation,
)
from quickim.rest.callers import Caller
from quickim.rest.endpoint import Endpoint, InnerEndpoint
from quickim.rest.fields import BooleanField, ConversationTypeField, IdsField, SessionsField, StringField

AN_ID = "0d5f1a9e-5a0c-4a58-9d3b-0c7f6f1d3b52"
A_MSG_ID = "EDCZL-SY32-243Y-VWQ"

Params = dict[str, Any]


class OneConversation(serializers.Serializer[Any]):
    """Names a conversation."""

    conversation_id = StringField()


class NewConversation(serializers.Serializer[Any]):
    """A conversation to be."""

    conversation_type = ConversationTypeField()
    sessions = SessionsField()


class NewInnerConversation(serializers.Serializer[Any]):
    """A conversation to be, with at least one member."""

    conversation_type = ConversationTypeField()
    sessions = SessionsField(at_least_one=True)


class SomeMembers(serializers.Serializer[Any]):
    """Sessions of one conversation."""

    conversation_id = StringField()
    sessions = SessionsField(at_least_one=True)


class DeleteSwitch(serializers.Serializer[Any]):
    """Conversations to delete or restore."""

    conversation_ids = IdsField()
    is_delete = BooleanField()


class ArchiveSwitch(serializers.Serializer[Any]):
    """Conversations to archive or unarchive."""

    conversation_ids = IdsField()
    is_archive = BooleanField()


class CheckJoinedConversation(Endpoint):
    """Whether the caller is a member now; false, not an error, for an unknown conversation."""

    name, body = "check_joined_conversation", OneConversation
    answer_example: ClassVar[Any] = {"Joined": True}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"Joined": bool}``."""
        return {"Joined": await in_database(selectors.is_joined, caller, params["conversation_id"])}


class GetJoinedConversation(Endpoint):
    """The caller's conversations, newest activity first."""

    name = "get_joined_conversation"
    answer_example: ClassVar[Any] = {"Conversations": [AN_ID]}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"Conversations": [id, …]}``."""
        return {"Conversations": await in_database(selectors.joined_conversations, caller.session)}


class GetConversationDetail(Endpoint):
    """Type, state and last message of a conversation."""

    name, body = "get_conversation_detail", OneConversation
    errors = (ConversationNotFound, NotMember)
    answer_example: ClassVar[Any] = {
        "ConversationID": AN_ID,
        "ConversationType": 1,
        "LastMsgID": A_MSG_ID,
        "LastSendTime": 1_767_225_600_000_000,
        "LastSendSession": "alice",
        "IsDelete": False,
        "IsArchive": False,
    }

    async def call(self, caller: Caller, params: Params) -> Any:
        """The detail object."""
        return await in_database(selectors.conversation_detail, caller, params["conversation_id"])


class GetLastoneMsgid(Endpoint):
    """The MsgId of the last message, an empty string before the first."""

    name, body = "get_lastone_msgid", OneConversation
    errors = (ConversationNotFound, NotMember)
    answer_example: ClassVar[Any] = {"MsgId": A_MSG_ID}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"MsgId"}``."""
        return {"MsgId": await in_database(selectors.last_msg_id, caller, params["conversation_id"])}


class JoinConversation(Endpoint):
    """Join by oneself, unless joining is left to the back end; joining twice is fine."""

    name, body = "join_conversation", OneConversation
    errors = (NotAllowed, ConversationNotFound, ConversationArchived, RemovedFromConversation)
    answer_example: ClassVar[Any] = {"ConversationId": AN_ID}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"ConversationId"}``."""
        if not settings.QUICKIM.public_join:
            raise NotAllowed
        joined = await in_database_locking(
            services.join_conversation, params["conversation_id"], [caller.session], by_himself=True
        )
        return {"ConversationId": str(joined.public_id)}


class CreateConversation(Endpoint):
    """Create a conversation; the caller is always a member."""

    name, body = "create_conversation", NewConversation
    errors = (NotAllowed, ConversationTypeOutOfRange)
    answer_example: ClassVar[Any] = {"ConversationId": AN_ID}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"ConversationId"}``."""
        allowed = settings.QUICKIM.public_create
        others = [session for session in params["sessions"] if session != caller.session]
        if allowed == "off" or (allowed == "self" and others):
            raise NotAllowed
        created = await in_database(
            services.create_conversation, params["conversation_type"], [caller.session, *others]
        )
        return {"ConversationId": str(created.public_id)}


class LeaveConversation(Endpoint):
    """Leave; leaving twice, or what one never joined, is fine."""

    name, body = "leave_conversation", OneConversation
    errors = (ConversationNotFound,)
    answer_example: ClassVar[Any] = {"ConversationId": AN_ID}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"ConversationId"}``."""
        left = await in_database_locking(services.leave_conversation, params["conversation_id"], caller.session)
        return {"ConversationId": str(left.public_id)}


class InnerCreateConversation(InnerEndpoint):
    """Create a conversation with its first members."""

    name, body = "inner/create_conversation", NewInnerConversation
    errors = (ConversationTypeOutOfRange, NoSessions)
    answer_example: ClassVar[Any] = {"ConversationId": AN_ID}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"ConversationId"}``."""
        created = await in_database(services.create_conversation, params["conversation_type"], params["sessions"])
        return {"ConversationId": str(created.public_id)}


class InnerJoinConversation(InnerEndpoint):
    """Make sessions members, also those who were kicked, also of an archived conversation."""

    name, body = "inner/join_conversation", SomeMembers
    errors = (ConversationNotFound, NoSessions)
    answer_example: ClassVar[Any] = {"ConversationId": AN_ID}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"ConversationId"}``."""
        joined = await in_database_locking(services.join_conversation, params["conversation_id"], params["sessions"])
        return {"ConversationId": str(joined.public_id)}


class InnerKickoutConversation(InnerEndpoint):
    """Remove members; they may come back only through the back end."""

    name, body = "inner/kickout_conversation", SomeMembers
    errors = (ConversationNotFound, NoSessions)
    answer_example: ClassVar[Any] = {"ConversationId": AN_ID, "Failed": ["charlie"]}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"ConversationId", "Failed": [who were no members]}``."""
        conversation, failed = await in_database_locking(
            services.kick_out, params["conversation_id"], params["sessions"]
        )
        return {"ConversationId": str(conversation.public_id), "Failed": failed}


class InnerGetConversationMembers(InnerEndpoint):
    """The active members of a conversation, and since when (microseconds since the Unix epoch)."""

    name, body = "inner/get_conversation_members", OneConversation
    errors = (ConversationNotFound,)
    answer_example: ClassVar[Any] = {"Members": [{"SessionId": "alice", "JoinedAt": 1_767_225_600_000_000}]}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"Members": [{"SessionId", "JoinedAt"}]}``."""
        return {"Members": await in_database(selectors.members, params["conversation_id"])}


class InnerSetDeleteConversations(InnerEndpoint):
    """Delete (for all but support staff as if it did not exist) or restore."""

    name, body = "inner/set_delete_conversations", DeleteSwitch
    answer_example: ClassVar[Any] = {"Failed": []}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"Failed": [ids that do not exist]}``."""
        failed = await in_database_locking(services.set_deleted, params["conversation_ids"], params["is_delete"])
        return {"Failed": failed}


class InnerSetArchiveConversations(InnerEndpoint):
    """Archive (history stays readable, sending and public joining end) or unarchive."""

    name, body = "inner/set_archive_conversations", ArchiveSwitch
    answer_example: ClassVar[Any] = {"Failed": []}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"Failed": [ids that do not exist]}``."""
        failed = await in_database_locking(services.set_archived, params["conversation_ids"], params["is_archive"])
        return {"Failed": failed}


PUBLIC: tuple[type[Endpoint], ...] = (
    CheckJoinedConversation,
    GetJoinedConversation,
    GetConversationDetail,
    JoinConversation,
    CreateConversation,
    LeaveConversation,
    GetLastoneMsgid,
)
INNER: tuple[type[InnerEndpoint], ...] = (
    InnerCreateConversation,
    InnerJoinConversation,
    InnerKickoutConversation,
    InnerGetConversationMembers,
    InnerSetDeleteConversations,
    InnerSetArchiveConversations,
)
