"""What was missed of a deleted conversation comes when it is restored, in order, to whoever resumed meanwhile."""

import dataclasses

import pytest
from django.conf import settings

from conversations import services
from gateway import missed, replay
from gateway.cursor import Cursor
from gateway.missed import Page
from messaging import msgid
from tests.gateway.in_process import InProcess
from tests.gateway.test_polling import poll, texts

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that finds nothing ends soon."""
    monkeypatch.setattr(settings, "QUICKIM", dataclasses.replace(settings.QUICKIM, poll_wait_seconds=0.3))


async def deleted_after(world: InProcess, *contents: str) -> tuple[str, Cursor]:
    """A conversation of alice and bob that said ``contents`` and was deleted then, and a cursor before all of that."""
    room = await world.create("alice", "bob")
    world.clock.advance(60)
    await world.sweep()
    cursor = Cursor(msgid.tick_at(world.clock.now) - 1)
    world.clock.advance(1)
    for content in contents:
        await world.send(room, "alice", content)
    await world.do(services.set_deleted, [room], True)
    return room, cursor


async def test_whoever_resumes_meanwhile_is_given_it_in_order(world: InProcess) -> None:
    before = await world.connect("bob")
    room, cursor = await deleted_after(world, "one", "two")
    reader = await world.connect("bob", cursor)
    assert reader.texts == []
    elsewhere = await world.create("alice", "bob")
    await world.send(elsewhere, "alice", "meanwhile")
    await world.do(services.set_deleted, [room], False)
    await world.send(room, "alice", "three")
    assert reader.texts == ["meanwhile", "one", "two", "three"]
    assert before.texts == ["one", "two", "meanwhile", "three"]
    assert reader.events.count("conversation.restored") == 1


async def test_a_message_that_is_announced_late_does_not_overtake_what_is_withheld(world: InProcess) -> None:
    first = await world.connect("bob")
    room, cursor = await deleted_after(world, "one")
    await world.do(services.set_deleted, [room], False)
    with world.held_facts() as facts:
        await world.send(room, "alice", "two")
        await world.do(services.set_deleted, [room], True)
    message, deletion = facts
    await world.tell(deletion)
    reader = await world.connect("bob", cursor)
    await world.tell(message)
    assert (reader.texts, first.texts) == ([], ["one", "two"])
    await world.do(services.set_deleted, [room], False)
    assert reader.texts == ["one", "two"]


async def test_a_chain_of_polls_is_given_it_however_long_the_deletion_lasted(world: InProcess) -> None:
    room, cursor = await deleted_after(world, "one")
    told = await poll(cursor.encode())
    assert [notice["Event"] for notice in told["Event"]] == ["conversation.deleted"]
    for _ in range(3):
        world.clock.advance(60)
        await world.sweep()
        told = await poll(told["Cursor"])
        assert told["Msg"] == []
    await world.do(services.set_deleted, [room], False)
    assert texts(await poll(told["Cursor"])) == ["one"]


async def test_a_restoration_while_the_page_is_read_is_not_missed(
    world: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Somebody else is here already, so that the node knows the conversation and hears of its restoration.
    await world.connect("alice")
    room, cursor = await deleted_after(world, "one")
    read_page = missed.read_page
    pages: list[Page] = []

    def restored_meanwhile(*arguments: object) -> Page:
        page = read_page(*arguments)  # type: ignore[arg-type]
        if not pages:
            services.set_deleted([room], False)
        pages.append(page)
        return page

    monkeypatch.setattr(replay, "read_page", restored_meanwhile)
    reader = await world.connect("bob", cursor)
    assert reader.texts == ["one"]
    assert len(pages) >= 1


async def test_who_is_gone_while_it_is_withheld_from_him_is_forgotten(world: InProcess) -> None:
    room, cursor = await deleted_after(world, "one")
    stays = await world.connect("alice")
    reader = await world.connect("bob", cursor)
    world.hub.detach(reader)
    await world.do(services.set_deleted, [room], False)
    assert (reader.texts, stays.texts) == ([], [])
    assert [room.withheld for room in world.hub.rooms.values()] == [{}]
