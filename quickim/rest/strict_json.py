"""The one JSON parser of HTTP bodies, calls over WebSocket and /inner, and the one encoder of answers.

Law: what passes here is a JSON object whose strings are valid Unicode without lone surrogates; anything else is
``InvalidParameter``. Numbers keep their JSON kind: 1.0 is no integer, and an integer of any length stays one.
"""

import json
from typing import Any

import msgspec

from quickim.errors import InvalidParameter

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()

encode = _encoder.encode
"""Compact UTF-8 bytes of any tree of dicts, lists, strings, numbers, booleans and None."""


def parse_object(raw: bytes | str) -> dict[str, Any]:
    """The object that ``raw`` holds; an empty body is ``{}``.

    Raises InvalidParameter: not UTF-8, not JSON, nested too deep, a number out of range, or no object at top level.
    """
    if not raw or (len(raw) < 16 and not raw.strip()):
        return {}
    try:
        parsed = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidParameter(_what_is_wrong(raw)) from error
    except RecursionError as error:
        raise InvalidParameter.field("body", "is nested too deep") from error
    if type(parsed) is not dict:
        raise InvalidParameter.field("body", "must be a JSON object")
    return parsed


def salvage(raw: bytes | str, name: str) -> Any:
    """The field ``name`` of an object that ``parse_object`` refused, if that can be told and is sound; else None."""
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    value = parsed.get(name) if type(parsed) is dict else None
    return value if _is_text(value) else None


def _what_is_wrong(raw: bytes | str) -> dict[str, Any]:
    """Names the fields that hold a lone surrogate, which Python's own parser lets through; else just the body."""
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError):
        parsed = None
    guilty = [name for name, value in parsed.items() if not _is_text(value)] if type(parsed) is dict else []
    if guilty and all(_is_text(name) for name in guilty):
        return dict.fromkeys(guilty, "must not contain lone surrogates")
    return {"body": "is not valid JSON in UTF-8"}


def _is_text(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
