"""Calls over a WebSocket: the bodies, checks and errors of HTTP; a bad call never costs the connection."""

import asyncio
import json
from typing import Any

import pytest

from tests.clients import CODES, Api, Person, WsListener, fresh, mint
from tests.contract.test_connecting import check_bye
from tests.contract.test_fields import FIELDS, OF_A_CONVERSATION
from tests.servers import ANYWHERE

once = pytest.mark.parametrize("server", ANYWHERE, indirect=True)

IDS: list[Any] = [
    "text",
    "",
    0,
    7,
    -1,
    1.5,
    2**53,
    True,
    False,
    None,
    [],
    [1, "a"],
    {},
    {"a": {"b": [None]}},
    "🦀",
]


def check_error(answer: dict[str, Any], code: int, identifier: Any) -> None:
    """The error object: the envelope and the id."""
    assert answer["code"] == code, answer
    assert answer["error"] == CODES[code][1]
    assert answer["id"] == identifier
    assert set(answer) <= {"id", "code", "error", "detail"}


async def still_lives(socket: WsListener) -> bool:
    """Whether the connection still answers."""
    return bool((await socket.call("ping"))["code"] == 0)


@pytest.mark.parametrize("identifier", IDS, ids=repr)
@once
async def test_an_id_of_any_json_type_comes_back_as_it_was(alice: Person, identifier: Any) -> None:
    socket = await alice.listen_ws()
    await socket.socket.send(json.dumps({"id": identifier, "method": "ping"}))
    answer = await socket.answer(identifier)
    assert answer["code"] == 0
    assert type(answer["id"]) is type(identifier)
    await socket.socket.send(json.dumps({"id": identifier, "method": "nothing"}))
    await socket.wait_until(lambda: len(socket.answers) == 2)
    check_error(socket.answers[1], 10004, identifier)


async def test_every_public_method_answers_like_http(api: Api, alice: Person, bob: Person, room: str) -> None:
    for number in range(3):
        await bob.send(room, f"{number}")
    position = (await alice.call("get_lastone_msgid", conversation_id=room)).data["MsgId"]
    socket = await alice.listen_ws()
    questions: list[tuple[str, dict[str, Any]]] = [
        ("check_joined_conversation", {"conversation_id": room}),
        ("get_joined_conversation", {}),
        ("get_conversation_detail", {"conversation_id": room}),
        ("get_lastone_msgid", {"conversation_id": room}),
        (
            "get_conversation_msg_by_range",
            {"conversation_id": room, "start_msg_id": "", "end_msg_id": position},
        ),
        ("get_conversation_30msg_before_the_id", {"conversation_id": room, "msg_id": position, "desc": True}),
        ("get_conversation_30msg_after_the_id", {"conversation_id": room, "msg_id": position}),
        ("get_conversation_last_30_msg", {"conversation_id": room}),
        ("get_conversation_lastone_msg", {"conversation_id": room}),
        ("join_conversation", {"conversation_id": room}),
        ("leave_conversation", {"conversation_id": room}),
    ]
    for method, params in questions:
        answer = await socket.call(method, params)
        assert set(answer) == {"id", "code", "data"}, answer
        assert answer["code"] == 0
        if method != "leave_conversation":
            assert answer["data"] == (await alice.call(method, **params)).data, method


async def test_sending_creating_and_joining_work_over_the_socket(api: Api, alice: Person, bob: Person) -> None:
    socket, other = await alice.listen_ws(), await bob.listen_ws()
    created = await socket.call("create_conversation", {"conversation_type": 3, "sessions": [bob.session]})
    conversation = created["data"]["ConversationId"]
    sent = await socket.call("send_msg", {"conversation_id": conversation, "content": "hi", "type": 1, "status": 2})
    assert set(sent["data"]) == {"MsgID", "SendTime"}
    for listener in (socket, other):
        message = await listener.message()
        assert (message["MsgId"], message["Type"], message["Status"]) == (sent["data"]["MsgID"], 1, 2)
    assert (await other.call("leave_conversation", {"conversation_id": conversation}))["code"] == 0
    assert (await other.call("join_conversation", {"conversation_id": conversation}))["code"] == 0


@pytest.mark.parametrize("method", OF_A_CONVERSATION)
@once
async def test_errors_are_those_of_http(alice: Person, charlie: Person, room: str, method: str) -> None:
    socket = await charlie.listen_ws()
    for conversation in (room, "no-id-of-ours", 7, None):
        params = {**FIELDS, "conversation_id": conversation}
        over_http = (await charlie.call(method, **params)).body
        over_ws = await socket.call(method, params)
        assert {name: value for name, value in over_ws.items() if name != "id"} == over_http
    assert await still_lives(socket)


async def test_a_lone_surrogate_in_params_is_refused_under_the_id_of_its_call(alice: Person) -> None:
    socket = await alice.listen_ws()
    await socket.socket.send(r'{"id": 7, "method": "get_conversation_detail", "params": {"conversation_id": "\ud800"}}')
    await socket.wait_until(lambda: bool(socket.answers))
    check_error(socket.answers[0], 10001, 7)
    assert await still_lives(socket)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "x",
        "{",
        "[]",
        '"text"',
        "null",
        "7",
        "{}",
        '{"id": 1}',
        '{"method": 5, "id": 1}',
        '{"method": null}',
        '{"method": "ping", "params": []}',
        '{"method": "ping", "params": "x"}',
        '{"method": "ping", "params": 7}',
        '{"method": "ping", "params": {"a": NaN}}',
        '{"method": "ping"} {}',
        '{"method": "ping", "params": {"deep": ' + "[" * 100_000 + "]" * 100_000 + "}}",
        '{"method": "ping", "params": ' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "}",
    ],
    ids=lambda frame: frame[:40],
)
@once
async def test_a_frame_that_is_no_call_is_answered_with_an_error(alice: Person, frame: str) -> None:
    socket = await alice.listen_ws()
    await socket.socket.send(frame)
    await socket.wait_until(lambda: bool(socket.answers))
    may_be_taken = len(frame) > 10_000  # deep, and yet JSON
    assert socket.answers[0]["code"] == 10001 or (may_be_taken and socket.answers[0]["code"] == 0)
    assert "id" in socket.answers[0]
    assert await still_lives(socket)


@pytest.mark.parametrize("frame", [b"", b"\xff\xfe", b"{", b"\x00" * 100])
@once
async def test_a_binary_frame_that_is_no_call_is_answered_with_an_error(alice: Person, frame: bytes) -> None:
    socket = await alice.listen_ws()
    await socket.socket.send(frame)
    await socket.wait_until(lambda: bool(socket.answers))
    assert socket.answers[0]["code"] == 10001
    assert await still_lives(socket)


@pytest.mark.parametrize(
    "method",
    [
        "nothing",
        "",
        "notify",
        "inner/get_token",
        "get_token",
        "__class__",
        "SEND_MSG",
        "/send_msg",
        "a" * 9999,
    ],
)
@once
async def test_an_unknown_method_is_no_such_interface(alice: Person, method: str) -> None:
    socket = await alice.listen_ws()
    check_error(await socket.call(method), 10004, "call-1")
    assert await still_lives(socket)


async def test_params_may_be_absent(alice: Person) -> None:
    socket = await alice.listen_ws()
    await socket.socket.send('{"id": 1, "method": "get_joined_conversation"}')
    assert (await socket.answer(1))["data"] == {"Conversations": []}
    await socket.socket.send('{"id": 2, "method": "send_msg"}')
    check_error(await socket.answer(2), 10001, 2)


async def test_pipelined_sends_keep_their_order(alice: Person, bob: Person, room: str) -> None:
    listener = await bob.listen("ws")
    socket = await alice.listen_ws()
    for number in range(200):
        params = {"conversation_id": room, "content": f"{number}"}
        await socket.socket.send(json.dumps({"id": number, "method": "send_msg", "params": params}))
    await socket.wait_until(lambda: len(socket.answers) == 200, 20)
    assert {answer["code"] for answer in socket.answers} == {0}
    await listener.messages_in(room, 200)
    assert listener.texts(room) == [f"{number}" for number in range(200)]
    by_id = sorted(socket.answers, key=lambda answer: int(answer["id"]))
    assert [answer["data"]["MsgID"] for answer in by_id] == [one["MsgId"] for one in listener.of(room)]


async def test_many_calls_at_once_are_all_answered(alice: Person, room: str) -> None:
    socket = await alice.listen_ws()
    answers = await asyncio.gather(
        *(socket.call("get_conversation_detail", {"conversation_id": room}) for _ in range(100))
    )
    assert {answer["code"] for answer in answers} == {0}


async def test_a_new_token_keeps_a_connection_past_the_old_ones_expiry(api: Api) -> None:
    alice = Person(api, fresh("alice"))
    room = await api.conversation(alice.session)
    alice.token = mint(alice.session, lifetime_seconds=-6)  # expired, and for 4 s more within the leeway
    socket = await alice.listen_ws()
    witness = await alice.listen_ws()
    answer = await socket.call("refresh", {"token": mint(alice.session)})
    assert answer["code"] == 0
    assert (await witness.ended(15)).code == 4002
    assert await still_lives(socket)
    await api.post(room, "still here")
    assert (await socket.message())["Content"] == "still here"


async def test_a_bad_new_token_is_refused_and_the_connection_lives_on(alice: Person, charlie: Person) -> None:
    socket = await alice.listen_ws()
    for token in (
        "nonsense",
        "",
        charlie.token,
        mint(alice.session, platform=2),
        mint(alice.session, lifetime_seconds=-60),
        mint(alice.session, iss="someone-else"),
    ):
        check_error(await socket.call("refresh", {"token": token}), 10101, f"call-{socket.calls}")
    for params in ({}, {"token": 7}, {"token": None}):
        assert (await socket.call("refresh", params))["code"] in (10001, 10101)
    assert await still_lives(socket)


async def test_a_bad_new_token_does_not_prolong_the_old_one(alice: Person) -> None:
    alice.token = mint(alice.session, lifetime_seconds=-7)
    socket = await alice.listen_ws()
    assert (await socket.call("refresh", {"token": "nonsense"}))["code"] == 10101
    ending = await socket.ended(15)
    assert ending.code == 4002
    check_bye(ending.bye, 4002, reconnect=True)


async def test_a_frame_that_is_too_large_ends_the_connection_with_1009(alice: Person, room: str) -> None:
    socket = await alice.listen_ws()
    params = {"conversation_id": room, "content": "x" * 3_000_000}
    await socket.socket.send(json.dumps({"id": 1, "method": "send_msg", "params": params}))
    assert (await socket.ended()).code == 1009


async def test_a_message_of_64_kib_fits_in_a_frame_however_it_is_escaped(alice: Person, room: str) -> None:
    socket = await alice.listen_ws()
    answer = await socket.call("send_msg", {"conversation_id": room, "content": "\x01" * 65536})
    assert answer["code"] == 0


@pytest.mark.settings(QUICKIM_FRAME_RATE="5/s")
async def test_too_many_frames_end_the_connection_with_4006(alice: Person, bob: Person, room: str) -> None:
    witness, socket = await bob.listen_ws(), await alice.listen_ws()
    for number in range(300):
        if socket.ending:
            break
        await socket.socket.send(json.dumps({"id": number, "method": "ping"}))
    ending = await socket.ended()
    assert ending.code == 4006
    check_bye(ending.bye, 4006, reconnect=True)
    await alice.send(room, "others are not concerned")
    assert (await witness.message())["Content"] == "others are not concerned"
    assert await still_lives(witness)
