"""Strict request fields: each takes exactly one JSON type and says what is wrong without repeating the value.

They are Django REST framework fields, so that serializers, OpenAPI and error detail come from one declaration, but
none of them coerces: ``"1"`` is no integer, ``1`` is no string and ``true`` is no number.
"""

import re
from typing import Any

from django.conf import settings
from rest_framework import serializers
from rest_framework.fields import empty

from quickim.errors import ConversationTypeOutOfRange, NoSessions, QuickimError

MAX_SESSION_CHARACTERS = 128
MAX_CLIENT_MSG_ID_CHARACTERS = 64
MAX_LIST_ITEMS = 10_000
MAX_PLATFORM = 32_767
MAX_CONVERSATION_TYPE = 2**63 - 1
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1

SESSION_PATTERN = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,128}")


class StrictField(serializers.Field[Any, Any, Any, Any]):
    """A field that takes ``json_type`` only; ``null`` counts as a wrong type."""

    json_type: type = str
    json_name = "a string"

    def run_validation(self, data: Any = empty) -> Any:
        """The value, or the default when the field is absent. Raises ValidationError, or a code of its own."""
        if data is empty:
            if self.required:
                raise serializers.ValidationError("is required")
            return self.default() if callable(self.default) else self.default
        if type(data) is not self.json_type:
            raise serializers.ValidationError(f"must be {self.json_name}")
        return self.to_internal_value(data)

    def to_internal_value(self, data: Any) -> Any:
        """``data``, already of the right JSON type, checked further."""
        return data

    def to_representation(self, value: Any) -> Any:
        """Requests only: nothing is ever rendered through these fields."""
        return value


class StringField(StrictField):
    """Any string."""


class BooleanField(StrictField):
    """true or false."""

    json_type, json_name = bool, "true or false"


class IntegerField(StrictField):
    """An integer from ``minimum`` to ``maximum``, both included; outside it ``out_of_range`` is raised."""

    json_type, json_name = int, "an integer"

    def __init__(
        self,
        minimum: int = INT32_MIN,
        maximum: int = INT32_MAX,
        out_of_range: type[QuickimError] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.minimum, self.maximum, self.out_of_range = minimum, maximum, out_of_range

    def to_internal_value(self, data: int) -> int:
        """``data`` when in range."""
        if self.minimum <= data <= self.maximum:
            return data
        if self.out_of_range:
            raise self.out_of_range({self.field_name or "": f"must be {self.minimum} to {self.maximum}"})
        raise serializers.ValidationError(f"must be {self.minimum} to {self.maximum}")


class ConversationTypeField(IntegerField):
    """0 to 2^63-1; outside it the contract has a code of its own (90010)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(0, MAX_CONVERSATION_TYPE, ConversationTypeOutOfRange, **options)


class PlatformField(IntegerField):
    """0 to 32767, meaning left to the product."""

    def __init__(self, **options: Any) -> None:
        super().__init__(0, MAX_PLATFORM, **options)


class SessionField(StrictField):
    """One user of the product: 1 to 128 characters, no control characters."""

    def to_internal_value(self, data: str) -> str:
        """``data`` when it names a session."""
        if SESSION_PATTERN.fullmatch(data) is None:
            raise serializers.ValidationError("must be 1 to 128 characters without control characters")
        return data


class SessionsField(StrictField):
    """A list of sessions, at most 10,000, doubles dropped; with ``at_least_one`` an empty or absent one is 90011."""

    json_type, json_name = list, "a list of strings"

    def __init__(self, *, at_least_one: bool = False, **options: Any) -> None:
        super().__init__(required=False, default=list, **options)
        self.at_least_one = at_least_one

    def run_validation(self, data: Any = empty) -> list[str]:
        """The sessions in their order, without doubles."""
        sessions: list[str] = super().run_validation(data)
        if self.at_least_one and not sessions:
            raise NoSessions({self.field_name or "": "must name at least one session"})
        return sessions

    def to_internal_value(self, data: list[Any]) -> list[str]:
        """One pass without a field per item: lists are long."""
        if len(data) > MAX_LIST_ITEMS:
            raise serializers.ValidationError(f"must have at most {MAX_LIST_ITEMS} items")
        for session in data:
            if type(session) is not str or SESSION_PATTERN.fullmatch(session) is None:
                raise serializers.ValidationError("must hold strings of 1 to 128 characters without control characters")
        return list(dict.fromkeys(data))


class IdsField(StrictField):
    """A list of conversation ids, at most 10,000, doubles dropped."""

    json_type, json_name = list, "a list of strings"

    def to_internal_value(self, data: list[Any]) -> list[str]:
        """The ids in their order; whether they exist is the domain's question."""
        if len(data) > MAX_LIST_ITEMS:
            raise serializers.ValidationError(f"must have at most {MAX_LIST_ITEMS} items")
        if any(type(item) is not str for item in data):
            raise serializers.ValidationError("must hold strings")
        return list(dict.fromkeys(data))


class ContentField(StrictField):
    """A message's content: any text without NUL, up to ``QUICKIM_MAX_CONTENT_BYTES`` in UTF-8; may be empty."""

    def to_internal_value(self, data: str) -> str:
        """``data`` when it fits."""
        limit = settings.QUICKIM.max_content_bytes
        # A character takes at most four bytes: most contents need no encoding to be known to fit.
        if len(data) * 4 > limit and len(data.encode()) > limit:
            raise serializers.ValidationError(f"must be at most {limit} bytes in UTF-8")
        if "\0" in data:
            raise serializers.ValidationError("must not contain NUL")
        return data


class ClientMsgIdField(StrictField):
    """The caller's own id of a send: 1 to 64 characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, default="", **options)

    def to_internal_value(self, data: str) -> str:
        """``data`` when it is 1 to 64 characters without NUL."""
        if not 1 <= len(data) <= MAX_CLIENT_MSG_ID_CHARACTERS or "\0" in data:
            raise serializers.ValidationError("must be 1 to 64 characters without NUL")
        return data
