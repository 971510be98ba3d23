"""What can go wrong: a schema for each row of the code table, and which rows an endpoint can answer with.

Law: an endpoint declares the errors of its own (``Endpoint.errors``); what its kind adds to them stands here, once.
"""

from typing import Any

from quickim.env import Configuration
from quickim.errors import (
    ALL_ERRORS,
    BodyTooLarge,
    ClientMsgIdReused,
    ConversationArchived,
    ConversationNotFound,
    ConversationTypeOutOfRange,
    InternalError,
    InvalidParameter,
    InvalidToken,
    MethodNotAllowed,
    NoSessions,
    NotAllowed,
    NotMember,
    QuickimError,
    RemovedFromConversation,
    TooManyRequests,
    Unavailable,
    UnknownInterface,
    UnsupportedDriver,
)
from quickim.openapi.requests import Schema
from quickim.rest.answers import failure_object
from quickim.rest.endpoint import Endpoint, InnerEndpoint
from quickim.rest.fields import MAX_CONVERSATION_TYPE

Error = type[QuickimError]

MEANINGS: dict[Error, str] = {
    InvalidParameter: (
        "The body is no JSON object, a field or parameter is missing or malformed, or the server is called by a host"
        " name that it is not configured for; `detail` names what is wrong."
    ),
    InternalError: "Our fault; it is logged on the server under the answer's X-Request-Id.",
    Unavailable: (
        "The database is away or overloaded. Nothing was acknowledged: repeat after Retry-After (a send with the"
        " same `client_msg_id`, for its first try may have been stored)."
    ),
    NotAllowed: (
        "The inner guard: the caller's address is not listed, its API key is missing or wrong, or its request is not"
        " signed as this deployment asks for, or was seen before. On public"
        " endpoints: this deployment leaves joining or creating to the back end."
    ),
    UnknownInterface: "No endpoint has this path; paths are exact.",
    MethodNotAllowed: "The path exists, the method does not; the header Allow names what does.",
    BodyTooLarge: "The body is larger than this deployment takes.",
    TooManyRequests: (
        "Sends or calls of this session, or requests of this address, come too fast, or either has too many"
        " connections; see Retry-After."
    ),
    InvalidToken: "The token is missing, malformed, wrongly signed, expired or revoked.",
    ConversationTypeOutOfRange: f"`conversation_type` is not within 0 and {MAX_CONVERSATION_TYPE}.",
    NoSessions: "`sessions` is missing or empty.",
    UnsupportedDriver: "`protoc` is missing or unknown, or `ws` without a WebSocket handshake.",
    ConversationNotFound: "No such conversation, or it is deleted.",
    NotMember: "The session is no member of the conversation now.",
    ConversationArchived: "Sending and public joining have ended; history stays readable.",
    RemovedFromConversation: "Who was kicked out comes back only through `/inner/join_conversation`.",
    ClientMsgIdReused: "This `client_msg_id` was used for a message of other content, type or status.",
}
"""When each error comes, for the reader."""

_ANY_POST: tuple[Error, ...] = (InvalidParameter, InternalError, MethodNotAllowed, BodyTooLarge, TooManyRequests)
WITHOUT_DATABASE = frozenset({"inner/get_token"})
"""Endpoints that answer whether or not the database does."""

_FIXED_DETAIL: dict[Error, dict[str, str]] = {
    ConversationTypeOutOfRange: {"conversation_type": f"must be 0 to {MAX_CONVERSATION_TYPE}"},
    NoSessions: {"sessions": "must name at least one session"},
}


def errors_of(endpoint: type[Endpoint]) -> tuple[Error, ...]:
    """All that ``endpoint`` can answer with, in the order of the code table."""
    possible = {*_ANY_POST, *endpoint.errors}
    possible.add(NotAllowed if issubclass(endpoint, InnerEndpoint) else InvalidToken)
    if endpoint.name not in WITHOUT_DATABASE:
        possible.add(Unavailable)
    return in_table_order(possible)


def in_table_order(errors: set[Error]) -> tuple[Error, ...]:
    """``errors`` as the code table lists them."""
    return tuple(error for error in ALL_ERRORS if error in errors)


def status_of(error: Error, configuration: Configuration) -> int:
    """The HTTP status that ``error`` comes with in this deployment."""
    return 200 if configuration.legacy else error.status


def failure_schemas(configuration: Configuration) -> dict[str, Schema]:
    """The components: ``Detail`` and one envelope for each row, with its status as ``x-http-status``."""
    detail: Schema = {
        "type": "object",
        "description": "What is wrong, by the name of the field; never a value that was sent.",
        "additionalProperties": {"type": "string"},
    }
    return {"Detail": detail} | {
        error.__name__: _failure_schema(error) | {"x-http-status": status_of(error, configuration)}
        for error in ALL_ERRORS
    }


def failure_example(error: Error, detail: dict[str, str] | None = None) -> dict[str, Any]:
    """The envelope as it goes out."""
    return failure_object(error(_FIXED_DETAIL.get(error, detail)))


def _failure_schema(error: Error) -> Schema:
    return {
        "type": "object",
        "description": MEANINGS[error],
        "required": ["code", "error"],
        "properties": {
            "code": {"const": error.code},
            "error": {"const": error.text()},
            "detail": {"$ref": "#/components/schemas/Detail"},
        },
    }
