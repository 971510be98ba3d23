"""Live delivery, the same scenarios on every protocol, server and back end."""

import asyncio

import pytest

from tests.clients import Api, Person, Protoc, fresh
from tests.contract.test_conversations import archive, delete, kick
from tests.servers import EVERYWHERE

pytestmark = pytest.mark.parametrize("server", [*EVERYWHERE, "daphne", "daphne nodes"], indirect=True)


async def test_every_member_receives_a_message_as_history_has_it_its_sender_too(
    alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    listeners = await asyncio.gather(*(who.listen(protoc) for who in (alice, bob)))
    await alice.send(room, "hello", type=3, status=-4)
    (stored,) = await alice.history(room)
    for listener in listeners:
        assert await listener.message() == stored


async def test_a_stranger_receives_nothing(alice: Person, charlie: Person, room: str, protoc: Protoc) -> None:
    listener = await charlie.listen(protoc)
    await alice.send(room, "secret")
    await charlie.caught_up(listener)
    assert listener.of(room) == []
    assert listener.notices_of(room) == []


async def test_who_joins_is_live_without_reconnecting_from_his_joining_on(
    alice: Person, charlie: Person, room: str, protoc: Protoc
) -> None:
    listener = await charlie.listen(protoc)
    await alice.send(room, "before")
    (await charlie.call("join_conversation", conversation_id=room)).succeeded()
    await alice.send(room, "after")
    message = await listener.message()
    assert (message["Content"], message["Seq"]) == ("after", 2)
    (await charlie.call("join_conversation", conversation_id=room)).succeeded()
    await alice.send(room, "later")
    assert [one["Seq"] for one in await listener.messages_in(room, 2)] == [2, 3]


async def test_who_is_added_by_the_back_end_is_live(
    api: Api, alice: Person, charlie: Person, room: str, protoc: Protoc
) -> None:
    listener = await charlie.listen(protoc)
    (await api.inner("join_conversation", conversation_id=room, sessions=[charlie.session])).succeeded()
    await alice.send(room, "welcome")
    assert (await listener.message())["Content"] == "welcome"


async def test_who_leaves_receives_nothing_more(alice: Person, bob: Person, room: str, protoc: Protoc) -> None:
    listener = await bob.listen(protoc)
    await alice.send(room, "before")
    await listener.messages_in(room, 1)
    (await bob.call("leave_conversation", conversation_id=room)).succeeded()
    await alice.send(room, "after")
    await bob.caught_up(listener)
    assert listener.texts(room) == ["before"]


async def test_who_is_kicked_receives_nothing_more(
    api: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    listener = await bob.listen(protoc)
    await alice.send(room, "before")
    # A poll may be between two requests, and after a kick no cursor brings what was committed before it.
    await listener.messages_in(room, 1)
    await kick(api, room, bob)
    for number in range(5):
        await alice.send(room, f"after {number}")
    await bob.caught_up(listener)
    assert listener.texts(room) == ["before"]


async def test_a_kick_amid_traffic_cuts_at_one_seq(api: Api, alice: Person, bob: Person, room: str) -> None:
    listeners = [await bob.listen(protoc) for protoc in ("ws", "sse")]
    sends = asyncio.gather(*(alice.send(room, f"{number}") for number in range(60)))
    await listeners[0].messages_in(room, 5)
    await kick(api, room, bob)
    last = (await alice.call("get_lastone_msgid", conversation_id=room)).data["MsgId"]
    await sends
    await bob.caught_up(*listeners)
    for listener in listeners:
        received = [message["Seq"] for message in listener.of(room)]
        assert received == list(range(1, len(received) + 1))
        assert listener.of(room)[-1]["MsgId"] <= last, "committed after the kick had been answered"


async def test_who_returns_receives_from_his_latest_joining_on(
    alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    listener = await bob.listen(protoc)
    (await bob.call("leave_conversation", conversation_id=room)).succeeded()
    await alice.send(room, "while away")
    (await bob.call("join_conversation", conversation_id=room)).succeeded()
    await alice.send(room, "back again")
    message = await listener.message()
    assert (message["Content"], message["Seq"]) == ("back again", 2)


async def test_a_conversation_created_while_connected_is_live(alice: Person, bob: Person, protoc: Protoc) -> None:
    listeners = await asyncio.gather(*(who.listen(protoc) for who in (alice, bob)))
    created = (await alice.call("create_conversation", conversation_type=2, sessions=[bob.session])).data
    sent = await bob.send(created["ConversationId"], "first")
    for listener in listeners:
        message = await listener.message()
        assert (message["MsgId"], message["Seq"]) == (sent["MsgID"], 1)


async def test_a_deleted_conversation_is_silent_until_it_is_restored(
    api: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    listener = await bob.listen(protoc)
    await alice.send(room, "one")
    await delete(api, room)
    (await alice.call("send_msg", conversation_id=room, content="lost")).refused(90014)
    await delete(api, room, is_delete=False)
    await alice.send(room, "two")
    assert [one["Seq"] for one in await listener.messages_in(room, 2)] == [1, 2]


async def test_who_came_back_while_it_was_deleted_gets_what_he_missed_when_it_is_restored(
    api: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    seen = await alice.send(room, "seen")
    await alice.send(room, "missed")
    await delete(api, room)
    listener = await bob.listen(protoc, since=seen["MsgID"])
    await listener.notice("conversation.deleted", room)
    await bob.caught_up(listener)
    assert listener.of(room) == []
    await delete(api, room, is_delete=False)
    await alice.send(room, "after")
    assert [one["Seq"] for one in await listener.messages_in(room, 2)] == [2, 3]


async def test_an_archived_conversation_still_delivers_the_system(
    api: Api, bob: Person, room: str, protoc: Protoc
) -> None:
    listener = await bob.listen(protoc)
    await archive(api, room)
    await api.post(room, "closed, thank you")
    message = await listener.message()
    assert (message["Content"], message["FromSession"]) == ("closed, thank you", "")


async def test_every_connection_of_a_session_gets_everything(alice: Person, bob: Person, room: str) -> None:
    places = [
        bob.listen("ws"),
        bob.listen("ws"),
        bob.on(2).listen("ws"),
        bob.listen("sse"),
        bob.on(3).listen("sse"),
        bob.listen("poll"),
        bob.on(4).listen("poll"),
    ]
    listeners = await asyncio.gather(*places)
    for number in range(10):
        await alice.send(room, f"{number}")
    for listener in listeners:
        await listener.messages_in(room, 10)
    await bob.caught_up(*listeners)
    for listener in listeners:
        assert listener.texts(room) == [f"{number}" for number in range(10)]


async def test_a_burst_arrives_complete_and_in_order(alice: Person, bob: Person, room: str, protoc: Protoc) -> None:
    listener = await bob.listen(protoc)
    await alice.pour(room, [f"{number}" for number in range(300)])
    assert await listener.messages_in(room, 300, 20) == await bob.history(room)
    assert [message["Seq"] for message in listener.of(room)] == list(range(1, 301))


async def test_twenty_senders_in_five_conversations_are_one_order_for_all(api: Api) -> None:
    people = [Person(api, fresh(f"person{number}")) for number in range(20)]
    conversations = [await api.conversation(*(who.session for who in people)) for _ in range(5)]
    listeners = await asyncio.gather(*(who.listen(protoc) for who in people[:3] for protoc in ("ws", "sse", "poll")))

    async def talk(who: Person, offset: int) -> None:
        for number in range(10):
            await who.send(conversations[(number + offset) % 5], f"{who.session} {number}")

    await asyncio.gather(*(talk(who, offset) for offset, who in enumerate(people)))
    for conversation in conversations:
        history = await people[0].history(conversation)
        assert [message["Seq"] for message in history] == list(range(1, 41))
        for listener in listeners:
            assert await listener.messages_in(conversation, 40, 20) == history
