"""A chain of polls goes on where it was without the database, and never differs from one that goes back to it."""

import asyncio
import dataclasses
import json
import time
from typing import Any

import pytest
from django.conf import settings

from conversations import services
from gateway import entrance, kept
from gateway.claims import Identity
from gateway.cursor import parse
from gateway.revocation import revoke
from gateway.transports.poll import answer_poll
from messaging.redaction import redact_message
from quickim.errors import TooManyRequests
from quickim.rest.callers import Caller
from tests.gateway.in_process import InProcess

pytestmark = pytest.mark.asyncio

BOB = Identity(Caller("bob", 1), 2**40)


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that finds nothing ends soon; a session has one connection."""
    limits = dataclasses.replace(settings.QUICKIM, poll_wait_seconds=0.2, max_connections_per_session=1)
    monkeypatch.setattr(settings, "QUICKIM", limits)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sessions that were read from the database by a poll."""
    read: list[str] = []
    load = entrance.load

    async def counted(session: str, cursor: Any) -> Any:
        read.append(session)
        return await load(session, cursor)

    monkeypatch.setattr(entrance, "load", counted)
    return read


async def poll(cursor: str | None, identity: Identity = BOB) -> dict[str, Any]:
    """One poll's data."""
    response = await answer_poll(identity, parse(cursor) if cursor else None)
    answer: dict[str, Any] = json.loads(response.content)["data"]
    return answer


def texts(answer: dict[str, Any]) -> list[str]:
    """The contents it brought."""
    return [message["Content"] for message in answer["Msg"]]


async def test_a_chain_reads_the_database_once(world: InProcess, loads: list[str]) -> None:
    room = await world.create("alice", "bob")
    cursor, brought = (await poll(None))["Cursor"], []
    for count in range(5):
        await world.send(room, "alice", f"{count} a")
        await world.send(room, "alice", f"{count} b")
        answer = await poll(cursor)
        cursor = answer["Cursor"]
        brought += texts(answer)
    assert brought == [f"{count} {half}" for count in range(5) for half in "ab"]
    assert loads == ["bob"]


async def test_an_answer_that_was_lost_is_given_again(world: InProcess, loads: list[str]) -> None:
    room = await world.create("alice", "bob")
    cursor = (await poll(None))["Cursor"]
    await world.send(room, "alice", "one")
    lost = await poll(cursor)
    await world.send(room, "alice", "two")
    again = await poll(cursor)
    assert (texts(lost), texts(again)) == (["one"], ["one", "two"])
    # The way that was not taken is still open, and says the same.
    assert texts(await poll(lost["Cursor"])) == ["two"]
    assert loads == ["bob", "bob"]


async def test_what_gathered_is_not_given_after_a_kick(world: InProcess) -> None:
    room, other = await world.create("alice", "bob"), await world.create("alice", "bob")
    cursor = (await poll(None))["Cursor"]
    await world.send(room, "alice", "before the kick")
    await world.send(other, "alice", "elsewhere")
    await world.do(services.kick_out, room, ["bob"])
    answer = await poll(cursor)
    assert texts(answer) == ["elsewhere"]
    assert [notice["Event"] for notice in answer["Event"]] == ["conversation.left"]


async def test_what_gathered_is_not_given_after_a_deletion(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    cursor = (await poll(None))["Cursor"]
    await world.send(room, "alice", "before the deletion")
    await world.do(services.set_deleted, [room], True)
    answer = await poll(cursor)
    assert (texts(answer), [notice["Event"] for notice in answer["Event"]]) == ([], ["conversation.deleted"])
    await world.do(services.set_deleted, [room], False)
    assert texts(await poll(answer["Cursor"])) == ["before the deletion"]


async def test_what_gathered_is_not_given_after_its_redaction(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    cursor = (await poll(None))["Cursor"]
    sent = await world.send(room, "alice", "a secret")
    await world.do(redact_message, room, sent.msg_id)
    assert texts(await poll(cursor)) == [""]


async def test_more_than_may_gather_comes_from_the_database(world: InProcess, loads: list[str]) -> None:
    room = await world.create("alice", "bob")
    cursor = (await poll(None))["Cursor"]
    contents = [f"{count} {'x' * 20_000}" for count in range(6)]
    for content in contents:
        await world.send(room, "alice", content)
    assert texts(await poll(cursor)) == contents
    assert loads == ["bob", "bob"]
    assert len(world.hub.connections()) == 1


async def test_what_is_kept_is_nobody_elses(world: InProcess, loads: list[str]) -> None:
    room = await world.create("alice", "bob")
    cursor = (await poll(None))["Cursor"]
    await world.send(room, "alice", "for bob")
    for caller in (Caller("charlie", 1), Caller("bob", 2)):
        answer = await poll(cursor, Identity(caller, 2**40))
        assert texts(answer) == (["for bob"] if caller.session == "bob" else [])
    assert texts(await poll(cursor)) == ["for bob"]
    assert loads == ["bob", "charlie", "bob"]


async def test_what_is_kept_counts_as_no_connection(world: InProcess) -> None:
    await world.create("alice", "bob")
    for _ in range(3):
        # Each begins a chain of its own, and never comes back.
        await poll(None, Identity(Caller("bob", 2), 2**40))
    cursor = (await poll(None))["Cursor"]
    waiting = asyncio.create_task(poll(cursor))
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests):
        await world.connect("bob")
    await waiting


async def test_nothing_is_kept_for_long(world: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_SECONDS", 0.02)
    await world.create("alice", "bob")
    await poll(None)
    assert len(world.node.kept_polls) == 1
    end = time.monotonic() + 10
    while world.hub.connections() and time.monotonic() < end:  # noqa: ASYNC110  # nothing tells it
        await asyncio.sleep(0.01)
    assert (world.hub.connections(), len(world.node.kept_polls), world.hub.rooms) == ([], 0, {})


async def test_of_too_many_the_oldest_goes(world: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_KEPT", 2)
    for platform in range(4):
        await poll(None, Identity(Caller("bob", platform), 2**40))
    await asyncio.sleep(0)
    assert [connection.caller.platform for connection in world.hub.connections()] == [2, 3]


async def test_a_revoked_token_ends_what_is_kept(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    cursor = (await poll(None))["Cursor"]
    await world.send(room, "alice", "gathered")
    await world.do(revoke, "bob", None, world.clock.now)
    await world.settled()
    assert world.hub.connections() == []
    answer = await poll(cursor)
    assert (texts(answer), answer["Event"][-1]["Code"]) == ([], 4503)
