"""A poll's cursor: what it stands for while messages are under way that this node has not heard of."""

import asyncio
import dataclasses
import json
from typing import Any

import pytest
from django.conf import settings

from gateway.claims import Identity
from gateway.cursor import MAX_CHARACTERS, parse
from gateway.transports.poll import answer_poll
from messaging.ledger import ledger
from messaging.message import NewMessage
from messaging.models import Message
from quickim.database import in_database
from quickim.rest.callers import Caller
from tests.gateway.in_process import InProcess

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that finds nothing ends soon."""
    monkeypatch.setattr(settings, "QUICKIM", dataclasses.replace(settings.QUICKIM, poll_wait_seconds=0.3))


async def poll(cursor: str | None, session: str = "bob") -> dict[str, Any]:
    """One poll's data."""
    response = await answer_poll(Identity(Caller(session, 1), 2**40), parse(cursor) if cursor else None)
    answer: dict[str, Any] = json.loads(response.content)["data"]
    assert len(answer["Cursor"]) <= MAX_CHARACTERS
    return answer


async def waiting_poll(world: InProcess, cursor: str | None) -> "asyncio.Task[dict[str, Any]]":
    """A poll that has begun to wait."""
    task = asyncio.create_task(poll(cursor))
    while "bob" not in world.hub.sessions and not task.done():  # noqa: ASYNC110  # nothing tells it from outside
        await asyncio.sleep(0.001)
    return task


def let_go(world: InProcess, cursor: str, session: str = "bob") -> None:
    """What is kept of the chain that is at ``cursor`` is gone, as on another node."""
    kept = world.node.kept_polls.take(Caller(session, 1), cursor)
    assert kept is not None
    kept.let_go()


def texts(answer: dict[str, Any]) -> list[str]:
    """The contents it brought."""
    return [message["Content"] for message in answer["Msg"]]


async def test_what_its_node_heard_of_later_comes_with_a_later_poll(world: InProcess) -> None:
    here, elsewhere = await world.create("alice", "bob"), await world.create("alice", "bob")
    cursor = (await poll(None))["Cursor"]
    waiting = await waiting_poll(world, cursor)
    with world.unheard():
        await world.send(elsewhere, "alice", "unheard")
    world.clock.advance(0.5)
    await world.send(here, "alice", "heard")
    first = await waiting
    await world.sweep()
    second = await poll(first["Cursor"])
    third = await poll(second["Cursor"])
    assert [texts(answer) for answer in (first, second, third)] == [["heard"], ["unheard"], []]


async def test_what_was_brought_is_not_repeated_by_another_node(
    world: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = [await world.create("alice", "bob") for _ in range(3)]
    cursor = (await poll(None))["Cursor"]
    for count in range(9):
        await world.send(rooms[count % 3], "alice", str(count))
        world.clock.advance(0.4)
    first = await poll(cursor)
    assert texts(first) == [str(count) for count in range(9)]
    other = InProcess(world.clock)
    await other.start()
    monkeypatch.setattr("gateway.node._node", other.node)
    try:
        assert (await poll(first["Cursor"]))["Msg"] == []
    finally:
        await other.stop()


async def test_many_busy_conversations_cut_an_answer_short_and_lose_nothing(world: InProcess) -> None:
    rooms = [await world.create("alice", "bob") for _ in range(200)]
    cursor = (await poll(None))["Cursor"]
    for count, room in enumerate(rooms):
        await world.send(room, "alice", str(count))
    # The clock stands still: on PostgreSQL all have the same tick, as in one batch; on SQLite each has its own.
    in_order = await world.do(lambda: list(Message.objects.order_by("msg_id").values_list("content", flat=True)))
    brought: list[str] = []
    answers = 0
    while len(brought) < len(rooms):
        answer = await poll(cursor)
        cursor = answer["Cursor"]
        brought += texts(answer)
        answers += 1
        assert answers < len(rooms), f"it came to a stop after {len(brought)} messages"
        if not answer["Msg"]:
            # Too many positions for 512 characters: once a sweep has moved the watermark, they need no place.
            world.clock.advance(3)
            await world.sweep()
    assert brought == in_order
    assert answers > 1


async def test_a_notice_that_was_told_is_not_repeated(world: InProcess) -> None:
    cursor = (await poll(None))["Cursor"]
    await world.create("alice", "bob")
    first = await poll(cursor)
    assert [notice["Event"] for notice in first["Event"]] == ["conversation.joined"]
    second = await poll(first["Cursor"])
    assert (second["Event"], second["Msg"]) == ([], [])


async def test_what_was_committed_below_a_page_after_it_was_read_is_not_stepped_over(
    world: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite, where one counter serves all conversations, nothing can be committed below."""
    here, elsewhere = await world.create("alice", "bob"), await world.create("alice", "bob")
    cursor = (await poll(None))["Cursor"]
    world.clock.advance(10)
    for count in range(4):
        await world.send(here, "alice", str(count))
        world.clock.advance(0.1)
    read = in_database

    async def slow_read(*args: Any) -> Any:
        page = await read(*args)
        monkeypatch.setattr("gateway.replay.in_database", read)
        world.clock.advance(-0.3)
        await ledger().send(NewMessage(elsewhere, "alice", 0, 0, "below"))
        world.clock.advance(5)
        await world.node.sweep.once()
        slow_reads.append(page)
        return page

    slow_reads: list[Any] = []
    monkeypatch.setattr("gateway.replay.in_database", slow_read)
    let_go(world, cursor)
    monkeypatch.setattr("gateway.transports.poll_connection.MAX_MESSAGES", 3)
    brought: list[str] = []
    for _ in range(4):
        answer = await poll(cursor)
        cursor = answer["Cursor"]
        brought += texts(answer)
    assert len(slow_reads) == 1
    assert sorted(brought) == ["0", "1", "2", "3", "below"]
