"""What requests look like: schemas and examples read off the serializers' strict fields.

Law: a schema accepts what its serializer accepts, and no more, as far as JSON Schema can tell; what it cannot (the
bytes of a content, ``1.0`` that is no integer) stands in a description. Every field has its text and example here.
"""

from typing import Any, NamedTuple

from django.utils.functional import Promise
from rest_framework import serializers
from rest_framework.fields import empty

from conversations.api import A_MSG_ID, AN_ID
from messaging.api import MsgIdField
from quickim.env import Configuration
from quickim.rest import fields

Schema = dict[str, Any]
Body = type[serializers.Serializer[Any]]

MSG_ID_PATTERN = "[2-9A-HJ-NP-Z]{5}-[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{3}"
NO_CONTROL_CHARACTERS = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
NO_NUL = "^[^\\u0000]*$"
_INT32_BITS = 31


class Text(NamedTuple):
    """What a field means, and a value for it."""

    meaning: str
    example: Any


_MEMBERS = ["alice", "bob"]

FIELDS: dict[str, Text] = {
    "before": Text(
        "Tokens that were issued then or earlier are revoked: microseconds since the Unix epoch, by default now.",
        1_767_225_600_000_000,
    ),
    "client_msg_id": Text(
        "Your own id of this send: a repeat by the same session in the same conversation is answered with the first"
        " send's receipt and has no other effect. Without it every send is a new message.",
        "order-4711-shipped",
    ),
    "content": Text("The text of the message, never interpreted; may be empty.", "Hello!"),
    "conversation_id": Text("The conversation's id. One that is no id of ours is answered like an unknown one.", AN_ID),
    "conversation_ids": Text("The ids of the conversations; doubles count once.", [AN_ID]),
    "conversation_type": Text("What kind of conversation it is: free for the product, never interpreted.", 1),
    "desc": Text("Orders the answer: false, oldest first; true, newest first.", False),
    "end_msg_id": Text("The last MsgId of the range, included; an empty one leaves this end open.", ""),
    "is_archive": Text("true archives, false takes that back.", True),
    "is_delete": Text("true deletes, false restores.", True),
    "msg_id": Text("The position to look from: any well-formed MsgId, it need not exist.", A_MSG_ID),
    "platform": Text("Where the user sits (web, phone, …): free for the product, never interpreted.", 1),
    "session": Text("The user of the product, by the product's own name for him.", "alice"),
    "sessions": Text("Users of the product, by the product's own names for them; doubles count once.", _MEMBERS),
    "start_msg_id": Text("The first MsgId of the range, included; an empty one leaves this end open.", A_MSG_ID),
    "status": Text("Free for the product, never interpreted.", 0),
    "type": Text("What kind of message it is: free for the product, never interpreted.", 0),
}
"""By field name, for all requests."""

SPECIAL: dict[tuple[str, str], Text] = {
    ("MessageFromBackEnd", "session"): Text(
        "The member who sends. Without it the system does: `FromSession` is then the empty string.", "alice"
    ),
    ("TokensToRevoke", "session"): Text("Whose tokens; without it everybody's, and `before` is needed.", "alice"),
    ("TokensToRevoke", "platform"): Text("On which platform alone; without it, on all. Needs `session`.", 1),
    ("NewConversation", "sessions"): Text("Who else is a member; the caller always is.", ["bob"]),
}
"""By serializer and field name, where a field means something more special."""


def body_schema(body: Body, configuration: Configuration) -> Schema:
    """The schema of the requests that ``body`` checks, in the order of its declaration."""
    declared = body().fields
    schema: Schema = {
        "type": "object",
        "description": (body.__doc__ or "").strip(),
        "properties": {
            name: field_schema(field, configuration) | {"description": _meaning(body, name, field, configuration)}
            for name, field in declared.items()
        },
    }
    if required := [name for name, field in declared.items() if is_required(field)]:
        schema["required"] = required
    return schema


def body_example(body: Body) -> dict[str, Any]:
    """A request with all its fields that passes ``body``."""
    return {name: _text(body, name).example for name in map(str, body().fields)}


def is_required(field: serializers.Field[Any, Any, Any, Any]) -> bool:
    """Whether a request without ``field`` is refused."""
    return field.required or (isinstance(field, fields.SessionsField) and field.at_least_one)


def field_schema(field: serializers.Field[Any, Any, Any, Any], configuration: Configuration) -> Schema:
    """The schema of one field's values. Raises TypeError for a kind of field that is not described here."""
    schema = _kind_schema(field, configuration)
    default = field.default
    # None, or an empty string as the default of a field that refuses one, only says "absent".
    if (
        default is not empty
        and default is not None
        and not (default == "" and schema.get("minLength"))
        and not is_required(field)
    ):
        schema["default"] = default() if callable(default) else default
    return schema


def _kind_schema(field: serializers.Field[Any, Any, Any, Any], configuration: Configuration) -> Schema:
    match field:
        case MsgIdField():
            pattern = f"^({MSG_ID_PATTERN})?$" if field.may_be_open else f"^{MSG_ID_PATTERN}$"
            return {"type": "string", "pattern": pattern}
        case fields.ContentField():
            return {"type": "string", "maxLength": configuration.max_content_bytes, "pattern": NO_NUL}
        case fields.ClientMsgIdField():
            limit = fields.MAX_CLIENT_MSG_ID_CHARACTERS
            return {"type": "string", "minLength": 1, "maxLength": limit, "pattern": NO_NUL}
        case fields.SessionField():
            return dict(SESSION)
        case fields.SessionsField():
            fewest = {"minItems": 1} if field.at_least_one else {}
            return {"type": "array", "items": dict(SESSION), **fewest, "maxItems": fields.MAX_LIST_ITEMS}
        case fields.IdsField():
            return {"type": "array", "items": {"type": "string"}, "maxItems": fields.MAX_LIST_ITEMS}
        case fields.BooleanField():
            return {"type": "boolean"}
        case fields.IntegerField():
            return integer(field.minimum, field.maximum)
        case fields.StringField():
            return {"type": "string"}
    raise TypeError(f"{type(field).__name__} has no schema in quickim.openapi.requests")


def integer(minimum: int, maximum: int) -> Schema:
    """The schema of integers between these, both included."""
    bits = max(abs(minimum + 1), maximum).bit_length()
    return {
        "type": "integer",
        "format": "int32" if bits <= _INT32_BITS else "int64",
        "minimum": minimum,
        "maximum": maximum,
    }


def count_from(minimum: int) -> Schema:
    """The schema of integers that grow from ``minimum``, as far as 64 bits go."""
    return {"type": "integer", "format": "int64", "minimum": minimum}


SESSION: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": fields.MAX_SESSION_CHARACTERS,
    "pattern": NO_CONTROL_CHARACTERS,
}


def _text(body: Body, name: str) -> Text:
    return SPECIAL.get((body.__name__, name)) or FIELDS[name]


def _meaning(body: Body, name: str, field: serializers.Field[Any, Any, Any, Any], configuration: Configuration) -> str:
    help_text: str | Promise | None = field.help_text
    meaning = str(help_text) if help_text else _text(body, name).meaning
    if isinstance(field, fields.ContentField):
        meaning += f" At most {configuration.max_content_bytes} bytes in UTF-8, without NUL."
    return meaning
