"""Resuming: from any cursor, on any protocol, all that was committed after it, in order, without a gap."""

import asyncio
import random
from collections.abc import Iterable

import pytest

from tests.clients import Api, Message, Person, Protoc, fresh
from tests.contract.test_conversations import kick
from tests.servers import EVERYWHERE

pytestmark = pytest.mark.parametrize("server", [*EVERYWHERE, "daphne"], indirect=True)

PROTOCOLS: tuple[Protoc, ...] = ("ws", "sse", "poll")


def sequence(messages: Iterable[Message]) -> list[int]:
    """Their Seq, in this order."""
    return [message["Seq"] for message in messages]


async def test_a_bare_msgid_resumes_exactly_in_its_conversation_and_goes_on_live(
    alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    sent = [await alice.send(room, f"{number}") for number in range(6)]
    listener = await bob.listen(protoc, since=sent[2]["MsgID"])
    assert sequence(await listener.messages_in(room, 3)) == [4, 5, 6]
    await alice.send(room, "live")
    await listener.messages_in(room, 4)
    await bob.caught_up(listener)
    assert sequence(listener.of(room)) == [4, 5, 6, 7]
    assert listener.of(room) == (await bob.history(room))[3:]


async def test_a_bare_msgid_leaves_no_gap_in_the_other_conversations(
    api: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    others = [await api.conversation(alice.session, bob.session) for _ in range(3)]
    first = await bob.listen(protoc)
    for number in range(4):
        for conversation in (room, *others):
            await alice.send(conversation, f"{number}")
    seen = await first.messages_in(room, 2)
    await first.close()
    second = await bob.listen(protoc, since=seen[1]["MsgId"])
    await second.messages_in(room, 2)
    await bob.caught_up(second)
    for conversation in (room, *others):
        received = sequence(second.of(conversation))
        assert received == list(range(5 - len(received), 5)), "in order, to the end, without a gap"
        assert len(received) >= 2
    assert sequence(second.of(room)) == [3, 4]


@pytest.mark.parametrize("then", PROTOCOLS)
async def test_a_listener_may_go_on_with_another_protocol(
    alice: Person, bob: Person, room: str, protoc: Protoc, then: Protoc
) -> None:
    before = await bob.listen(protoc)
    for number in range(3):
        await alice.send(room, f"{number}")
    await before.messages_in(room, 3)
    await before.close()
    for number in range(3, 6):
        await alice.send(room, f"{number}")
    after = await bob.listen(then, since=before.cursor)
    assert sequence(await after.messages_in(room, 3)) == [4, 5, 6]


async def test_a_browser_resumes_by_last_event_id(alice: Person, bob: Person, room: str) -> None:
    sent = [await alice.send(room, f"{number}") for number in range(5)]
    stream = await bob.listen_sse(last_event_id=sent[1]["MsgID"])
    assert sequence(await stream.messages_in(room, 3)) == [3, 4, 5]


async def test_last_event_id_is_newer_than_the_since_of_the_address(alice: Person, bob: Person, room: str) -> None:
    """A browser reconnects with the address it was given, and says in the header how far it came."""
    sent = [await alice.send(room, f"{number}") for number in range(5)]
    stream = await bob.listen_sse(since=sent[0]["MsgID"], last_event_id=sent[3]["MsgID"])
    await bob.caught_up(stream)
    assert sequence(stream.of(room)) == [5]


async def test_a_cursor_of_polling_serves_last_event_id_too(api: Api, alice: Person, bob: Person, room: str) -> None:
    cursor = (await api.poll(bob.token)).data["Cursor"]
    await alice.send(room, "after")
    stream = await bob.listen_sse(last_event_id=cursor)
    assert sequence(await stream.messages_in(room, 1)) == [1]


async def test_a_resumed_stream_merges_replay_and_live_without_gap_or_repeat(
    alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    position = (await alice.send(room, "position"))["MsgID"]
    await asyncio.gather(*(alice.send(room, "missed") for _ in range(100)))
    sends = asyncio.gather(*(alice.send(room, "live") for _ in range(100)))
    listener = await bob.listen(protoc, since=position)
    await sends
    await listener.messages_in(room, 200, 20)
    await bob.caught_up(listener)
    assert sequence(listener.of(room)) == list(range(2, 202))


async def test_a_resume_brings_nothing_from_before_the_latest_joining(
    api: Api, alice: Person, bob: Person, charlie: Person, room: str, protoc: Protoc
) -> None:
    position = (await alice.send(room, "position"))["MsgID"]
    await alice.send(room, "before charlie")
    (await charlie.call("join_conversation", conversation_id=room)).succeeded()
    await alice.send(room, "with charlie")
    newcomer = await charlie.listen(protoc, since=position)
    assert sequence(await newcomer.messages_in(room, 1)) == [3]
    (await bob.call("leave_conversation", conversation_id=room)).succeeded()
    await alice.send(room, "without bob")
    (await bob.call("join_conversation", conversation_id=room)).succeeded()
    await alice.send(room, "with bob again")
    returned = await bob.listen(protoc, since=position)
    await returned.messages_in(room, 1)
    await bob.caught_up(returned)
    assert sequence(returned.of(room)) == [5]


async def test_no_cursor_brings_anything_of_a_conversation_one_was_kicked_out_of(
    api: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    position = (await alice.send(room, "position"))["MsgID"]
    await alice.send(room, "before the kick")
    await kick(api, room, bob)
    await alice.send(room, "after the kick")
    listener = await bob.listen(protoc, since=position)
    await bob.caught_up(listener)
    assert listener.of(room) == []


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_one_who_roams_between_protocols_ends_with_exactly_history(api: Api, seed: int) -> None:
    choice = random.Random(seed)
    people = [Person(api, fresh(f"person{number}")) for number in range(4)]
    conversations = [await api.conversation(*(who.session for who in people)) for _ in range(3)]
    roamer = people[0]
    total = len(people) * 40

    async def talk(who: Person, offset: int) -> None:
        for number in range(40):
            await who.send(conversations[(number + offset) % 3], f"{number}")

    first = await roamer.listen("poll")  # an exact "now" before the first message
    talking = asyncio.gather(*(talk(who, offset) for offset, who in enumerate(people)))
    seen: dict[str, list[Message]] = {conversation: [] for conversation in conversations}
    listener, drops = first, 0
    while sum(map(len, seen.values())) < total:
        await listener.wait_until(lambda current=listener: bool(current.messages))  # type: ignore[misc]
        patience = choice.randrange(1, 12)
        for _ in range(patience):
            await asyncio.sleep(0)
        await listener.close()
        within: set[str] = set()
        for message in listener.messages:
            assert message["MsgId"] not in within, "a repeat within one connection"
            within.add(message["MsgId"])
            known = seen[message["ConversationID"]]
            if message["Seq"] > len(known):
                assert message["Seq"] == len(known) + 1, f"a gap after {drops} drops: {listener!r}"
                known.append(message)
            else:
                assert known[message["Seq"] - 1] == message
        if sum(map(len, seen.values())) < total:
            listener, drops = await roamer.listen(choice.choice(PROTOCOLS), since=listener.cursor), drops + 1
    await talking
    assert drops >= 5
    for conversation in conversations:
        assert seen[conversation] == await roamer.history(conversation)
