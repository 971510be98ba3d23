"""What is neither a call nor push in the document: health, this document itself and the pages."""

from typing import Any

from quickim.env import Configuration
from quickim.errors import InternalError, InvalidParameter, MethodNotAllowed, NotAllowed, TooManyRequests, Unavailable
from quickim.openapi.answers import reference
from quickim.openapi.failures import Error, in_table_order
from quickim.openapi.requests import Schema
from quickim.openapi.responses import JSON, Responses


def service_schemas() -> dict[str, Schema]:
    """The components."""
    return {
        "Health": {
            "type": "object",
            "description": "The state of this process.",
            "required": ["status"],
            "properties": {
                "status": {
                    "enum": ["ok", "degraded"],
                    "description": "degraded: messages arrive a little later, from the database.",
                },
                "layer": {"type": "string", "description": "degraded: what is wrong with the channel layer."},
            },
        }
    }


def service_paths(configuration: Configuration) -> dict[str, Any]:
    """The paths."""
    return {
        "/healthz": _healthz(configuration),
        "/readyz": _readyz(configuration),
        "/metrics": _metrics(configuration),
        "/openapi.json": _text(
            configuration, "openapi", "This document.", JSON, {"type": "object", "required": ["openapi"]}
        ),
        "/docs": _text(configuration, "docs", "This document as a page.", "text/html", {"type": "string"}),
        "/": _text(configuration, "landing", "What runs here and where to begin.", "text/html", {"type": "string"}),
    }


def _operation(name: str, summary: str, description: str, responses: Responses) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": ["Service"],
        "summary": summary,
        "security": [],
        "parameters": [{"$ref": "#/components/parameters/RequestId"}],
        "responses": responses.build(),
    }
    if description:
        operation["description"] = description
    return {"get": operation}


def _healthz(configuration: Configuration) -> dict[str, Any]:
    responses = Responses(configuration)
    responses.add_success(reference("Health"), {"status": "ok"}, "The process lives.")
    _add_failures(responses)
    return _operation("healthz", "200 while the process lives.", "For a liveness probe.", responses)


def _readyz(configuration: Configuration) -> dict[str, Any]:
    responses = Responses(configuration)
    responses.add_success(reference("Health"), {"status": "ok"}, "Database and channel layer answer.", "ok")
    responses.add_success(reference("Health"), {"status": "degraded", "layer": "does not answer"}, "", "degraded")
    _add_failures(responses, InternalError, Unavailable)
    return _operation(
        "readyz",
        "200 when the node can serve, 503 and what is missing when it cannot.",
        "For a readiness probe or a load balancer. With only the channel layer away it stays 200 and says `degraded`:"
        " nothing is lost, messages arrive a little later.",
        responses,
    )


def _metrics(configuration: Configuration) -> dict[str, Any]:
    responses = Responses(configuration)
    responses.add(200, "Prometheus' text format.", {"type": "string"}, media_type="text/plain")
    responses.add(200, "", {"type": "string"}, media_type="application/openmetrics-text")
    _add_failures(responses, InternalError, NotAllowed)
    operation = _operation(
        "metrics",
        "The numbers of all processes of this machine, for Prometheus.",
        "Guarded like `/inner/*`: by the caller's address and, where there are any, an API key. In the form of"
        " OpenMetrics when `Accept` asks for it.",
        responses,
    )
    operation["get"]["security"] = [{}, {"inner_key": []}, {"inner_key_bearer": []}]
    return operation


def _text(configuration: Configuration, name: str, summary: str, media_type: str, schema: Schema) -> dict[str, Any]:
    responses = Responses(configuration)
    responses.add(200, summary, schema, media_type=media_type)
    _add_failures(responses, InternalError, TooManyRequests)
    return _operation(name, summary, "", responses)


def _add_failures(responses: Responses, *errors: Error) -> None:
    responses.add_failures(
        in_table_order({InvalidParameter, MethodNotAllowed, *errors}),
        InvalidParameter={"Host": "is not one of QUICKIM_ALLOWED_HOSTS"},
        Unavailable={"database": "does not answer"},
    )
