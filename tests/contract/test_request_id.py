"""Every answer can be found in the logs: X-Request-Id, the caller's own when it is well-formed."""

import re

import pytest

from tests.clients import Api, Person
from tests.servers import ANYWHERE

pytestmark = pytest.mark.parametrize("server", ANYWHERE, indirect=True)

WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,128}")


async def test_a_well_formed_request_id_is_echoed(api: Api, alice: Person) -> None:
    for identifier in ("3f2c8a1e-0d1b-4c58-9a60-5d0a7a3f1b11", "abc123", "a" * 32):
        answer = await alice.api.request(
            "POST", "/get_joined_conversation", token=alice.token, headers={"X-Request-Id": identifier}
        )
        assert answer.headers["x-request-id"] == identifier


@pytest.mark.parametrize("identifier", ["a" * 1000, "<script>alert(1)</script>", "a b", 'a"b', "a\tb", "", "é" * 8])
async def test_an_ill_formed_request_id_is_replaced(api: Api, identifier: str) -> None:
    answer = await api.request("GET", "/healthz", headers={"X-Request-Id": identifier})
    assert answer.headers["x-request-id"] != identifier
    assert WELL_FORMED.fullmatch(answer.headers["x-request-id"])


async def test_every_kind_of_answer_carries_a_request_id(api: Api, alice: Person) -> None:
    answers = [
        await api.request("GET", "/healthz"),
        await api.request("GET", "/readyz"),
        await api.request("GET", "/"),
        await api.request("GET", "/docs"),
        await api.request("GET", "/openapi.json"),
        await api.request("GET", "/nothing_here"),
        await api.request("GET", "/send_msg"),
        await api.request("POST", "/send_msg"),
        await api.request("POST", "/send_msg", token=alice.token, content=b"{"),
        await api.request("POST", "/send_msg", token=alice.token, content=b" " * 3_000_000),
        await api.request("POST", "/inner/get_token", content=b"{"),
        await api.request("GET", "/notify"),
        await api.poll(alice.token),
    ]
    identifiers = {answer.headers.get("x-request-id") for answer in answers}
    assert None not in identifiers
    assert len(identifiers) == len(answers)


async def test_a_stream_carries_a_request_id(alice: Person) -> None:
    assert (await alice.listen_sse()).headers.get("x-request-id")
