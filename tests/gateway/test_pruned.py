"""Messages that are not kept any more: whoever missed one is told ``reset`` once, whoever had them all is not."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from conversations import services
from conversations.models import Conversation
from gateway import entrance, replay
from gateway.cursor import Cursor, parse
from gateway.resume import SessionLoad, load_session
from messaging import msgid
from messaging.append import append_batch
from messaging.message import Committed, NewMessage, Outcome
from messaging.retention import Pruned, prune, select
from quickim.database import in_database
from tests.gateway.in_process import Clock, InProcess, use_clock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The database's clock, moved by the test."""
    clock = Clock()
    use_clock(monkeypatch, clock)
    return clock


@pytest_asyncio.fixture
async def node(clock: Clock) -> AsyncIterator[InProcess]:
    """A node that listens."""
    node = InProcess(clock)
    await node.start()
    yield node
    await node.stop()


@pytest_asyncio.fixture
async def room(node: InProcess) -> str:
    """A conversation of alice and bob, a minute old."""
    room = await node.create("alice", "bob")
    node.clock.advance(60)
    return room


async def say(node: InProcess, room: str, texts: str, seconds_apart: float = 20) -> list[str]:
    """Sends one message for each character, so far apart that a bare MsgId tells them apart; returns the MsgIds."""
    ids = []
    for text in texts:
        ids.append((await node.send(room, "alice", text)).msg_id)
        node.clock.advance(seconds_apart)
        await node.sweep()
    return ids


def prune_now(age_seconds: float, room: str = "") -> int:
    """How many messages of that age went."""
    done = Pruned()
    list(prune(select(int(age_seconds * 1_000_000), room), done))
    return done.messages


async def prune_older(node: InProcess, age_seconds: float, room: str = "") -> int:
    """The same, beside the event loop."""
    return await in_database(prune_now, age_seconds, room)


async def loaded(session: str, cursor: Cursor) -> SessionLoad:
    """Where it stands."""
    return await in_database(load_session, session, cursor)


def cursor_at(clock: Clock, **more: Any) -> Cursor:
    """A poll's cursor whose watermark is just before now."""
    return Cursor(msgid.tick_at(clock.now) - 1, **more)


async def number_of(room: str) -> int:
    """The conversation's number."""
    return (await in_database(Conversation.objects.get, public_id=room)).pk


async def test_a_cursor_before_what_was_pruned_starts_anew_and_one_behind_it_does_not(
    node: InProcess, room: str, clock: Clock
) -> None:
    cursors = [cursor_at(clock)]
    for text in "12345":
        await say(node, room, text)
        cursors.append(cursor_at(clock))
    # Each message is 20 s older than the next: the first three go.
    assert await prune_older(node, 50) == 3
    loads = [await loaded("bob", cursor) for cursor in cursors]
    assert [load.is_reset for load in loads] == [True, True, True, False, False, False]
    assert [load.seats[0].position for load in loads[3:]] == [3, 4, 5]


async def test_the_same_holds_when_nothing_is_left(node: InProcess, room: str, clock: Clock) -> None:
    before = cursor_at(clock)
    await say(node, room, "12")
    after = cursor_at(clock)
    assert await prune_older(node, 0) == 2
    assert [(await loaded("bob", cursor)).is_reset for cursor in (before, after)] == [True, False]
    await say(node, room, "3")
    assert [(await loaded("bob", cursor)).is_reset for cursor in (before, after)] == [True, False]
    assert (await loaded("bob", after)).seats[0].position == 2


async def test_a_msgid_is_exact_even_when_it_is_the_last_that_was_pruned(node: InProcess, room: str) -> None:
    # A second apart: a cursor that is ten seconds early would stand before what was pruned.
    ids = await say(node, room, "12345", seconds_apart=1)
    assert await prune_older(node, 2.5) == 3
    loads = [await loaded("bob", parse(one)) for one in ids]
    assert [load.is_reset for load in loads] == [True, True, False, False, False]
    assert [load.seats[0].position for load in loads[2:]] == [3, 4, 5]
    assert all(load.seats[0].is_exact for load in loads[2:])


async def test_a_named_position_decides_also_above_the_watermark(node: InProcess, room: str, clock: Clock) -> None:
    number, early = await number_of(room), cursor_at(clock)
    await say(node, room, "12345")
    assert await prune_older(node, 50) == 3
    told = [
        (await loaded("bob", Cursor(early.tick, positions={number: position}))).is_reset for position in range(1, 6)
    ]
    assert told == [True, True, False, False, False]


async def test_what_lies_below_the_watermark_is_not_missed_again(node: InProcess, room: str, clock: Clock) -> None:
    """A poll that was told ``reset`` in the middle of a replay has a cursor that still names where it was."""
    number = await number_of(room)
    await say(node, room, "12345")
    cursor = cursor_at(clock, positions={number: 1})
    assert await prune_older(node, 50) == 3
    load = await loaded("bob", cursor)
    assert (load.is_reset, load.seats[0].position) == (False, 3)


async def test_one_conversation_of_many_is_enough(node: InProcess, room: str, clock: Clock) -> None:
    other = await node.create("alice", "bob")
    before = cursor_at(clock)
    await say(node, room, "1")
    between = cursor_at(clock)
    await say(node, other, "1")
    await prune_older(node, 0, room)
    assert (await loaded("bob", before)).is_reset
    load = await loaded("bob", between)
    assert not load.is_reset
    assert sum(seat.last_seq - seat.position for seat in load.seats) == 1


async def test_what_was_pruned_from_before_the_joining_or_is_deleted_is_nobodys_loss(
    node: InProcess, room: str, clock: Clock
) -> None:
    cursor = cursor_at(clock)
    await say(node, room, "12")
    await node.do(services.join_conversation, room, ["charlie"])
    await say(node, room, "3")
    await prune_older(node, 30)
    assert not (await loaded("charlie", cursor)).is_reset
    await prune_older(node, 0)
    assert (await loaded("charlie", cursor)).is_reset
    await node.do(services.set_deleted, [room], True)
    assert not (await loaded("charlie", cursor)).is_reset


@pytest.fixture
def between_pages(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Has something done between the first and the second page of a replay; a page is two messages."""
    monkeypatch.setattr(replay, "PAGE_MESSAGES", 2)

    def arrange(deed: Callable[[], object]) -> None:
        pages = 0

        async def read(function: Callable[..., Any], *args: Any) -> Any:
            nonlocal pages
            pages += 1
            if pages == 2:
                await in_database(deed)
            return await in_database(function, *args)

        monkeypatch.setattr(replay, "in_database", read)

    return arrange


async def test_a_replay_that_is_overtaken_is_told_and_goes_on_live(
    node: InProcess, room: str, clock: Clock, between_pages: Callable[[Callable[[], object]], None]
) -> None:
    other = await node.create("alice", "bob")
    clock.advance(1)
    cursor = cursor_at(clock)
    await say(node, room, "123456")
    await say(node, other, "a")
    between_pages(lambda: prune_now(50, room))
    reader = await node.connect("bob", cursor)
    assert reader.texts == ["1", "2"]
    assert reader.events == ["reset"]
    assert reader.received[-1] == {"Event": "reset"}
    await say(node, other, "b")
    await say(node, room, "7")
    assert (reader.texts, reader.events) == (["1", "2", "b", "7"], ["reset"])


async def test_a_replay_that_is_ahead_of_the_pruning_notices_nothing(
    node: InProcess, room: str, clock: Clock, between_pages: Callable[[Callable[[], object]], None]
) -> None:
    cursor = cursor_at(clock)
    await say(node, room, "123456")
    between_pages(lambda: prune_now(90, room))
    reader = await node.connect("bob", cursor)
    assert (reader.texts, reader.events) == (list("123456"), [])


async def test_a_replay_is_not_told_of_what_was_pruned_from_before_a_new_joining(
    node: InProcess, room: str, clock: Clock, between_pages: Callable[[Callable[[], object]], None]
) -> None:
    cursor = cursor_at(clock)
    await say(node, room, "123456")

    def leave_rejoin_and_prune() -> None:
        services.leave_conversation(room, "bob")
        services.join_conversation(room, ["bob"])
        assert prune_now(50, room) == 4

    between_pages(leave_rejoin_and_prune)
    with node.unheard():
        reader = await node.connect("bob", cursor)
    assert (reader.texts, reader.events) == (["1", "2"], [])


async def test_what_this_node_did_not_hear_of_and_is_gone_is_passed_with_a_reset(
    node: InProcess, room: str, clock: Clock
) -> None:
    reader = await node.connect("bob")
    with node.unheard():
        for text in "12":
            await node.send(room, "alice", text)
    clock.advance(20)
    assert await prune_older(node, 10) == 2
    await say(node, room, "3")
    assert (reader.texts, reader.events) == (["3"], ["reset"])
    assert reader.received[0] == {"Event": "reset"}


async def test_nobody_is_told_of_a_loss_that_is_none_to_him(node: InProcess, room: str, clock: Clock) -> None:
    number = await number_of(room)
    reader = await node.connect("bob")
    cursor = cursor_at(clock)
    with node.unheard():
        for text in "12":
            await node.send(room, "alice", text)
    clock.advance(20)
    # He roamed here from a node that had given him both.
    cursor = Cursor(cursor.tick, positions={number: 2})
    load = await entrance.load("bob", cursor)
    assert await prune_older(node, 10) == 2
    ahead = await node.enter("bob", load, cursor)
    await node.settled()
    await say(node, room, "3")
    assert (ahead.texts, ahead.events) == (["3"], [])
    assert (reader.texts, reader.events) == (["3"], ["reset"])


async def test_a_replaying_reader_is_told_once_of_a_hole_in_the_live_stream(
    node: InProcess, room: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursor = cursor_at(clock)
    await say(node, room, "12")
    number = await number_of(room)

    def unheard(text: str) -> Outcome:
        (outcome,) = append_batch([NewMessage(room, "alice", 0, 0, text)])
        return outcome

    async def read(function: Callable[..., Any], *args: Any) -> Any:
        monkeypatch.setattr(replay, "in_database", in_database)
        await in_database(unheard, "3")
        clock.advance(20)
        await prune_older(node, 10)
        heard = await in_database(unheard, "4")
        assert isinstance(heard, Committed)
        node.hub.receive([heard])
        await node.hub.repairs.level(node.hub.rooms[number])
        assert node.hub.rooms[number].delivered == 3, "the hole was passed; 4 waits for the sweep"
        return await in_database(function, *args)

    monkeypatch.setattr(replay, "in_database", read)
    reader = await node.connect("bob", cursor)
    assert (reader.texts, reader.events) == ([], ["reset"])
    await say(node, room, "5")
    assert (reader.texts, reader.events) == (["4", "5"], ["reset"])


async def test_those_who_have_everything_notice_nothing(node: InProcess, room: str) -> None:
    reader = await node.connect("bob")
    for text in "123":
        await say(node, room, text)
        await prune_older(node, 0)
    assert (reader.texts, reader.events) == (list("123"), [])
