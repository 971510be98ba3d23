"""The endpoints about what is said: sending and history. They translate and nothing else."""

from typing import Any, ClassVar

from django.conf import settings
from rest_framework import serializers

from conversations.api import A_MSG_ID, AN_ID, OneConversation
from messaging import history, msgid
from messaging.ledger import ledger
from messaging.measures import count_refusal
from messaging.message import NewMessage
from messaging.services import MessageFromBackEnd, MessageToSend
from quickim.database import in_database
from quickim.errors import (
    ClientMsgIdReused,
    ConversationArchived,
    ConversationNotFound,
    NotMember,
    TooManyRequests,
    Unavailable,
)
from quickim.rest.callers import Caller
from quickim.rest.endpoint import Endpoint, InnerEndpoint
from quickim.rest.fields import BooleanField, StringField
from quickim.rest.rates import Buckets

Params = dict[str, Any]

A_MESSAGE = history.msg_object(AN_ID, A_MSG_ID, "alice", 1_767_225_600_000_000, 0, 0, "Hello!", 1)
A_RECEIPT = {"MsgID": A_MSG_ID, "SendTime": 1_767_225_600_000_000}

_sends = Buckets("sends")


class MsgIdField(StringField):
    """A well-formed MsgId: a position, it need not exist. ``may_be_open``: the empty string is an open end."""

    def __init__(self, *, may_be_open: bool = False, **options: Any) -> None:
        if may_be_open:
            options = {"required": False, "default": "", **options}
        super().__init__(**options)
        self.may_be_open = may_be_open

    def to_internal_value(self, data: str) -> str:
        """``data`` when it is a position."""
        if not (msgid.is_well_formed(data) or (self.may_be_open and not data)):
            raise serializers.ValidationError("must be a MsgId such as EDCZL-SY32-243Y-VWQ")
        return data


class Range(OneConversation):
    """Two ends, both included."""

    start_msg_id = MsgIdField(may_be_open=True)
    end_msg_id = MsgIdField(may_be_open=True)
    desc = BooleanField(required=False, default=False)


class Beside(OneConversation):
    """A position to look from."""

    msg_id = MsgIdField()
    desc = BooleanField(required=False, default=False)


class Ordered(OneConversation):
    """A conversation and the order of the answer."""

    desc = BooleanField(required=False, default=False)


async def _send(params: Params, session: str) -> dict[str, Any]:
    receipt = await ledger().send(
        NewMessage(
            conversation_id=params["conversation_id"],
            session=session,
            type=params["type"],
            status=params["status"],
            content=params["content"],
            client_msg_id=params["client_msg_id"],
        )
    )
    return {"MsgID": receipt.msg_id, "SendTime": receipt.send_time}


class _Sending(Endpoint):
    """Counts what is refused before the ledger hears of it."""

    def check(self, raw_params: dict[str, Any]) -> Params:
        """See Endpoint."""
        try:
            return super().check(raw_params)
        except Exception as error:
            count_refusal(error)
            raise


class SendMsg(_Sending):
    """Send a message; answered once it is committed. A repeat with the same client_msg_id has one effect."""

    name, body = "send_msg", MessageToSend
    errors = (
        ConversationNotFound,
        NotMember,
        ConversationArchived,
        ClientMsgIdReused,
        TooManyRequests,
        Unavailable,
    )
    answer_example: ClassVar[Any] = A_RECEIPT
    counts_as_call: ClassVar[bool] = False

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"MsgID", "SendTime"}``."""
        try:
            _sends.spend(caller.session, settings.QUICKIM.send_rate)
        except TooManyRequests as error:
            count_refusal(error)
            raise
        return await _send(params, caller.session)


class InnerSendMsg(_Sending, InnerEndpoint):
    """Send as a member, or as the system (also into an archived conversation)."""

    name, body = "inner/send_msg", MessageFromBackEnd
    errors = (ConversationNotFound, NotMember, ConversationArchived, ClientMsgIdReused, Unavailable)
    answer_example: ClassVar[Any] = A_RECEIPT

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"MsgID", "SendTime"}``."""
        return await _send(params, params["session"])


class GetConversationMsgByRange(Endpoint):
    """Messages between two MsgIds, at most 1,000 of them."""

    name, body = "get_conversation_msg_by_range", Range
    errors = (ConversationNotFound, NotMember)
    answer_example: ClassVar[Any] = {"Msg": [A_MESSAGE], "HasMore": False}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"Msg": […], "HasMore": bool}``."""
        messages, has_more = await in_database(
            history.range_page,
            caller,
            params["conversation_id"],
            params["start_msg_id"],
            params["end_msg_id"],
            newest_first=params["desc"],
        )
        return {"Msg": messages, "HasMore": has_more}


class GetConversation30MsgBeforeTheId(Endpoint):
    """The 30 messages nearest before a MsgId."""

    name, body = "get_conversation_30msg_before_the_id", Beside
    errors = (ConversationNotFound, NotMember)
    answer_example: ClassVar[Any] = {"Msg": [A_MESSAGE]}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"Msg": […]}``."""
        return {
            "Msg": await in_database(
                history.before,
                caller,
                params["conversation_id"],
                params["msg_id"],
                newest_first=params["desc"],
            )
        }


class GetConversation30MsgAfterTheId(Endpoint):
    """The 30 messages nearest after a MsgId."""

    name, body = "get_conversation_30msg_after_the_id", Beside
    errors = (ConversationNotFound, NotMember)
    answer_example: ClassVar[Any] = {"Msg": [A_MESSAGE]}

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"Msg": […]}``."""
        return {
            "Msg": await in_database(
                history.after,
                caller,
                params["conversation_id"],
                params["msg_id"],
                newest_first=params["desc"],
            )
        }


class GetConversationLast30Msg(Endpoint):
    """The last 30 messages."""

    name, body = "get_conversation_last_30_msg", Ordered
    errors = (ConversationNotFound, NotMember)
    answer_example: ClassVar[Any] = {"Msg": [A_MESSAGE]}
    limit: ClassVar[int] = history.NEIGHBOURS

    async def call(self, caller: Caller, params: Params) -> Any:
        """``{"Msg": […]}``."""
        return {
            "Msg": await in_database(
                history.last, caller, params["conversation_id"], self.limit, newest_first=params["desc"]
            )
        }


class GetConversationLastoneMsg(GetConversationLast30Msg):
    """The last message, or none."""

    name = "get_conversation_lastone_msg"
    limit: ClassVar[int] = 1


PUBLIC: tuple[type[Endpoint], ...] = (
    SendMsg,
    GetConversationMsgByRange,
    GetConversation30MsgBeforeTheId,
    GetConversation30MsgAfterTheId,
    GetConversationLast30Msg,
    GetConversationLastoneMsg,
)
INNER: tuple[type[InnerEndpoint], ...] = (InnerSendMsg,)
