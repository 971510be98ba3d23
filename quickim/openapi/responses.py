"""The ``responses`` of an operation: successes and failures, collected by HTTP status and media type.

Law: what stands here is what this deployment sends: with QUICKIM_LEGACY every failure comes with status 200.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from quickim.env import Configuration
from quickim.errors import InvalidToken, MethodNotAllowed, TooManyRequests, Unavailable
from quickim.openapi.answers import envelope, reference, success_example
from quickim.openapi.failures import MEANINGS, Error, failure_example, status_of
from quickim.openapi.requests import Schema

JSON = "application/json"

_FAILURE_HEADERS: tuple[tuple[Error, str], ...] = (
    (InvalidToken, "WWW-Authenticate"),
    (MethodNotAllowed, "Allow"),
    (TooManyRequests, "Retry-After"),
    (Unavailable, "Retry-After"),
)

HEADERS: dict[str, Schema] = {
    "X-Request-Id": {
        "description": "The caller's own id if it sent a well-formed one, else ours: the one to quote to an operator.",
        "required": True,
        "schema": {"type": "string", "pattern": r"^[A-Za-z0-9._-]{1,128}$"},
    },
    "Retry-After": {
        "description": "Seconds to wait before the call is repeated.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"const": "Bearer"}},
    "Allow": {"description": "The methods that this path takes.", "schema": {"type": "string"}},
}
"""The components."""


@dataclass
class _Media:
    schemas: list[Schema] = field(default_factory=list)
    examples: dict[str, Any] = field(default_factory=dict)


@dataclass
class _Response:
    meanings: list[str] = field(default_factory=list)
    headers: set[str] = field(default_factory=lambda: {"X-Request-Id"})
    media: dict[str, _Media] = field(default_factory=dict)


class Responses:
    """Collects; ``build`` gives the object of the document."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._by_status: dict[int, _Response] = {}

    def add(
        self,
        status: int,
        meaning: str,
        schema: Schema | None = None,
        examples: dict[str, Any] | None = None,
        *,
        media_type: str = JSON,
    ) -> None:
        """One kind of answer; ``examples`` by a name that says which case each shows."""
        response = self._by_status.setdefault(status, _Response())
        if meaning:
            response.meanings.append(meaning)
        if schema is None:
            return
        media = response.media.setdefault(media_type, _Media())
        if schema not in media.schemas:
            media.schemas.append(schema)
        for name, value in (examples or {}).items():
            media.examples[name.replace(" ", "_")] = {"summary": name, "value": value}

    def add_success(self, data: Schema, example: Any, meaning: str, name: str = "success") -> None:
        """``data`` in the envelope."""
        self.add(200, meaning, envelope(data), {name: success_example(example)})

    def add_failures(self, errors: Iterable[Error], **details: dict[str, str]) -> None:
        """The envelopes of ``errors``; ``details``, by the error's name, show what its ``detail`` may be here."""
        for error in errors:
            status = status_of(error, self._configuration)
            self.add(
                status,
                f"- `{error.code}` {error.text()}: {MEANINGS[error]}",
                reference(error.__name__),
                {error.__name__: failure_example(error, details.get(error.__name__))},
            )
            for kind, header in _FAILURE_HEADERS:
                if error is kind:
                    self._by_status[status].headers.add(header)

    def build(self) -> dict[str, Any]:
        """By status, ascending."""
        return {str(status): _built(status, self._by_status[status]) for status in sorted(self._by_status)}


def _built(status: int, response: _Response) -> dict[str, Any]:
    built: dict[str, Any] = {"description": "\n".join(response.meanings) or HTTPStatus(status).phrase}
    if status != HTTPStatus.SWITCHING_PROTOCOLS:
        built["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in sorted(response.headers)}
    if response.media:
        built["content"] = {
            media_type: {
                "schema": _any_of(media.schemas),
                "examples": media.examples,
            }
            for media_type, media in response.media.items()
        }
    return built


def _any_of(schemas: list[Schema]) -> Schema:
    # Not oneOf: the two rows with code 10002 look the same where they come with the same status.
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
