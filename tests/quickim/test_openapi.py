"""The OpenAPI document against the specification, the declarations that it is made from, and its own examples."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.urls import URLPattern, URLResolver
from hypothesis import HealthCheck, given
from hypothesis import settings as how_often
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import extend
from openapi_spec_validator import OpenAPIV31SpecValidator
from rest_framework import serializers

from gateway import wire
from quickim.errors import ALL_ERRORS, QuickimError
from quickim.openapi import push, requests
from quickim.openapi.answers import DATA
from quickim.openapi.document import build_document
from quickim.rest.endpoint import Empty, Endpoint
from quickim.rest.fields import StrictField
from quickim.urls import ENDPOINTS, urlpatterns

DOCUMENT = build_document(settings.QUICKIM)
BODIES = {endpoint.body.__name__: endpoint.body for endpoint in ENDPOINTS if endpoint.body is not Empty}

Operations = list[tuple[str, dict[str, Any]]]


def operations(document: dict[str, Any] = DOCUMENT) -> Operations:
    """Each operation with its path."""
    return [(path, methods[method]) for path, methods in document["paths"].items() for method in methods]


def _ecma_pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    # JSON Schema's patterns are JavaScript's, where $ is the very end; Python's $ passes over a last newline.
    if isinstance(instance, str) and re.search(pattern.replace("$", r"\Z"), instance) is None:
        yield from Draft202012Validator({"const": None}).iter_errors(instance)


def _strict_integer(checker: Any, instance: Any) -> bool:
    # The one thing said in words: 1.0 is no integer here.
    return type(instance) is int


Validator = extend(  # type: ignore[no-untyped-call]  # jsonschema's own
    Draft202012Validator,
    {"pattern": _ecma_pattern},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _strict_integer),
)


def problems(schema: dict[str, Any], value: Any, document: dict[str, Any] = DOCUMENT) -> list[str]:
    """Why ``value`` is not what ``schema``, which may refer to components, describes."""
    whole = {"allOf": [schema], "components": document["components"]}
    validator = Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [f"{list(error.path)}: {error.message[:200]}" for error in validator.iter_errors(value)]


def component(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


@pytest.mark.parametrize("legacy", [False, True])
def test_the_document_is_valid_openapi_3_1(legacy: bool) -> None:
    document = build_document(replace(settings.QUICKIM, legacy=legacy))
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_described_and_nothing_else_is() -> None:
    routes = {f"/{route.pattern}" for route in urlpatterns if isinstance(route, URLPattern)}
    assert set(DOCUMENT["paths"]) == routes - {"/admin"}
    # These are for people and have no interface to describe.
    assert [str(r.pattern) for r in urlpatterns if isinstance(r, URLResolver)] == ["admin/", "playground/"]


def test_endpoints_are_posted_to_and_all_else_is_read() -> None:
    posted = {f"/{endpoint.name}" for endpoint in ENDPOINTS}
    for path, methods in DOCUMENT["paths"].items():
        assert list(methods) == (["post"] if path in posted else ["get"]), path


def test_every_endpoint_has_a_schema_for_its_answer() -> None:
    assert set(DATA) == {endpoint.name for endpoint in ENDPOINTS}


def test_every_operation_says_what_it_is() -> None:
    names = [operation["operationId"] for _, operation in operations()]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for path, operation in operations():
        assert operation["summary"].endswith("."), path
        assert set(operation["tags"]) <= tags
        assert "security" in operation, path


def test_every_component_is_used() -> None:
    text = str(DOCUMENT)
    said_in_words = {"WebSocketCall", "WebSocketAnswer", "UnknownInterface"}
    for name in set(DOCUMENT["components"]["schemas"]) - said_in_words:
        assert f"'#/components/schemas/{name}'" in text, name


@pytest.mark.parametrize("legacy", [False, True])
def test_every_example_of_an_answer_is_what_its_schema_says(legacy: bool) -> None:
    document = build_document(replace(settings.QUICKIM, legacy=legacy))
    seen = 0
    for path, operation in operations(document):
        for status, response in operation["responses"].items():
            for media in response.get("content", {}).values():
                for name, example in media["examples"].items():
                    assert problems(media["schema"], example["value"], document) == [], (path, status, name)
                    seen += 1
    assert seen > 200


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_an_answer_example_shows_all_fields_and_no_other(endpoint: type[Endpoint]) -> None:
    data = DATA[endpoint.name]
    if "$ref" in data:
        schema = DOCUMENT["components"]["schemas"][data["$ref"].rpartition("/")[2]]
        assert set(schema["properties"]) == set(endpoint.answer_example)
    else:
        assert isinstance(endpoint.answer_example, str)


def test_every_other_example_is_what_its_schema_says() -> None:
    for path, operation in operations():
        for parameter in operation["parameters"]:
            if "example" in parameter:
                assert problems(parameter["schema"], parameter["example"]) == [], path
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for example in schema.get("examples", []):
            assert problems(component(name), example) == [], name


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_a_request_example_passes_schema_and_serializer(endpoint: type[Endpoint]) -> None:
    operation = DOCUMENT["paths"][f"/{endpoint.name}"]["post"]
    if endpoint.body is Empty:
        assert "requestBody" not in operation
        return
    media = operation["requestBody"]["content"]["application/json"]
    assert problems(media["schema"], media["example"]) == []
    checked = endpoint.body().run_validation(media["example"])
    assert checked == media["example"], "an example shows every field"


@pytest.mark.parametrize("name", BODIES)
def test_required_fields_and_defaults_are_the_serializers(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]
    example = requests.body_example(BODIES[name])
    required = {field: example[field] for field in schema.get("required", [])}
    checked = BODIES[name]().run_validation(required)
    for field, described in schema["properties"].items():
        if "default" in described:
            assert checked[field] == described["default"]
        elif field not in required:
            assert not checked[field], "a field without a default is absent"
    for field in required:
        with pytest.raises((serializers.ValidationError, QuickimError)):
            BODIES[name]().run_validation({key: value for key, value in required.items() if key != field})


def _values() -> st.SearchStrategy[Any]:
    edges = [-(2**31) - 1, -(2**31), -1, 0, 1, 32_767, 32_768, 2**31 - 1, 2**31, 2**63 - 1, 2**63]
    lengths = [64, 65, 128, 129]
    text = st.one_of(
        st.text(max_size=5),
        st.sampled_from(["", "a\0b", "a\nb", "a\n", "\x7f", "\u0085", "é", "😀" * 64, "😀" * 65]),
        st.sampled_from(["EDCZL-SY32-243Y-VWQ", "EDCZL-SY32-243Y-VWI", "EDCZL-SY32-243Y-VWQ\n"]),
        st.sampled_from(lengths).map(lambda length: "x" * length),
    )
    lists = st.one_of(st.lists(text | st.integers(), max_size=3), st.just(["a"] * 10_000), st.just(["a"] * 10_001))
    numbers = st.sampled_from(edges) | st.integers() | st.just(1.0)
    return st.one_of(text, numbers, st.booleans(), st.none(), lists, st.just({}))


@pytest.mark.parametrize("name", BODIES)
@how_often(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.data())
def test_schema_and_serializer_accept_the_same(name: str, drawn: st.DataObject) -> None:
    example = requests.body_example(BODIES[name])
    field = drawn.draw(st.sampled_from([*example, "unknown"]))
    request = dict(example)
    if drawn.draw(st.booleans(), label="present"):
        request[field] = drawn.draw(_values())
    else:
        request.pop(field, None)
    try:
        BODIES[name]().run_validation(request)
        accepted = True
    except (serializers.ValidationError, QuickimError):
        accepted = False
    assert accepted == (problems(component(name), request) == []), request


def test_a_new_kind_of_field_cannot_be_forgotten() -> None:
    with pytest.raises(TypeError, match="StrictField"):
        requests.field_schema(StrictField(), settings.QUICKIM)


def test_limits_are_those_of_the_deployment() -> None:
    document = build_document(replace(settings.QUICKIM, max_content_bytes=100, send_rate=None))
    content = document["components"]["schemas"]["MessageToSend"]["properties"]["content"]
    assert content["maxLength"] == 100
    assert "100 bytes" in content["description"]
    assert "not throttled" in document["info"]["description"]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_an_endpoint_answers_with_all_its_errors_under_their_status(endpoint: type[Endpoint]) -> None:
    responses = DOCUMENT["paths"][f"/{endpoint.name}"]["post"]["responses"]
    for error in endpoint.errors:
        examples = responses[str(error.status)]["content"]["application/json"]["examples"]
        assert examples[error.__name__]["value"]["code"] == error.code


def test_every_code_of_the_table_is_described() -> None:
    for error in ALL_ERRORS:
        schema = DOCUMENT["components"]["schemas"][error.__name__]
        assert schema["properties"]["code"] == {"const": error.code}
        assert schema["properties"]["error"] == {"const": error.text()}
        assert schema["x-http-status"] == error.status


def test_legacy_answers_failures_with_status_200() -> None:
    document = build_document(replace(settings.QUICKIM, legacy=True))
    statuses = {status for _, operation in operations(document) for status in operation["responses"]}
    assert statuses == {"101", "200", "204"}


def test_every_way_to_end_a_connection_is_described() -> None:
    described = {int(code) for codes, _ in push.ENDINGS for code in codes.split(",")}
    farewells = [value for value in vars(wire).values() if isinstance(value, wire.Farewell)]
    assert {farewell.code for farewell in [*farewells, wire.restarting(0)]} <= described
    for farewell in farewells:
        assert problems(component("Notice"), farewell_object(farewell)) == []


def farewell_object(farewell: wire.Farewell) -> Any:
    return httpx.Response(200, content=farewell.notice().body).json()
