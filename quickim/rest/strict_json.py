"""The one JSON parser of HTTP bodies, calls over WebSocket and /inner, and the one encoder of answers.

Law: what passes here is a JSON object, nested ``MAX_DEPTH`` deep at most, whose strings are valid Unicode without lone
surrogates; anything else is ``InvalidParameter``. Numbers keep their JSON kind: 1.0 is no integer, and an integer of
any length stays one.
"""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from quickim.errors import InvalidParameter

MAX_DEPTH = 100
"""Objects and lists within each other, the outermost counted: far from where any parser or encoder gives up, in
whatever it is called."""
_TOO_DEEP = f"is nested more than {MAX_DEPTH} deep"
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
        raise InvalidParameter.field("body", _TOO_DEEP) from error
    if type(parsed) is not dict:
        raise InvalidParameter.field("body", "must be a JSON object")
    if _may_be_too_deep(raw) and _is_too_deep(parsed):
        raise InvalidParameter.field("body", _TOO_DEEP)
    return parsed


def salvage(raw: bytes | str, name: str) -> Any:
    """The field ``name`` of an object that ``parse_object`` refused, if that can be told and is sound; else None."""
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    value = parsed.get(name) if type(parsed) is dict else None
    return value if not _is_too_deep(value) and _is_text(value) else None


def _what_is_wrong(raw: bytes | str) -> dict[str, Any]:
    """Names the fields that hold a lone surrogate, which Python's own parser lets through; else just the body."""
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError):
        parsed = None
    if _is_too_deep(parsed):
        return {"body": _TOO_DEEP}
    guilty = [name for name, value in parsed.items() if not _is_text(value)] if type(parsed) is dict else []
    if guilty and all(_is_text(name) for name in guilty):
        return dict.fromkeys(guilty, "must not contain lone surrogates")
    return {"body": "is not valid JSON in UTF-8"}


def _may_be_too_deep(raw: bytes | str) -> bool:
    """Hardly anything has as many brackets."""
    opening = raw.count(b"[") + raw.count(b"{") if isinstance(raw, bytes) else raw.count("[") + raw.count("{")
    return opening > MAX_DEPTH


def _is_too_deep(value: Any) -> bool:
    """Whether ``value`` has more than ``MAX_DEPTH`` levels; all of one level are looked at together."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _parts(outer) if type(inner) in (dict, list)]
        if not level:
            return False
    return True


def _parts(value: Any) -> Iterable[Any]:
    if type(value) is dict:
        return value.values()
    return value if type(value) is list else ()


def _is_text(value: Any) -> bool:
    """Of what is not nested too deep."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
