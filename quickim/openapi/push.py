"""The push side in the document: ``GET /notify``, its answers over SSE and poll, and its WebSocket in words.

OpenAPI has no words for frames; what they hold is described in text and by components, and the repository's
``docs/asyncapi.yaml`` describes the push side formally. The examples are made by the code that makes the real ones.
"""

from typing import Any

from conversations.api import AN_ID
from gateway import wire
from gateway.calls import ENDPOINTS as CALLS
from gateway.cursor import MAX_CHARACTERS, Cursor
from gateway.transports.poll_connection import MAX_MESSAGES
from messaging import msgid
from messaging.api import A_MESSAGE
from quickim.env import Configuration
from quickim.errors import (
    InternalError,
    InvalidParameter,
    InvalidToken,
    MethodNotAllowed,
    TooManyRequests,
    Unavailable,
    UnsupportedDriver,
)
from quickim.openapi.answers import (
    a_list,
    an_object,
    conversation_id,
    conversation_type,
    described,
    envelope,
    microseconds,
    msg_id,
    reference,
    success_example,
)
from quickim.openapi.failures import in_table_order
from quickim.openapi.requests import Schema, count_from
from quickim.openapi.responses import Responses
from quickim.rest.strict_json import encode, parse_object

STATE_EVENTS = (
    "conversation.joined",
    "conversation.left",
    "conversation.archived",
    "conversation.unarchived",
    "conversation.deleted",
    "conversation.restored",
)
CURSOR_PATTERN = "^[A-Za-z0-9_=-]*$"

_AT = A_MESSAGE["SendTime"]
_JOINED = wire.conversation_notice(STATE_EVENTS[0], AN_ID, 1, _AT, ["bob"])
_BYE = wire.TOKEN_EXPIRED.notice()
_MESSAGE = wire.Frame(encode(A_MESSAGE), "message", seq=1, msg_id=A_MESSAGE["MsgId"])
_A_CURSOR = Cursor(msgid.tick_of(A_MESSAGE["MsgId"])).encode()

# What a client does about each way to end: the wire contract's table.
ENDINGS: tuple[tuple[str, str], ...] = (
    ("1001, 1012", "the node is restarting: reconnect after RetryAfterMs, resume"),
    ("1009", "frame too large: fix the client"),
    ("1011", "internal error: reconnect, resume"),
    ("1013", "overloaded: back off, resume"),
    ("4002", "token expired: get a new token, reconnect, resume"),
    ("4003", "too slow, its buffer was full: reconnect, resume"),
    ("4006", "too many frames, or attempts to connect: back off for RetryAfterMs, resume"),
    ("4500", "bad request, such as an unknown protoc or a malformed cursor: stop"),
    ("4501", "invalid token: stop"),
    ("4503", "token revoked: stop, unless the app gets a new token"),
    ("4504", "replaced by a newer login, or too many connections of this session: stop"),
)


def _lines(*lines: str) -> str:
    return "\n".join(lines)


def _description(configuration: Configuration) -> str:
    return "\n\n".join(
        (
            "Every message of every conversation of the token's session, its own messages included, from the moment"
            " it joins to the moment it leaves or is kicked. A session may hold several connections at a time, over"
            " any mix of platforms and protocols.",
            "**sse**: `event: message` with `id:` the MsgId and `data:` a `Message`; a notice comes under its own"
            " event name, and a comment at least every 20 s. A browser's EventSource resumes by itself,"
            " with the header Last-Event-ID.",
            f"**poll**: answers as soon as there is something (at most {MAX_MESSAGES} messages or 1 MiB), else after"
            f" {configuration.poll_wait_seconds:g} s with empty lists. Pass each answer's `Cursor` as `since` of the"
            " next poll: nothing falls between two polls and nothing comes twice.",
            "**ws**: a WebSocket handshake on this path (`protoc` may then be absent). The token goes into the header"
            " Authorization, into `?token=`, or, for browsers, into the subprotocols `quickim, bearer.<token>`;"
            " or a ticket goes into `?ticket=`. Each"
            " message is one text frame that holds a bare `Message`, each notice one that holds a `Notice`. A refused"
            " WebSocket is accepted first, told why with a `bye` notice, and closed with a code.",
            "**Calls over ws**: a frame `WebSocketCall` is answered by one `WebSocketAnswer` with the same `id`. The"
            " methods are the public endpoints by name, with the same fields, answers and errors as here, and"
            ' `ping` and `refresh` (`{"token"}`: a new token of the same session and platform keeps the connection'
            " past the old one's expiry).",
            "**Resuming**: `since` is a cursor: a poll's, or the MsgId of any message you have seen, on every"
            " protocol. Everything committed after it comes, in all conversations; around a reconnect a message may"
            " come once more: drop it by its MsgId. Whoever is more than 10,000 messages behind, or behind what is"
            " kept, gets the notice `reset` and goes on from now: fetch history. Without a cursor the stream starts"
            " now.",
            "**Ending**: before the server ends a connection it says why, with the notice `bye`; over ws the close"
            " code follows. 4000 to 4499 mean reconnect and resume, 4500 to 4999 mean stop:",
            _lines(*(f"- `{code}` {meaning}" for code, meaning in ENDINGS)),
        )
    )


def notify_operation(configuration: Configuration) -> dict[str, Any]:
    """The operation of ``GET /notify``."""
    return {
        "operationId": "notify",
        "tags": ["Push"],
        "summary": "Receive messages as they are sent: WebSocket, server-sent events or long-polling.",
        "description": _description(configuration),
        "security": [{"token": []}, {"token_in_query": []}, {"ticket": []}],
        "parameters": _parameters(),
        "responses": _responses(configuration),
    }


def _parameters() -> list[dict[str, Any]]:
    since = {"type": "string", "maxLength": MAX_CHARACTERS, "pattern": CURSOR_PATTERN}
    return [
        {
            "name": "protoc",
            "in": "query",
            "required": True,
            "description": "How to receive; only a WebSocket may leave it out.",
            "schema": {"enum": ["ws", "sse", "poll"]},
            "example": "poll",
        },
        {
            "name": "since",
            "in": "query",
            "description": "A poll's cursor, or the MsgId of any message seen; none, or empty: from now.",
            "schema": since,
            "example": A_MESSAGE["MsgId"],
        },
        {
            "name": "token",
            "in": "query",
            "description": "The token, for clients that cannot set headers.",
            "schema": {"type": "string"},
        },
        {
            "name": "ticket",
            "in": "query",
            "description": "A ticket from `/ticket`, where no header can be set and no token is to stand in an address;"
            " good once, and only without a token.",
            "schema": {"type": "string"},
        },
        {
            "name": "Last-Event-ID",
            "in": "header",
            "description": "As `since`, which it overrides: what an EventSource sends when it reconnects.",
            "schema": since,
            "example": A_MESSAGE["MsgId"],
        },
        {"$ref": "#/components/parameters/RequestId"},
    ]


def _responses(configuration: Configuration) -> dict[str, Any]:
    responses = Responses(configuration)
    responses.add(101, "protoc=ws: the WebSocket is open; see above for its frames.")
    poll = {"Msg": [A_MESSAGE], "Event": [parse_object(_JOINED.body)], "Cursor": _A_CURSOR}
    responses.add(
        200,
        "protoc=poll: what came, and where to go on. protoc=sse: the stream.",
        envelope(reference("Poll")),
        {"poll": success_example(poll), "nothing came": success_example({**poll, "Msg": [], "Event": []})},
    )
    if configuration.legacy:
        responses.add(200, "", reference("Message"), {"poll without cursor": A_MESSAGE})
        responses.add(204, "protoc=poll without a cursor: nothing came.")
    stream = b"".join((wire.SSE_OPENING, _MESSAGE.sse, _JOINED.sse, wire.SSE_KEEP_ALIVE, _BYE.sse)).decode()
    responses.add(
        200,
        "",
        # Neither text nor JSON: there is no schema that a stream could be held against.
        {"description": "Server-sent events, as the WHATWG HTML standard has them."},
        {"stream": stream},
        media_type="text/event-stream",
    )
    possible = {
        InvalidParameter,
        InternalError,
        Unavailable,
        MethodNotAllowed,
        TooManyRequests,
        InvalidToken,
        UnsupportedDriver,
    }
    responses.add_failures(in_table_order(possible), InvalidParameter={"since": "is no cursor"})
    return responses.build()


def push_schemas() -> dict[str, Schema]:
    """The components of the push side."""
    return {
        "Poll": an_object(
            "What came since the cursor.",
            Msg=a_list(reference("Message"), "In MsgId order inside each conversation: that of Seq.", MAX_MESSAGES),
            Event=a_list(reference("Notice"), "Notices; ignore those whose `Event` you do not know."),
            Cursor={
                "type": "string",
                "maxLength": MAX_CHARACTERS,
                "pattern": CURSOR_PATTERN,
                "description": "Opaque: `since` of the next poll, also after a change of protocol.",
            },
        ),
        "Notice": {
            "description": "Tells state and is not stored as a message: it has an `Event` and no MsgId.",
            "oneOf": [reference(name) for name in _NOTICES],
            "examples": [parse_object(frame.body) for frame in (_JOINED, wire.reset_notice(), _BYE)],
        },
        **_NOTICES,
        "WebSocketCall": {
            "type": "object",
            "description": "A call over a WebSocket: a text frame from the client.",
            "required": ["method"],
            "properties": {
                "id": {"description": "Any JSON value, given back with the answer."},
                "method": {"enum": [*CALLS, "ticket", "ping", "refresh"]},
                "params": {"type": "object", "default": {}, "description": "The fields of the endpoint."},
            },
            "examples": [{"id": 1, "method": "send_msg", "params": {"conversation_id": AN_ID, "content": "Hello!"}}],
        },
        "WebSocketAnswer": {
            "type": "object",
            "description": "The answer to a call: the envelope of the endpoint, with the call's `id`.",
            "required": ["id", "code"],
            "properties": {
                "id": {"description": "As in the call."},
                "code": {"type": "integer", "description": "0, or a code of the table."},
                "data": {"description": "On success: what the endpoint answers."},
                "error": {"type": "string", "description": "On failure: its text."},
                "detail": reference("Detail"),
                "RetryAfterMs": described(
                    count_from(0), "Of 10007 and of 10002: milliseconds to wait before the call is repeated."
                ),
            },
        },
    }


_NOTICES: dict[str, Schema] = {
    "ConversationNotice": {
        "type": "object",
        "description": "What became of a conversation of the session.",
        "required": ["Event", "ConversationID", "ConversationType", "SendTime"],
        "properties": {
            "Event": {"enum": list(STATE_EVENTS)},
            "ConversationID": conversation_id(),
            "ConversationType": conversation_type(),
            "SendTime": microseconds("When it happened."),
            "Sessions": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "description": "joined, left: who, at most 100 of them. Always there when it is the session itself.",
            },
            "Count": described(count_from(1), "How many, when they are more than `Sessions` names."),
            "IsArchive": {
                "const": True,
                "description": "joined: the conversation is archived; else absent.",
            },
        },
    },
    "RedactedNotice": an_object(
        "A message's content was taken back.",
        Event={"const": "message.redacted"},
        ConversationID=conversation_id(),
        ConversationType=conversation_type(),
        SendTime=microseconds("When it happened."),
        Target=msg_id("Of the message concerned."),
    ),
    "ResetNotice": an_object(
        "Too far behind: what was missed is not replayed; the stream goes on from now. Fetch history.",
        Event={"const": "reset"},
    ),
    "ByeNotice": an_object(
        "The connection ends after this.",
        Event={"const": "bye"},
        Code={"type": "integer", "description": "The WebSocket close code, on every protocol."},
        Reason={"type": "string", "description": "In words."},
        Reconnect={"type": "boolean", "description": "Whether to come back; false means stop."},
        RetryAfterMs=described(count_from(0), "Milliseconds to wait before that."),
    ),
}
