"""Notices tell members what became of their conversations: exact fields, to exactly those concerned."""

import asyncio
import time
from typing import Any

import pytest

from tests.clients import Api, Listener, Notice, Person, Protoc, fresh
from tests.contract.test_conversations import archive, delete, kick
from tests.servers import EVERYWHERE

pytestmark = pytest.mark.parametrize("server", EVERYWHERE, indirect=True)

CONVERSATION_TYPE = 7


def check(notice: Notice, event: str, conversation: str, sessions: list[str] | None = None) -> None:
    """The notice has the fields of its kind and no other; ``Count`` may stand beside ``Sessions``."""
    expected: dict[str, Any] = {
        "Event": event,
        "ConversationID": conversation,
        "ConversationType": CONVERSATION_TYPE,
        "SendTime": notice["SendTime"],
    }
    if sessions is not None:
        expected["Sessions"] = sessions
        if "Count" in notice:
            expected["Count"] = len(sessions)
    assert notice == expected
    assert isinstance(notice["SendTime"], int)
    assert abs(notice["SendTime"] - time.time_ns() // 1000) < 60_000_000


def told_for_sure(listeners: list[Listener], protoc: Protoc) -> list[Listener]:
    """The last one joined or left himself, which is certain; that others did is best effort, and is missed by who is
    just between two polls."""
    return listeners[1:] if protoc == "poll" else listeners


async def test_joining_is_told_to_who_joins_and_to_those_who_are_there(
    alice: Person, charlie: Person, room: str, protoc: Protoc
) -> None:
    listeners = await asyncio.gather(*(who.listen(protoc) for who in (alice, charlie)))
    (await charlie.call("join_conversation", conversation_id=room)).succeeded()
    for listener in told_for_sure(listeners, protoc):
        check(await listener.notice("conversation.joined", room), "conversation.joined", room, [charlie.session])


async def test_leaving_is_told_to_who_leaves_and_to_those_who_stay(
    alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    listeners = await asyncio.gather(*(who.listen(protoc) for who in (alice, bob)))
    (await bob.call("leave_conversation", conversation_id=room)).succeeded()
    for listener in told_for_sure(listeners, protoc):
        check(await listener.notice("conversation.left", room), "conversation.left", room, [bob.session])


async def test_a_kick_is_told_to_the_kicked_and_to_those_who_stay(
    api: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    listeners = await asyncio.gather(*(who.listen(protoc) for who in (alice, bob)))
    await kick(api, room, bob)
    for listener in told_for_sure(listeners, protoc):
        check(await listener.notice("conversation.left", room), "conversation.left", room, [bob.session])


async def test_a_new_conversation_is_told_to_its_members(api: Api, alice: Person, bob: Person, protoc: Protoc) -> None:
    listener = await alice.listen(protoc)
    created = await api.conversation(alice.session, bob.session, conversation_type=CONVERSATION_TYPE)
    notice = await listener.notice("conversation.joined", created)
    assert alice.session in notice["Sessions"]
    check(notice, "conversation.joined", created, notice["Sessions"])


async def test_every_change_of_state_is_told(api: Api, alice: Person, room: str, protoc: Protoc) -> None:
    listener = await alice.listen(protoc)
    await archive(api, room)
    check(await listener.notice("conversation.archived"), "conversation.archived", room)
    await archive(api, room, is_archive=False)
    check(await listener.notice("conversation.unarchived"), "conversation.unarchived", room)
    await delete(api, room)
    check(await listener.notice("conversation.deleted"), "conversation.deleted", room)
    await delete(api, room, is_delete=False)
    check(await listener.notice("conversation.restored"), "conversation.restored", room)
    assert [notice["Event"].partition(".")[2] for notice in listener.notices_of(room)] == [
        "archived",
        "unarchived",
        "deleted",
        "restored",
    ]


async def test_what_changes_nothing_is_not_told(api: Api, alice: Person, bob: Person, room: str) -> None:
    listener = await alice.listen("ws")
    (await bob.call("join_conversation", conversation_id=room)).succeeded()
    await archive(api, room, is_archive=False)
    await delete(api, room, is_delete=False)
    stranger = fresh("stranger")
    (await api.inner("kickout_conversation", conversation_id=room, sessions=[stranger])).succeeded()
    await alice.caught_up(listener)
    assert listener.notices_of(room) == []


async def test_a_stranger_is_told_nothing(
    api: Api, alice: Person, bob: Person, charlie: Person, room: str, protoc: Protoc
) -> None:
    listener = await charlie.listen(protoc)
    await archive(api, room)
    await archive(api, room, is_archive=False)
    await kick(api, room, bob)
    await charlie.caught_up(listener)
    assert listener.notices_of(room) == []


async def test_who_left_is_told_nothing_more(api: Api, alice: Person, bob: Person, room: str) -> None:
    listener = await bob.listen("ws")
    (await bob.call("leave_conversation", conversation_id=room)).succeeded()
    await archive(api, room)
    await bob.caught_up(listener)
    assert [notice["Event"] for notice in listener.notices_of(room)] == ["conversation.left"]


async def test_a_message_never_overtakes_the_notice_of_the_joining_that_lets_it_through(
    alice: Person, charlie: Person, room: str, protoc: Protoc
) -> None:
    listener = await charlie.listen(protoc)
    (await charlie.call("join_conversation", conversation_id=room)).succeeded()
    await alice.send(room, "hello")
    await listener.messages_in(room, 1)
    assert [item.get("Event") for item in listener.received if item["ConversationID"] == room] == [
        "conversation.joined",
        None,
    ]


async def _join(api: Api, conversation: str, sessions: list[str]) -> None:
    answer = await api.inner("join_conversation", conversation_id=conversation, sessions=sessions)
    answer.succeeded()


async def _sessions_told(listener: Listener, conversation: str) -> tuple[set[str], int]:
    """The first joined notice's Sessions and Count."""
    notice = await listener.notice("conversation.joined", conversation)
    return set(notice["Sessions"]), notice["Count"]


async def test_a_notice_names_at_most_100_others_but_always_oneself(
    api: Api, alice: Person, bob: Person, charlie: Person
) -> None:
    conversation = await api.conversation(alice.session)
    crowd = [fresh(f"member{number}") for number in range(150)]
    at_home, joining = await alice.listen("ws"), await charlie.listen("ws")
    await _join(api, conversation, [*crowd, charlie.session])
    told, count = await _sessions_told(at_home, conversation)
    assert told <= {*crowd, charlie.session}
    assert (len(told), count) == (100, 151)
    told = set((await joining.notice("conversation.joined", conversation))["Sessions"])
    assert charlie.session in told
    assert len(told) <= 100


async def test_above_1000_members_nobody_is_told_of_others(api: Api, alice: Person, charlie: Person) -> None:
    crowd = [fresh(f"member{number}") for number in range(1000)]
    conversation = await api.conversation(alice.session, *crowd)
    at_home, joining = await alice.listen("ws"), await charlie.listen("ws")
    (await charlie.call("join_conversation", conversation_id=conversation)).succeeded()
    assert charlie.session in (await joining.notice("conversation.joined", conversation))["Sessions"]
    (await charlie.call("leave_conversation", conversation_id=conversation)).succeeded()
    assert charlie.session in (await joining.notice("conversation.left", conversation))["Sessions"]
    await api.post(conversation, "messages go on")
    await at_home.messages_in(conversation, 1)
    await alice.caught_up(at_home)
    assert at_home.notices_of(conversation) == []
