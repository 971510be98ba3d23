"""The OpenAPI document as its page shows it: references resolved, schemas flattened to rows.

Law: it knows the document and nothing else; what the page says, the document says.
"""

import json
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from quickim.openapi.commands import access, curl_lines, shown
from quickim.openapi.document import Document
from quickim.openapi.markup import to_html, to_inline_html
from quickim.openapi.requests import Schema

Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One field or parameter. ``link``: the component its values are made of."""

    name: str
    place: str
    type: str
    link: str
    required: bool
    limits: str
    meaning: SafeString


@dataclass(frozen=True, slots=True)
class Failure:
    """One error that an operation can answer with."""

    status: int
    code: int
    text: str
    meaning: SafeString


@dataclass(frozen=True, slots=True)
class Example:
    """A named example of an answer."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path."""

    anchor: str
    method: str
    path: str
    summary: SafeString
    text: SafeString
    access: str
    rows: list[Row]
    request: str
    curl: list[str]
    answer: list[Row]
    answer_link: str
    answer_meaning: str
    examples: list[Example]
    failures: list[Failure]


@dataclass(frozen=True, slots=True)
class Group:
    """The operations under one tag."""

    name: str
    anchor: str
    text: SafeString
    operations: list[Operation]


@dataclass(frozen=True, slots=True)
class Object:
    """A component that several answers share."""

    name: str
    text: SafeString
    rows: list[Row]
    choices: list[str]
    example: str


@dataclass(frozen=True, slots=True)
class Outline:
    """The whole page."""

    title: str
    version: str
    summary: str
    text: SafeString
    groups: list[Group]
    objects: list[Object]
    codes: list[Failure]


SHARED_OBJECTS = (
    "Message",
    "Notice",
    "ConversationNotice",
    "RedactedNotice",
    "ResetNotice",
    "ByeNotice",
    "WebSocketCall",
    "WebSocketAnswer",
)
"""Shown once, under Objects; all other components are shown where they are used."""


def build_outline(document: Document) -> Outline:
    """The page of ``document``."""
    reader = _Reader(document)
    info = document["info"]
    return Outline(
        title=info["title"],
        version=info["version"],
        summary=info["summary"],
        text=to_html(info["description"]),
        groups=[reader.group(tag) for tag in document["tags"]],
        objects=[reader.object(name) for name in SHARED_OBJECTS],
        codes=reader.codes(),
    )


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._schemas: dict[str, Schema] = document["components"]["schemas"]

    def group(self, tag: Node) -> Group:
        operations = [
            self.operation(path, method, operation)
            for path, methods in self._document["paths"].items()
            for method, operation in methods.items()
            if operation["tags"] == [tag["name"]]
        ]
        return Group(tag["name"], tag["name"].lower(), to_html(tag["description"]), operations)

    def operation(self, path: str, method: str, operation: Node) -> Operation:
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        fields = [self.parameter(parameter) for parameter in operation["parameters"] if "$ref" not in parameter]
        if body:
            fields += self.rows(body["schema"])
        content = operation["responses"]["200"].get("content", {})
        data = self._data(content.get("application/json", {}).get("schema", {}))
        examples = [
            Example(example["summary"], shown(example["value"]))
            for media in content.values()
            for name, example in media.get("examples", {}).items()
            if name not in self._schemas
        ]
        return Operation(
            anchor=operation["operationId"],
            method=method.upper(),
            path=path,
            summary=to_inline_html(operation["summary"]),
            text=to_html(operation.get("description", "")),
            access=access(operation["security"]),
            rows=fields,
            request=shown(body["example"]) if body else "",
            curl=curl_lines(path, operation, body.get("example")),
            answer=self.rows(data),
            answer_link=self._link(data),
            answer_meaning=data.get("description", ""),
            examples=examples,
            failures=self.failures(operation["responses"]),
        )

    def parameter(self, parameter: Node) -> Row:
        schema = parameter["schema"]
        return Row(
            name=parameter["name"],
            place=parameter["in"],
            type=self._type(schema),
            link="",
            required=parameter.get("required", False),
            limits=_limits(schema),
            meaning=to_inline_html(parameter["description"]),
        )

    def rows(self, schema: Schema, prefix: str = "") -> list[Row]:
        """The fields of an object, those of inner objects below their own; none for anything else."""
        schema = self._resolved(schema)
        rows: list[Row] = []
        for name, field in schema.get("properties", {}).items():
            link = self._link(field)
            rows.append(
                Row(
                    name=prefix + name,
                    place="",
                    type=self._type(field),
                    link=link,
                    required=name in schema.get("required", ()),
                    limits=_limits(field),
                    meaning=to_inline_html(field.get("description") or self._resolved(field).get("description", "")),
                )
            )
            if not link:
                inner = field.get("items", field)
                rows += self.rows(inner, f"{prefix}{name}{'[]' if 'items' in field else ''}.")
        return rows

    def failures(self, responses: Node) -> list[Failure]:
        """Those that have an example among ``responses``, which all have."""
        return [
            self._failure(self._schemas[name])
            for response in responses.values()
            for name in response.get("content", {}).get("application/json", {}).get("examples", {})
            if "x-http-status" in self._schemas.get(name, {})
        ]

    def codes(self) -> list[Failure]:
        """The whole code table."""
        return [self._failure(schema) for schema in self._schemas.values() if "x-http-status" in schema]

    def object(self, name: str) -> Object:
        schema = self._schemas[name]
        examples = schema.get("examples", [])
        return Object(
            name=name,
            text=to_html(schema["description"]),
            rows=self.rows(schema),
            choices=[choice["$ref"].rpartition("/")[2] for choice in schema.get("oneOf", ())],
            example="\n".join(json.dumps(example, ensure_ascii=False) for example in examples),
        )

    def _failure(self, schema: Schema) -> Failure:
        code, text = schema["properties"]["code"]["const"], schema["properties"]["error"]["const"]
        return Failure(schema["x-http-status"], code, text, to_inline_html(schema["description"]))

    def _data(self, schema: Schema) -> Schema:
        """What an envelope holds; a schema without an envelope has none."""
        schema = next(iter(schema.get("anyOf", [schema])))
        data: Schema = schema.get("properties", {}).get("data", {})
        return self._resolved(data)

    def _resolved(self, schema: Schema) -> Schema:
        return self._schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    def _link(self, schema: Schema) -> str:
        """The name of the shared object that ``schema``, or the items of its list, refer to."""
        name: str = schema.get("items", schema).get("$ref", "").rpartition("/")[2]
        return name if name in SHARED_OBJECTS else ""

    def _type(self, schema: Schema) -> str:
        if self._link(schema) and "items" not in schema:
            return self._link(schema)
        schema = self._resolved(schema)
        if "items" in schema:
            return f"list of {self._type(schema['items'])}"
        if "const" in schema or "enum" in schema:
            return "string" if all(isinstance(v, str) for v in _values(schema)) else "constant"
        return str(schema.get("type", "any"))


def _values(schema: Schema) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema["enum"])


def _limits(schema: Schema) -> str:
    """What bounds the values, in words."""
    words = []
    if "const" in schema or "enum" in schema:
        words.append(" | ".join(json.dumps(value) for value in _values(schema)))
    if "maximum" in schema:
        words.append(f"{schema['minimum']} to {schema['maximum']}")
    words += _size(schema.get("minLength"), schema.get("maxLength"), "characters")
    words += _size(schema.get("minItems"), schema.get("maxItems"), "items")
    if "default" in schema:
        words.append(f"default {json.dumps(schema['default'])}")
    return ", ".join(words)


def _size(least: int | None, most: int | None, unit: str) -> list[str]:
    if most is not None:
        return [f"{least} to {most} {unit}" if least else f"at most {most} {unit}"]
    return [f"at least {least} {unit}"] if least else []
