"""Every failure has the envelope, the code and the status of the table: never HTML, never a stack trace."""

import pytest

from tests.clients import Api, Person
from tests.servers import ANYWHERE

pytestmark = pytest.mark.parametrize("server", ANYWHERE, indirect=True)

ENDPOINTS = [
    "/send_msg",
    "/check_joined_conversation",
    "/get_joined_conversation",
    "/get_conversation_detail",
    "/join_conversation",
    "/create_conversation",
    "/leave_conversation",
    "/get_lastone_msgid",
    "/get_conversation_msg_by_range",
    "/get_conversation_30msg_before_the_id",
    "/get_conversation_30msg_after_the_id",
    "/get_conversation_last_30_msg",
    "/get_conversation_lastone_msg",
    "/ticket",
    "/inner/get_token",
    "/inner/revoke_token",
    "/inner/create_conversation",
    "/inner/join_conversation",
    "/inner/kickout_conversation",
    "/inner/send_msg",
    "/inner/get_conversation_members",
    "/inner/set_delete_conversations",
    "/inner/set_archive_conversations",
]

UNKNOWN_PATHS = [
    "/nothing_here",
    "/inner/nothing_here",
    "/inner",
    "/inner/",
    "/send_msg/",
    "/send_msg/more",
    "/SEND_MSG",
    "/%00",
    "/%ff%fe",
    "/会话",
    "/nothing?a=b",
    "/..%2f..%2fetc/passwd",
    "/" + "a" * 2000,
]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
async def test_an_unknown_path_is_no_such_interface_by_any_method(api: Api, method: str) -> None:
    for path in UNKNOWN_PATHS:
        (await api.request(method, path)).refused(10004)


async def test_an_unknown_path_is_no_such_interface_even_with_a_good_token(api: Api, alice: Person) -> None:
    (await api.request("POST", "/nothing_here", token=alice.token, json={})).refused(10004)


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_a_wrong_method_is_refused_and_says_which_is_allowed(api: Api, alice: Person, path: str) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = await api.request(method, path, token=alice.token)
        answer.refused(10005)
        assert "POST" in [name.strip() for name in answer.headers["allow"].split(",")]
        assert method not in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/notify", "/healthz", "/readyz", "/openapi.json"])
async def test_what_is_only_read_refuses_to_be_posted_to(api: Api, alice: Person, path: str) -> None:
    answer = await api.request("POST", path, token=alice.token, json={})
    answer.refused(10005)
    assert "GET" in answer.headers["allow"]


async def test_a_head_request_has_the_status_and_no_body(api: Api) -> None:
    wrong_method = await api.request("HEAD", "/send_msg")
    assert (wrong_method.status, wrong_method.content) == (405, b"")
    unknown = await api.request("HEAD", "/nothing_here")
    assert (unknown.status, unknown.content) == (404, b"")


async def test_a_foreign_host_header_gets_an_envelope_too(api: Api, alice: Person) -> None:
    for path in ("/get_joined_conversation", "/nothing_here"):
        answer = await api.request("POST", path, token=alice.token, headers={"Host": "evil.example"}, json={})
        assert "code" in answer.body
        assert answer.status < 500


async def test_success_has_code_and_data_and_nothing_else(api: Api, alice: Person) -> None:
    answer = await alice.call("get_joined_conversation")
    assert answer.body == {"code": 0, "data": {"Conversations": []}}


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_every_endpoint_answers_json_in_utf8(api: Api, alice: Person, path: str) -> None:
    answer = await api.request("POST", path, token=alice.token, json={"unknown": "field"})
    assert "code" in answer.body
    assert answer.status < 500
    answer.content.decode("utf-8")
