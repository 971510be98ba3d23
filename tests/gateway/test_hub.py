"""The hub's laws where the black-box tests cannot aim: facts that are unheard, late, or overtaken by a connection."""

import asyncio
import random
import threading
from typing import Any

import pytest

from conversations import services
from gateway import entrance
from gateway.cursor import parse
from gateway.members import RoomView, read_room_view
from messaging import msgid
from messaging.message import MessagesCommitted
from tests.gateway.in_process import InProcess, Reader

pytestmark = pytest.mark.asyncio


async def test_a_joining_that_was_unheard_is_found_by_the_sweep(world: InProcess) -> None:
    bob = await world.connect("bob")
    with world.unheard():
        room = await world.create("alice", "bob")
    await world.sweep()
    await world.send(room, "alice", "hello")
    assert (bob.events, bob.texts) == (["conversation.joined"], ["hello"])


async def test_a_room_opened_by_another_session_hides_no_unheard_joining(world: InProcess) -> None:
    bob = await world.connect("bob")
    with world.unheard():
        room = await world.create("alice", "bob")
    alice = await world.connect("alice")
    await world.sweep()
    await world.send(room, "alice", "hello")
    assert alice.texts == ["hello"]
    assert (bob.events, bob.texts) == (["conversation.joined"], ["hello"])


async def test_a_second_connection_hides_no_unheard_joining_from_the_first(world: InProcess) -> None:
    first = await world.connect("bob")
    with world.unheard():
        room = await world.create("alice", "bob")
        await world.send(room, "alice", "missed")
    second = await world.connect("bob")
    await world.sweep()
    await world.send(room, "alice", "hello")
    assert second.texts == ["hello"]
    assert first.events == ["conversation.joined"]
    assert first.texts == ["missed", "hello"]


async def test_a_fact_that_comes_after_its_room_was_opened_still_seats_its_sessions(world: InProcess) -> None:
    bob = await world.connect("bob")
    with world.held_facts() as facts:
        room = await world.create("alice", "bob")
    await world.connect("alice")
    await world.tell(facts[0])
    await world.sweep()
    await world.send(room, "alice", "hello")
    assert (bob.events, bob.texts) == (["conversation.joined"], ["hello"])


async def test_a_later_joining_that_is_heard_hides_no_earlier_one_that_was_not(world: InProcess) -> None:
    bob, charlie = await world.connect("bob"), await world.connect("charlie")
    room = await world.create("alice")
    with world.unheard():
        await world.do(services.join_conversation, room, ["bob"])
    await world.do(services.join_conversation, room, ["charlie"])
    await world.sweep()
    await world.send(room, "alice", "hello")
    assert charlie.texts == ["hello"]
    assert "conversation.joined" in bob.events
    assert bob.texts == ["hello"]


async def test_a_joining_that_a_loading_connection_overtook_is_found_by_the_sweep(world: InProcess) -> None:
    room = await world.create("alice")
    await world.connect("alice")
    loaded = await entrance.load("bob", None)
    with world.unheard():
        await world.do(services.join_conversation, room, ["bob"])
    await world.sweep()
    bob = await world.enter("bob", loaded)
    await world.sweep()
    await world.send(room, "alice", "hello")
    assert bob.texts == ["hello"]


async def test_the_watermark_does_not_pass_a_joining_that_is_not_handed_out_yet(
    world: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    database_answers = threading.Event()

    def slow_read(number: int, since_version: int) -> RoomView | None:
        assert database_answers.wait(20)
        return read_room_view(number, since_version)

    bob = await world.connect("bob")
    with world.unheard():
        room = await world.create("alice", "bob")
        await world.send(room, "alice", "missed")
    happened = msgid.tick_at(world.clock.now)
    monkeypatch.setattr("gateway.repair.read_room_view", slow_read)
    world.clock.advance(5)
    sweep = asyncio.create_task(world.node.sweep.once())
    await asyncio.wait({sweep}, timeout=0.5)
    assert bob.received == []
    assert world.hub.watermark < happened
    database_answers.set()
    await sweep
    await world.settled()
    assert bob.texts == ["missed"]


async def test_a_removed_member_is_given_nothing_that_was_committed_later(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    bob = await world.connect("bob")
    await world.send(room, "alice", "before")
    with world.unheard():
        await world.do(services.kick_out, room, ["bob"])
    # Not even when only the message is heard of: it carries the newer member_version.
    await world.send(room, "alice", "after")
    assert bob.texts == ["before"]
    assert bob.events == ["conversation.left"]


async def test_a_hole_is_filled_from_the_database(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    bob = await world.connect("bob")
    with world.unheard():
        await world.send(room, "alice", "1")
        await world.send(room, "alice", "2")
    await world.send(room, "alice", "3")
    assert bob.texts == ["1", "2", "3"]


async def test_messages_that_arrive_in_the_wrong_order_are_delivered_in_the_right_one(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    bob = await world.connect("bob")
    with world.held_facts() as facts:
        for text in ("1", "2", "3"):
            await world.send(room, "alice", text)
    for fact in (facts[2], facts[0], facts[2], facts[1]):
        world.node._tell(fact)
    assert bob.texts == ["1", "2", "3"]
    await world.settled()
    assert bob.texts == ["1", "2", "3"]


async def test_nothing_is_delivered_far_ahead_of_the_watermark(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    bob = await world.connect("bob")
    world.clock.advance(11)
    await world.send(room, "alice", "ahead")
    assert bob.texts == []
    await world.sweep()
    assert bob.texts == ["ahead"]


async def test_a_node_that_has_not_swept_for_long_catches_up_before_it_lets_anybody_in(world: InProcess) -> None:
    old = await world.create("alice", "bob")
    await world.connect("alice")
    seen = await world.send(old, "alice", "seen")
    with world.unheard():
        await world.send(old, "alice", "long ago")
        world.clock.advance(30)
        new = await world.create("bob")
        await world.send(new, "bob", "now")
    bob = await world.connect("bob", parse(seen.msg_id))
    # Had "now" come first, resuming from it would have passed over what is thirty seconds older.
    assert bob.texts == ["long ago", "now"]


async def test_a_msgid_resumes_by_seq_in_its_own_conversation_and_early_in_others(world: InProcess) -> None:
    first, second = await world.create("alice", "bob"), await world.create("alice", "bob")
    await world.send(second, "alice", "long ago")
    world.clock.advance(11)
    await world.sweep()
    await world.send(second, "alice", "just before")
    seen = await world.send(first, "alice", "seen")
    await world.send(first, "alice", "missed")
    bob = await world.connect("bob", parse(seen.msg_id))
    assert bob.texts == ["just before", "missed"]


async def test_a_stale_load_is_read_again(world: InProcess) -> None:
    loaded = await entrance.load("bob", None)
    room = await world.create("alice", "bob")
    assert not world.hub.attach(Reader("bob"), loaded)
    bob = await world.enter("bob", loaded)
    await world.send(room, "alice", "hello")
    assert bob.texts == ["hello"]


async def test_a_detached_session_leaves_nothing_behind(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    readers = [await world.connect(session) for session in ("alice", "bob", "bob")]
    await world.send(room, "alice", "hello")
    for reader in readers:
        world.hub.detach(reader)
    state: dict[str, Any] = {"rooms": world.hub.rooms, "sessions": world.hub.sessions, "of": world.hub.rooms_of}
    assert state == {"rooms": {}, "sessions": {}, "of": {}}


async def test_who_was_removed_amid_a_batch_is_given_what_came_before(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    alice, bob = await world.connect("alice"), await world.connect("bob")
    with world.held_facts() as facts:
        await world.send(room, "alice", "before")
        await world.do(services.kick_out, room, ["bob"])
        await world.send(room, "alice", "after")
    committed = [item for fact in facts if isinstance(fact, MessagesCommitted) for item in fact.committed]
    await world.tell(MessagesCommitted(tuple(committed)))
    assert alice.texts == ["before", "after"]
    assert bob.texts == ["before"]


async def test_a_batch_of_several_conversations_is_given_in_each_ones_order(world: InProcess) -> None:
    rooms = [await world.create("alice", "bob") for _ in range(2)]
    bob = await world.connect("bob")
    with world.held_facts() as facts:
        for number in range(6):
            await world.send(rooms[number % 2], "alice", f"{number % 2}.{number // 2}")
    committed = [item for fact in facts for item in fact.committed]
    random.Random(1).shuffle(committed)
    await world.tell(MessagesCommitted(tuple(committed)))
    for number in range(2):
        assert [text for text in bob.texts if text[0] == str(number)] == [f"{number}.{turn}" for turn in range(3)]
