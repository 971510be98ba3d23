"""What comes back: the schema of each endpoint's ``data``, written by hand, and the objects they are made of.

Law: every endpoint has its row in ``DATA``; examples cannot tell whether a list is bounded or a string may be empty.
Answers may gain fields in later versions, so no schema forbids them.
"""

from typing import Any

from conversations.api import A_MSG_ID, AN_ID
from messaging.history import MAX_RANGE, NEIGHBOURS
from quickim.openapi.requests import MSG_ID_PATTERN, Schema, count_from, integer
from quickim.rest.fields import INT32_MAX, INT32_MIN, MAX_CONVERSATION_TYPE

_MSG_ID_MEANING = "16 characters in four groups; their plain string order is time order. Unique over all conversations."


def reference(name: str) -> Schema:
    """A reference to the component ``name``."""
    return {"$ref": f"#/components/schemas/{name}"}


def envelope(data: Schema) -> Schema:
    """The success envelope around ``data``."""
    return {
        "type": "object",
        "required": ["code", "data"],
        "properties": {"code": {"const": 0}, "data": data},
    }


def an_object(meaning: str, **properties: Schema) -> Schema:
    """An object that always has all of ``properties``."""
    return {
        "type": "object",
        "description": meaning,
        "required": list(properties),
        "properties": properties,
    }


def described(schema: Schema, meaning: str) -> Schema:
    """``schema`` with a description, also beside a reference."""
    return {**schema, "description": meaning}


def msg_id(meaning: str = _MSG_ID_MEANING, *, may_be_empty: bool = False) -> Schema:
    """A MsgId; ``may_be_empty``: or the empty string."""
    pattern = f"^({MSG_ID_PATTERN})?$" if may_be_empty else f"^{MSG_ID_PATTERN}$"
    return {"type": "string", "pattern": pattern, "description": meaning, "examples": [A_MSG_ID]}


def conversation_id(meaning: str = "The conversation's id.") -> Schema:
    """A conversation's id."""
    return {"type": "string", "format": "uuid", "description": meaning, "examples": [AN_ID]}


def microseconds(meaning: str) -> Schema:
    """A moment."""
    return described(count_from(0), f"{meaning} Microseconds since the Unix epoch.")


def free_integer(meaning: str) -> Schema:
    """A number that belongs to the product."""
    return described(integer(INT32_MIN, INT32_MAX), meaning)


def a_list(items: Schema, meaning: str, most: int | None = None) -> Schema:
    """A list, always there, perhaps empty; ``most`` items when that is a promise."""
    bounds = {} if most is None else {"maxItems": most}
    return {"type": "array", "items": items, **bounds, "description": meaning}


def conversation_type() -> Schema:
    """A conversation's type."""
    meaning = "As given when it was created. JavaScript's JSON.parse rounds one above 2^53."
    return described(integer(0, MAX_CONVERSATION_TYPE), meaning)


def _messages(most: int, meaning: str) -> Schema:
    return an_object(meaning, Msg=a_list(reference("Message"), "Ordered as `desc` asked.", most))


_SESSION: Schema = {"type": "string", "description": "The user of the product."}
_IDS = a_list({"type": "string"}, "Those of the given ids that name no conversation.")

COMPONENTS: dict[str, Schema] = {
    "Message": an_object(
        "A message, the same on every protocol and in history.",
        MsgId=msg_id(),
        ConversationID=conversation_id(),
        FromSession={"type": "string", "description": "Who sent it; the empty string: the system."},
        SendTime=microseconds("When it was stored; never decreasing inside a conversation."),
        Status=free_integer("As sent."),
        Type=free_integer("As sent."),
        Content={"type": "string", "description": "The text, byte for byte as sent; empty when it was redacted."},
        Seq=described(
            count_from(1),
            "Counts the conversation's messages 1, 2, 3, … without a gap, so that you see whether you missed one.",
        ),
    ),
    "Receipt": an_object(
        "The message is committed in the database.",
        MsgID=msg_id(),
        SendTime=microseconds("When it was stored."),
    ),
    "Membership": an_object(
        "Whether the caller is a member.", Joined={"type": "boolean", "description": "A member now."}
    ),
    "Conversations": an_object(
        "The caller's conversations.",
        Conversations=a_list(
            conversation_id(), "Newest activity first; archived ones are among them, deleted ones not."
        ),
    ),
    "ConversationDetail": an_object(
        "One conversation.",
        ConversationID=conversation_id(),
        ConversationType=conversation_type(),
        LastMsgID=msg_id("Of the last message; empty before the first.", may_be_empty=True),
        LastSendTime=microseconds("Of the last message; 0 before the first."),
        LastSendSession={
            "type": "string",
            "description": "Of the last message; empty before the first, and when the system sent it.",
        },
        IsDelete={"type": "boolean", "description": "Always false here: a deleted one is not found."},
        IsArchive={
            "type": "boolean",
            "description": "History stays readable, sending and public joining have ended.",
        },
    ),
    "ConversationReference": an_object("Which conversation.", ConversationId=conversation_id()),
    "LastMsgId": an_object(
        "Where the conversation stands.",
        MsgId=msg_id("Of the last message; empty before the first.", may_be_empty=True),
    ),
    "MessageRange": an_object(
        "Messages of a range.",
        Msg=a_list(
            reference("Message"),
            "Ordered as `desc` asked: false gives the oldest of the range, true the newest.",
            MAX_RANGE,
        ),
        HasMore={"type": "boolean", "description": "The range holds more than these."},
    ),
    "Messages": _messages(NEIGHBOURS, "Messages of a conversation."),
    "LastMessage": _messages(1, "The last message, or none."),
    "KickResult": an_object(
        "Who is out.",
        ConversationId=conversation_id(),
        Failed=a_list({"type": "string"}, "Those of the given sessions that were no members."),
    ),
    "Members": an_object(
        "The active members.",
        Members=a_list(
            an_object("A member.", SessionId=_SESSION, JoinedAt=microseconds("The latest joining.")),
            "Longest standing first.",
        ),
    ),
    "Ticket": an_object(
        "It opens one connection, within 30 seconds.",
        Ticket={"type": "string", "pattern": "^[A-Za-z0-9_-]{44}$", "description": "For `/notify?ticket=…`."},
    ),
    "Revocation": an_object(
        "From now on refused: the tokens asked for.",
        Before=microseconds("Those that were issued then or earlier."),
    ),
    "Failures": an_object("What could not be done.", Failed=_IDS),
}

DATA: dict[str, Schema] = {
    "send_msg": reference("Receipt"),
    "check_joined_conversation": reference("Membership"),
    "get_joined_conversation": reference("Conversations"),
    "get_conversation_detail": reference("ConversationDetail"),
    "join_conversation": reference("ConversationReference"),
    "create_conversation": reference("ConversationReference"),
    "leave_conversation": reference("ConversationReference"),
    "get_lastone_msgid": reference("LastMsgId"),
    "get_conversation_msg_by_range": reference("MessageRange"),
    "get_conversation_30msg_before_the_id": reference("Messages"),
    "get_conversation_30msg_after_the_id": reference("Messages"),
    "get_conversation_last_30_msg": reference("Messages"),
    "get_conversation_lastone_msg": reference("LastMessage"),
    "inner/get_token": {"type": "string", "description": "The token, a JWT: the string itself."},
    "inner/revoke_token": reference("Revocation"),
    "ticket": reference("Ticket"),
    "inner/create_conversation": reference("ConversationReference"),
    "inner/join_conversation": reference("ConversationReference"),
    "inner/kickout_conversation": reference("KickResult"),
    "inner/send_msg": reference("Receipt"),
    "inner/get_conversation_members": reference("Members"),
    "inner/set_delete_conversations": reference("Failures"),
    "inner/set_archive_conversations": reference("Failures"),
}
"""The schema of ``data`` by endpoint name."""


def success_example(data: Any) -> dict[str, Any]:
    """``data`` in its envelope."""
    return {"code": 0, "data": data}


# Only a redacted message has it.
COMPONENTS["Message"]["properties"]["Redacted"] = {
    "const": True,
    "description": "The content was taken back; else absent.",
}
