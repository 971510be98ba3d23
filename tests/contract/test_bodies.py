"""One strict parser: JSON is taken whatever its Content-Type, anything else is 10001, too much is 10006."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.clients import Answer, Api, Person
from tests.servers import ANYWHERE

pytestmark = pytest.mark.parametrize("server", ANYWHERE, indirect=True)

MAX_BODY_BYTES = 2 * 1024 * 1024

NO_JSON_OBJECT = {
    "an open brace": b"{",
    "a word": b"hello",
    "a missing value": b'{"a":}',
    "single quotes": b"{'a': 1}",
    "a trailing comma": b'{"a": 1,}',
    "two objects": b"{} {}",
    "text behind": b'{"a": 1} x',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "a raw line end in a string": b'{"a": "x\ny"}',
    "a raw NUL": b'{"a": "x\x00y"}',
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "half a character": b'{"a": "\xe4\xbc"}',
    "an encoded surrogate": b'{"a": "\xed\xa0\x80"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a list": b"[]",
    "a list of objects": b"[{}]",
    "a string": b'"text"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
}

Door = Callable[[bytes], Awaitable[Answer]]


@pytest.fixture(params=["public", "inner"])
def post(request: pytest.FixtureRequest, api: Api, alice: Person) -> Door:
    """Posts raw bytes to one public or one inner endpoint."""

    async def post(content: bytes) -> Answer:
        path, token = ("/send_msg", alice.token) if request.param == "public" else ("/inner/send_msg", None)
        return await api.request("POST", path, token=token, content=content)

    return post


@pytest.mark.parametrize("content", NO_JSON_OBJECT.values(), ids=NO_JSON_OBJECT.keys())
async def test_a_body_that_is_no_json_object_is_an_invalid_parameter(post: Door, content: bytes) -> None:
    (await post(content)).refused(10001)


@pytest.mark.parametrize("depth", [100, 1_000, 100_000])
async def test_deep_json_is_never_a_crash(api: Api, alice: Person, depth: int) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        nested = opening * depth + b"1" + closing * depth
        answer = await api.request(
            "POST", "/get_joined_conversation", token=alice.token, content=b'{"deep": ' + nested + b"}"
        )
        assert answer.status in (200, 400)
        assert answer.body["code"] in (0, 10001)


async def test_no_depth_is_a_crash_on_either_door(api: Api, alice: Person) -> None:
    socket = await alice.listen_ws()
    codes: dict[int, set[int]] = {}
    for depth in (*range(90, 110), *range(900, 1_000)):
        codes[depth] = set()
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            for field in ('"x": "\\ud800"', '"x": 1'):
                nested = opening * depth + "1" + closing * depth
                body = f'{{"id": {depth}, "method": "ping", {field}, "deep": {nested}}}'
                answer = await api.request("POST", "/get_joined_conversation", token=alice.token, content=body.encode())
                assert answer.status == (200 if answer.body["code"] == 0 else 400)
                socket.answers.clear()
                await socket.socket.send(body)
                assert (await socket.call("ping"))["code"] == 0
                # Its id is told as long as that can be read.
                assert socket.answers[0]["id"] in (depth, None)
                assert socket.answers[0]["code"] == answer.body["code"]
                codes[depth].add(answer.body["code"])
    assert codes == {depth: {0, 10001} if depth < 100 else {10001} for depth in codes}


async def test_a_huge_number_is_never_a_crash(api: Api, alice: Person, room: str) -> None:
    for number in ("9" * 5000, "-" + "9" * 400, "1e999", "1e-999", "0." + "1" * 5000):
        body = f'{{"conversation_id": "{room}", "content": "x", "type": {number}}}'
        answer = await api.request("POST", "/send_msg", token=alice.token, content=body.encode())
        answer.refused(10001)


async def test_an_empty_body_is_an_empty_object(api: Api, alice: Person) -> None:
    answer = await api.request("POST", "/get_joined_conversation", token=alice.token)
    assert answer.data == {"Conversations": []}
    detail = (await api.request("POST", "/send_msg", token=alice.token)).refused(10001)
    assert "conversation_id" in detail


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "image/png",
        "x",
    ],
)
async def test_a_body_is_json_whatever_its_content_type(api: Api, alice: Person, room: str, kind: str) -> None:
    body = json.dumps({"conversation_id": room, "content": "typed"}).encode()
    headers = {"Content-Type": kind}
    answer = await api.request("POST", "/send_msg", token=alice.token, content=body, headers=headers)
    assert set(answer.data) == {"MsgID", "SendTime"}


async def test_a_body_needs_no_content_type(api: Api, alice: Person, room: str) -> None:
    body = json.dumps({"conversation_id": room, "content": "untyped"}).encode()
    answer = await api.request("POST", "/send_msg", token=alice.token, content=body)
    assert set(answer.data) == {"MsgID", "SendTime"}


async def test_unknown_fields_are_ignored(alice: Person, room: str) -> None:
    answer = await alice.call("send_msg", conversation_id=room, content="x", colour="blue", nested={"a": [1, None]})
    assert set(answer.data) == {"MsgID", "SendTime"}


async def test_a_body_over_the_limit_is_refused(api: Api, alice: Person) -> None:
    padding = b" " * MAX_BODY_BYTES
    answer = await api.request("POST", "/get_joined_conversation", token=alice.token, content=b"{}" + padding)
    answer.refused(10006)


async def test_a_body_of_exactly_the_limit_is_taken(api: Api, alice: Person) -> None:
    padding = b" " * (MAX_BODY_BYTES - 2)
    answer = await api.request("POST", "/get_joined_conversation", token=alice.token, content=b"{}" + padding)
    assert answer.data == {"Conversations": []}


async def _in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_a_chunked_body_is_read_like_any_other(api: Api, alice: Person, room: str) -> None:
    body = json.dumps({"conversation_id": room, "content": "in pieces"}).encode()
    answer = await api.request(
        "POST", "/send_msg", token=alice.token, content=_in_pieces(body[:10], body[10:11], body[11:])
    )
    assert set(answer.data) == {"MsgID", "SendTime"}
    assert [message["Content"] for message in await alice.history(room)] == ["in pieces"]


async def test_a_chunked_body_over_the_limit_is_refused_without_a_content_length(api: Api, alice: Person) -> None:
    pieces = [b" " * 65536] * (MAX_BODY_BYTES // 65536)
    for path, token in (("/get_joined_conversation", alice.token), ("/inner/get_token", None)):
        answer = await api.request("POST", path, token=token, content=_in_pieces(*pieces, b"{}"))
        answer.refused(10006)


@pytest.mark.parametrize("field", ["conversation_id", "content", "client_msg_id"])
async def test_a_lone_surrogate_is_an_invalid_parameter(api: Api, alice: Person, room: str, field: str) -> None:
    fields = {"conversation_id": room, "content": "x", "client_msg_id": "id"} | {field: "\ud800"}
    body = json.dumps(fields).encode()
    detail = (await api.request("POST", "/send_msg", token=alice.token, content=body)).refused(10001)
    assert set(detail) in ({field}, {"body"})


async def test_an_escaped_surrogate_pair_is_one_character(api: Api, alice: Person, room: str) -> None:
    body = json.dumps({"conversation_id": room, "content": "\U0001f600"}, ensure_ascii=True).encode()
    assert b"\\ud83d" in body
    assert (await api.request("POST", "/send_msg", token=alice.token, content=body)).data
    assert [message["Content"] for message in await alice.history(room)] == ["\U0001f600"]
