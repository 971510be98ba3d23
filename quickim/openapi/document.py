"""The OpenAPI 3.1 document of this deployment: assembled from the endpoints' declarations, once per process.

Made here and not by drf-spectacular: that reads DRF's stock fields, views and status codes, of which this interface
has none (strict fields, an envelope around every answer, an error table of its own, a push endpoint that is no DRF
view). It would need a schema class, a field extension and a response hook for each of these, to say what the
declarations say already.

Law: nothing is described twice. A request's schema is its serializer's, an error's text is its class's, a summary is
the endpoint's docstring, and the limits are those that this deployment runs with.
"""

from typing import Any

import conversations.api
import gateway.api
import messaging.api
from quickim.env import Configuration
from quickim.openapi.answers import COMPONENTS, DATA, reference
from quickim.openapi.failures import errors_of, failure_schemas
from quickim.openapi.push import notify_operation, push_schemas
from quickim.openapi.requests import body_example, body_schema
from quickim.openapi.responses import HEADERS, JSON, Responses
from quickim.openapi.service import service_paths, service_schemas
from quickim.rest.endpoint import Empty, Endpoint, InnerEndpoint

Document = dict[str, Any]
Endpoints = tuple[type[Endpoint], ...]

VERSION = "1.0.0"
"""Of the interface, not of the software."""

GROUPS: tuple[tuple[str, str, Endpoints], ...] = (
    (
        "Messages",
        "Sending, and reading back. Everything needs current membership in the conversation.",
        messaging.api.PUBLIC,
    ),
    ("Conversations", "Who may meet.", conversations.api.PUBLIC),
    ("Push", "Receiving messages as they are sent.", gateway.api.PUBLIC),
    (
        "Inner",
        "For the product's back end, never for its users: guarded by the caller's address (the setting"
        " `QUICKIM_INNER_ALLOW`, loopback only by default) and, where `QUICKIM_INNER_API_KEYS` is set, by an API key"
        " as well, and signed where `QUICKIM_INNER_HMAC_KEYS` is set. They take no token.",
        (*gateway.api.INNER, *conversations.api.INNER, *messaging.api.INNER),
    ),
    ("Service", "Health, and these documents.", ()),
)
"""The tags, their text and the endpoints under them."""


def build_document(configuration: Configuration) -> Document:
    """The whole document, of JSON types only."""
    calls = {
        f"/{endpoint.name}": {"post": _operation(endpoint, tag, configuration)}
        for tag, _, endpoints in GROUPS
        for endpoint in endpoints
    }
    bodies = {
        endpoint.body.__name__: body_schema(endpoint.body, configuration)
        for _, _, endpoints in GROUPS
        for endpoint in endpoints
        if endpoint.body is not Empty
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "quickim",
            "version": VERSION,
            "summary": "Instant messaging as one self-hosted module.",
            "description": _description(configuration),
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This server."}],
        "tags": [{"name": tag, "description": text} for tag, text, _ in GROUPS],
        "paths": {
            **calls,
            "/notify": {"get": notify_operation(configuration)},
            **service_paths(configuration),
        },
        "components": {
            "schemas": {
                **COMPONENTS,
                **push_schemas(),
                **service_schemas(),
                **bodies,
                **failure_schemas(configuration),
            },
            "parameters": {"RequestId": _REQUEST_ID},
            "headers": HEADERS,
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def _operation(endpoint: type[Endpoint], tag: str, configuration: Configuration) -> dict[str, Any]:
    summary, _, more = (endpoint.__doc__ or "").strip().partition("\n\n")
    responses = Responses(configuration)
    responses.add_success(DATA[endpoint.name], endpoint.answer_example, "Done.")
    operation: dict[str, Any] = {
        "operationId": endpoint.name.replace("/", "_"),
        "tags": [tag],
        "summary": summary,
        "security": _INNER if issubclass(endpoint, InnerEndpoint) else [{"token": []}],
        "parameters": [{"$ref": "#/components/parameters/RequestId"}],
    }
    if more:
        operation["description"] = more.strip()
    wrong = {"body": "must be a JSON object"}
    if endpoint.body is not Empty:
        schema = reference(endpoint.body.__name__)
        example = body_example(endpoint.body)
        operation["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": schema, "example": example}},
        }
        wrong = {next(iter(example)): "is required"}
    responses.add_failures(errors_of(endpoint), InvalidParameter=wrong)
    operation["responses"] = responses.build()
    return operation


def _description(configuration: Configuration) -> str:
    failures = "the same code, and the HTTP status that belongs to it"
    if configuration.legacy:
        failures = "the same code; this server runs with `QUICKIM_LEGACY=1`, so the HTTP status is 200 on failures too"
    return "\n\n".join(
        (
            "JSON in, JSON out, in UTF-8. A request body is parsed as JSON whatever its Content-Type; an empty one"
            ' is `{}`; unknown fields are ignored. No value is converted: `"1"` and `1.0` are no integers, and'
            " `null` is no value of any field.",
            'Every answer has the envelope `{"code": 0, "data": …}` on success and `{"code": N, "error": "text"}` on'
            " failure, where `detail` may name the offending fields. Whatever fails (a malformed body, an unknown"
            f" path, a wrong method, a crash) has {failures}.",
            "Public endpoints take a token: `Authorization: Bearer <token>`. Your back end fetches one for each user"
            " from `/inner/get_token` and hands it to the user's app.",
            "A session is one user of your product, by your own name for him. Conversation, message and status"
            " types and platforms are numbers of your own that are never interpreted. Times are microseconds since"
            " the Unix epoch. Every answer carries X-Request-Id.",
            f"A request may have at most {configuration.max_body_bytes} bytes. "
            + (
                f"A session may send {configuration.send_rate.per_second:g} messages a second, and"
                f" {configuration.send_rate.burst} at once after a pause."
                if configuration.send_rate
                else "Sending is not throttled."
            ),
        )
    )


_INNER: list[dict[str, list[str]]] = [{}, {"inner_key": []}, {"inner_key_bearer": []}]

_REQUEST_ID: dict[str, Any] = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "Your own id of this request, given back with the answer and written to the server's log: 1 to 128"
    " of the characters `A-Z a-z 0-9 . _ -`. Any other is passed over.",
    "schema": {"type": "string"},
}

_SECURITY_SCHEMES: dict[str, Any] = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The token of one session on one platform, from `/inner/get_token`.",
    },
    "token_in_query": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "On `/notify` only: the token, for clients that cannot set headers.",
    },
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "On `/notify` only: a ticket from `/ticket`, which opens one connection.",
    },
    "inner_key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Api-Key",
        "description": "Beside the caller's address, where this deployment has API keys.",
    },
    "inner_key_bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The same API key in the header Authorization.",
    },
}
