"""What a deployment may switch off, limit, or turn to quick-im-core's habits."""

import asyncio
import math
import time

import jwt
import pytest

from tests.clients import Api, Message, Person, fresh
from tests.clients.listener import MESSAGE_FIELDS
from tests.servers import ANYWHERE

pytestmark = pytest.mark.parametrize("server", ANYWHERE, indirect=True)

narrowed = pytest.mark.settings(
    QUICKIM_PUBLIC_JOIN="0",
    QUICKIM_PUBLIC_CREATE="self",
    QUICKIM_MAX_CONTENT_BYTES="1000",
    QUICKIM_MAX_BODY_BYTES="5000",
    QUICKIM_TOKEN_TTL_SECONDS="120",
)
nobody_creates_two_sends_a_second = pytest.mark.settings(QUICKIM_PUBLIC_CREATE="off", QUICKIM_SEND_RATE="2/s")
legacy = pytest.mark.settings(QUICKIM_LEGACY="1")


@narrowed
async def test_public_joining_can_be_switched_off(api: Api, charlie: Person, room: str) -> None:
    (await charlie.call("join_conversation", conversation_id=room)).refused(10003)
    socket = await charlie.listen_ws()
    assert (await socket.call("join_conversation", {"conversation_id": room}))["code"] == 10003
    (await api.inner("join_conversation", conversation_id=room, sessions=[charlie.session])).succeeded()
    await charlie.send(room)


@narrowed
async def test_public_creating_can_be_limited_to_oneself(alice: Person, bob: Person) -> None:
    fields = {"conversation_type": 1}
    (await alice.call("create_conversation", **fields, sessions=[bob.session])).refused(10003)
    (await alice.call("create_conversation", **fields, sessions=[alice.session, bob.session])).refused(10003)
    assert (await alice.call("create_conversation", **fields)).data["ConversationId"]
    assert (await alice.call("create_conversation", **fields, sessions=[alice.session])).data["ConversationId"]


@narrowed
async def test_the_limits_of_a_content_and_of_a_body_can_be_set(api: Api, alice: Person, room: str) -> None:
    await alice.send(room, "x" * 1000)
    assert "content" in (await alice.call("send_msg", conversation_id=room, content="x" * 1001)).refused(10001)
    (await alice.call("send_msg", conversation_id=room, content="x" * 5000)).refused(10006)


@narrowed
async def test_the_life_of_an_issued_token_can_be_set(api: Api) -> None:
    token = (await api.inner("get_token", session="alice", platform=1)).data
    claims = jwt.decode(token, options={"verify_signature": False})
    # Its iat has milliseconds, its exp whole seconds.
    assert claims["exp"] - int(claims["iat"]) == 120


@nobody_creates_two_sends_a_second
async def test_public_creating_can_be_switched_off(api: Api, alice: Person) -> None:
    (await alice.call("create_conversation", conversation_type=1)).refused(10003)
    assert await api.conversation(alice.session)


@nobody_creates_two_sends_a_second
async def test_a_session_that_sends_too_fast_is_told_when_to_go_on(alice: Person, bob: Person, room: str) -> None:
    began = time.monotonic()
    answers = await asyncio.gather(*(alice.call("send_msg", conversation_id=room, content="x") for _ in range(40)))
    more = math.ceil((time.monotonic() - began) * 2)
    refused = [answer for answer in answers if answer.status != 200]
    assert 40 - 8 - more <= len(refused) <= 40 - 8, "a burst of 4 N passes, and 2 more each second that this took"
    for answer in refused:
        answer.refused(10007)
        assert int(answer.headers["retry-after"]) >= 1
    assert len(await alice.history(room)) == 40 - len(refused)
    await bob.send(room, "another session is not concerned")


@nobody_creates_two_sends_a_second
async def test_the_send_rate_holds_over_all_doors_of_a_session(alice: Person, room: str) -> None:
    socket = await alice.listen_ws()
    call = {"conversation_id": room, "content": "x"}
    answers = await asyncio.gather(*(socket.call("send_msg", call) for _ in range(20)))
    refused = [answer for answer in answers if answer["code"] != 0]
    assert refused
    assert {answer["code"] for answer in refused} == {10007}
    (await alice.on(5).call("send_msg", **call)).refused(10007)
    assert (await socket.call("ping"))["code"] == 0


@legacy
async def test_legacy_errors_come_with_status_200(api: Api, alice: Person, charlie: Person, room: str) -> None:
    (await api.request("POST", "/send_msg", json={})).refused(10101, status=200)
    (await charlie.call("send_msg", conversation_id=room, content="x")).refused(90015, status=200)
    (await alice.call("send_msg", conversation_id="x", content="x")).refused(90014, status=200)
    (await alice.call("send_msg", conversation_id=room)).refused(10001, status=200)
    (await api.request("POST", "/nothing_here")).refused(10004, status=200)
    (await api.request("GET", "/send_msg")).refused(10005, status=200)
    (await api.request("GET", "/notify", token=alice.token, params={"protoc": "x"})).refused(90013, status=200)
    (await api.inner("create_conversation", conversation_type=1, sessions=[])).refused(90011, status=200)


@legacy
async def test_a_legacy_poll_answers_one_bare_message_at_a_time(api: Api, alice: Person, room: str) -> None:
    waiting = asyncio.create_task(api.poll(alice.token))
    received: list[Message] = []
    sent = 0
    while not received:  # the first poll begins "now", a moment nobody can see: send until it has begun
        await alice.send(room, f"message {sent}")
        sent += 1
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        if done:
            answer = waiting.result()
            assert answer.status == 200
            assert set(answer.body) == MESSAGE_FIELDS
            received.append(answer.body)
    for _ in range(3):
        await alice.send(room, f"message {sent}")
        sent += 1
    while received[-1]["Content"] != f"message {sent - 1}":
        answer = await api.poll(alice.token)
        assert answer.status == 200
        assert set(answer.body) == MESSAGE_FIELDS
        received.append(answer.body)
    sequence = [message["Seq"] for message in received]
    assert sequence == list(range(sequence[0], sent + 1))


@legacy
async def test_a_legacy_poll_without_news_is_an_empty_204(api: Api) -> None:
    answer = await api.poll(Person(api, fresh("alice")).token)
    assert (answer.status, answer.content) == (204, b"")


@legacy
async def test_a_legacy_server_still_serves_polls_with_a_cursor(api: Api, alice: Person, room: str) -> None:
    first = await alice.send(room, "one")
    await alice.send(room, "two")
    data = (await api.poll(alice.token, since=first["MsgID"])).data
    assert set(data) == {"Msg", "Event", "Cursor"}
    assert [message["Content"] for message in data["Msg"]] == ["two"]
