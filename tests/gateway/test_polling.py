"""A poll's cursor: what it stands for while messages are under way that this node has not heard of."""

import asyncio
import dataclasses
import json
from typing import Any

import pytest
from django.conf import settings

from gateway.cursor import MAX_CHARACTERS, parse
from gateway.tokens import Identity
from gateway.transports.poll import answer_poll
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
    brought: list[str] = []
    answers = 0
    while len(brought) < len(rooms):
        answer = await poll(cursor)
        cursor = answer["Cursor"]
        brought += texts(answer)
        answers += 1
        if not answer["Msg"]:
            # Too many positions for 512 characters: once a sweep has moved the watermark, they need no place.
            world.clock.advance(3)
            await world.sweep()
    assert brought == [str(count) for count in range(200)]
    assert answers > 1


async def test_a_notice_that_was_told_is_not_repeated(world: InProcess) -> None:
    cursor = (await poll(None))["Cursor"]
    await world.create("alice", "bob")
    first = await poll(cursor)
    assert [notice["Event"] for notice in first["Event"]] == ["conversation.joined"]
    second = await poll(first["Cursor"])
    assert (second["Event"], second["Msg"]) == ([], [])
