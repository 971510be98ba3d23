"""What happened to one's conversations while one was away is told first when one returns."""

from collections.abc import Awaitable, Callable

import pytest

from tests.clients import Api, Listener, Person, Protoc
from tests.contract.test_conversations import archive, delete, kick
from tests.servers import EVERYWHERE

pytestmark = pytest.mark.parametrize("server", EVERYWHERE, indirect=True)

Change = Callable[[Api, str, Person], Awaitable[None]]


async def _archived_and_reopened(api: Api, room: str, _: Person) -> None:
    await archive(api, room)
    await archive(api, room, is_archive=False)


async def _restored(api: Api, room: str, _: Person) -> None:
    await delete(api, room)
    await delete(api, room, is_delete=False)


CHANGES: dict[str, tuple[Change, str]] = {
    "kicked": (kick, "conversation.left"),
    "archived": (lambda api, room, _: archive(api, room), "conversation.archived"),
    "reopened": (_archived_and_reopened, "conversation.unarchived"),
    "deleted": (lambda api, room, _: delete(api, room), "conversation.deleted"),
    "restored": (_restored, "conversation.restored"),
}


async def was_away(who: Person, protoc: Protoc, room: str) -> Listener:
    """Connects on this protocol, sees one message, and goes; the listener keeps the cursor."""
    listener = await who.listen(protoc)
    await who.send(room, "last seen")
    await listener.messages_in(room, 1)
    await listener.close()
    return listener


@pytest.mark.parametrize(("change", "event"), CHANGES.values(), ids=CHANGES.keys())
async def test_a_change_while_away_is_told_once_and_before_the_messages(
    api: Api, alice: Person, bob: Person, room: str, protoc: Protoc, change: Change, event: str
) -> None:
    elsewhere = await api.conversation(alice.session, bob.session)
    before = await was_away(bob, protoc, room)
    await change(api, room, bob)
    await alice.send(elsewhere, "missed")
    listener = await bob.listen(protoc, since=before.cursor)
    notice = await listener.notice(event, room)
    await listener.messages_in(elsewhere, 1)
    await bob.caught_up(listener)
    assert [one["Event"] for one in listener.notices_of(room)] == [event]
    if event == "conversation.left":
        assert notice["Sessions"] == [bob.session]
    missed = next(item for item in listener.received if item.get("Content") == "missed")
    assert listener.received.index(notice) < listener.received.index(missed)


async def test_a_conversation_one_was_added_to_while_away_is_told_and_delivered(
    api: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    before = await was_away(bob, protoc, room)
    created = await api.conversation(alice.session, bob.session)
    await alice.send(created, "welcome")
    listener = await bob.listen(protoc, since=before.cursor)
    notice = await listener.notice("conversation.joined", created)
    assert bob.session in notice["Sessions"]
    assert [message["Seq"] for message in await listener.messages_in(created, 1)] == [1]
    assert listener.received.index(notice) < listener.received.index(listener.of(created)[0])


async def test_a_kick_and_a_return_while_away_are_told_as_what_is_true_now(
    api: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    before = await was_away(bob, protoc, room)
    await kick(api, room, bob)
    await alice.send(room, "while out")
    (await api.inner("join_conversation", conversation_id=room, sessions=[bob.session])).succeeded()
    await alice.send(room, "back in")
    listener = await bob.listen(protoc, since=before.cursor)
    await listener.notice("conversation.joined", room)
    assert [message["Content"] for message in await listener.messages_in(room, 1)] == ["back in"]
    await bob.caught_up(listener)
    assert [one["Event"] for one in listener.notices_of(room)] == ["conversation.joined"]
    assert listener.texts(room) == ["back in"]


async def test_a_strict_cursor_does_not_repeat_a_notice_already_told(
    api: Api, alice: Person, bob: Person, room: str
) -> None:
    before = await was_away(bob, "poll", room)
    await archive(api, room)
    listener = await bob.listen("poll", since=before.cursor)
    await listener.notice("conversation.archived", room)
    await bob.caught_up(listener)
    await bob.caught_up(listener)
    assert [one["Event"] for one in listener.notices_of(room)] == ["conversation.archived"]
