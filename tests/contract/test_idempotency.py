"""A send repeated with its client_msg_id has exactly one effect, and every repeat hears the same."""

import asyncio
from typing import Any

import pytest

from tests.clients import Api, Person, Protoc
from tests.contract.test_conversations import archive, kick
from tests.servers import EVERYWHERE

pytestmark = pytest.mark.parametrize("server", EVERYWHERE, indirect=True)


async def test_twenty_repeats_at_once_are_one_message_with_one_msgid(alice: Person, bob: Person, room: str) -> None:
    listener = await bob.listen("ws")
    socket = await alice.listen_ws()
    params = {"conversation_id": room, "content": "once", "client_msg_id": "the-one"}
    over_http = [alice.send(room, "once", client_msg_id="the-one") for _ in range(10)]
    over_ws = [socket.call("send_msg", params) for _ in range(10)]
    sent, answers = await asyncio.gather(asyncio.gather(*over_http), asyncio.gather(*over_ws))
    assert len({(one["MsgID"], one["SendTime"]) for one in [*sent, *(one["data"] for one in answers)]}) == 1
    (message,) = await alice.history(room)
    assert (message["MsgId"], message["Seq"]) == (sent[0]["MsgID"], 1)
    await bob.caught_up(listener)
    assert listener.texts(room) == ["once"]


async def test_a_repeat_pushes_nothing_again(alice: Person, bob: Person, room: str, protoc: Protoc) -> None:
    listener = await bob.listen(protoc)
    first = await alice.send(room, "once", client_msg_id="a")
    assert await alice.send(room, "once", client_msg_id="a") == first
    second = await alice.send(room, "next", client_msg_id="b")
    assert [(one["MsgId"], one["Seq"]) for one in await listener.messages_in(room, 2)] == [
        (first["MsgID"], 1),
        (second["MsgID"], 2),
    ]
    await bob.caught_up(listener)
    assert listener.texts(room) == ["once", "next"]


@pytest.mark.parametrize("change", [{"content": "other"}, {"type": 1}, {"status": 1}], ids=repr)
async def test_another_message_under_a_known_id_is_refused(alice: Person, room: str, change: dict[str, Any]) -> None:
    first = await alice.send(room, "once", client_msg_id="a", type=0, status=0)
    fields = {
        "conversation_id": room,
        "content": "once",
        "client_msg_id": "a",
        "type": 0,
        "status": 0,
    } | change
    (await alice.call("send_msg", **fields)).refused(90019)
    assert [message["MsgId"] for message in await alice.history(room)] == [first["MsgID"]]


async def test_twenty_different_messages_at_once_under_one_id_leave_one_winner(alice: Person, room: str) -> None:
    fields = {"conversation_id": room, "client_msg_id": "contested"}
    answers = await asyncio.gather(*(alice.call("send_msg", content=f"text {n}", **fields) for n in range(20)))
    winners = [answer for answer in answers if answer.status == 200]
    assert len(winners) == 1
    for answer in answers:
        if answer is not winners[0]:
            answer.refused(90019)
    assert [message["MsgId"] for message in await alice.history(room)] == [winners[0].data["MsgID"]]


async def test_a_repeat_is_answered_though_the_sender_is_gone(api: Api, alice: Person, bob: Person, room: str) -> None:
    first = await alice.send(room, "once", client_msg_id="a")
    earlier = await bob.send(room, "once", client_msg_id="a")
    (await bob.call("leave_conversation", conversation_id=room)).succeeded()
    await kick(api, room, alice)
    assert await alice.send(room, "once", client_msg_id="a") == first
    assert await bob.send(room, "once", client_msg_id="a") == earlier
    for who in (alice, bob):
        fields = {"conversation_id": room, "content": "other"}
        (await who.call("send_msg", **fields, client_msg_id="a")).refused(90019)
        (await who.call("send_msg", **fields, client_msg_id="new")).refused(90015)


async def test_a_repeat_is_answered_though_the_conversation_is_archived(api: Api, alice: Person, room: str) -> None:
    first = await alice.send(room, "once", client_msg_id="a")
    await archive(api, room)
    assert await alice.send(room, "once", client_msg_id="a") == first
    fields = {"conversation_id": room, "content": "other"}
    (await alice.call("send_msg", **fields, client_msg_id="a")).refused(90019)
    (await alice.call("send_msg", **fields, client_msg_id="new")).refused(90016)


async def test_an_id_counts_for_one_session_in_one_conversation(
    api: Api, alice: Person, bob: Person, room: str
) -> None:
    elsewhere = await api.conversation(alice.session, bob.session)
    sent = [
        await alice.send(room, "from alice", client_msg_id="a"),
        await bob.send(room, "from bob", client_msg_id="a"),
        await alice.send(elsewhere, "elsewhere", client_msg_id="a"),
        await api.post(room, "from the system", client_msg_id="a"),
    ]
    assert len({one["MsgID"] for one in sent}) == 4
    assert await api.post(room, "from the system", client_msg_id="a") == sent[3]


async def test_an_id_counts_for_the_session_on_every_platform_and_through_every_door(
    api: Api, alice: Person, room: str
) -> None:
    first = await alice.send(room, "once", client_msg_id="a")
    assert await alice.on(9).send(room, "once", client_msg_id="a") == first
    assert await api.post(room, "once", client_msg_id="a", session=alice.session) == first
    socket = await alice.listen_ws()
    answer = await socket.call("send_msg", {"conversation_id": room, "content": "once", "client_msg_id": "a"})
    assert answer["data"] == first


async def test_ids_are_compared_exactly(alice: Person, room: str) -> None:
    ids = ["a", "A", "a ", " a", "á", "a\u0301", "ａ"]
    sent = [await alice.send(room, "same", client_msg_id=one) for one in ids]
    assert len({one["MsgID"] for one in sent}) == len(ids)


async def test_without_an_id_every_send_is_a_message(alice: Person, room: str) -> None:
    await asyncio.gather(*(alice.send(room, "same") for _ in range(5)))
    assert [message["Seq"] for message in await alice.history(room)] == [1, 2, 3, 4, 5]
