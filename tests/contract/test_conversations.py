"""Conversations as their members see them: joining, leaving, creating, listing."""

from uuid import UUID

import pytest

from tests.clients import Api, Person, fresh


async def members_of(api: Api, conversation: str) -> list[str]:
    """The sessions that are members now."""
    answer = await api.inner("get_conversation_members", conversation_id=conversation)
    return [member["SessionId"] for member in answer.data["Members"]]


async def is_joined(who: Person, conversation: str) -> bool:
    """What check_joined_conversation says."""
    data = (await who.call("check_joined_conversation", conversation_id=conversation)).data
    assert set(data) == {"Joined"}
    assert isinstance(data["Joined"], bool)
    return data["Joined"]


async def archive(api: Api, conversation: str, *, is_archive: bool = True) -> None:
    """Archives or reopens."""
    answer = await api.inner("set_archive_conversations", conversation_ids=[conversation], is_archive=is_archive)
    assert answer.data == {"Failed": []}


async def delete(api: Api, conversation: str, *, is_delete: bool = True) -> None:
    """Deletes or restores."""
    answer = await api.inner("set_delete_conversations", conversation_ids=[conversation], is_delete=is_delete)
    assert answer.data == {"Failed": []}


async def kick(api: Api, conversation: str, who: Person) -> None:
    """Kicks one member out."""
    answer = await api.inner("kickout_conversation", conversation_id=conversation, sessions=[who.session])
    assert answer.data == {"ConversationId": conversation, "Failed": []}


async def test_check_joined_tells_members_from_strangers(alice: Person, charlie: Person, room: str) -> None:
    assert await is_joined(alice, room)
    assert not await is_joined(charlie, room)


@pytest.mark.parametrize("unknown", ["", "x", "00000000-0000-4000-8000-000000000000", "\x00", "a" * 5000])
async def test_check_joined_is_false_for_an_unknown_conversation(alice: Person, unknown: str) -> None:
    assert not await is_joined(alice, unknown)


async def test_check_joined_follows_leaving_kicking_and_deleting(
    api: Api, alice: Person, bob: Person, room: str
) -> None:
    await alice.call("leave_conversation", conversation_id=room)
    assert not await is_joined(alice, room)
    await archive(api, room)
    assert await is_joined(bob, room)
    await delete(api, room)
    assert not await is_joined(bob, room)
    await delete(api, room, is_delete=False)
    assert await is_joined(bob, room)
    await kick(api, room, bob)
    assert not await is_joined(bob, room)


async def test_joined_conversations_come_newest_activity_first(api: Api, alice: Person) -> None:
    ids = [await api.conversation(alice.session) for _ in range(3)]
    for index in (1, 0, 2):
        await api.post(ids[index], "activity")
    assert (await alice.call("get_joined_conversation")).data == {"Conversations": [ids[2], ids[0], ids[1]]}
    await api.post(ids[1], "activity")
    assert (await alice.call("get_joined_conversation")).data == {"Conversations": [ids[1], ids[2], ids[0]]}


async def test_joined_conversations_are_those_of_the_token(alice: Person, charlie: Person, room: str) -> None:
    assert (await charlie.call("get_joined_conversation", SessionId=alice.session)).data == {"Conversations": []}
    assert (await alice.call("get_joined_conversation", SessionId=charlie.session)).data == {"Conversations": [room]}


async def test_joined_conversations_hold_archived_ones_and_no_left_or_deleted_ones(api: Api, alice: Person) -> None:
    archived, deleted, left, kicked = [await api.conversation(alice.session) for _ in range(4)]
    await archive(api, archived)
    await delete(api, deleted)
    await alice.call("leave_conversation", conversation_id=left)
    await kick(api, kicked, alice)
    assert (await alice.call("get_joined_conversation")).data == {"Conversations": [archived]}


async def test_detail_before_the_first_message(api: Api, alice: Person) -> None:
    conversation = await api.conversation(alice.session, conversation_type=2**63 - 1)
    detail = (await alice.call("get_conversation_detail", conversation_id=conversation)).data
    assert detail == {
        "ConversationID": conversation,
        "ConversationType": 2**63 - 1,
        "LastMsgID": "",
        "LastSendTime": 0,
        "LastSendSession": "",
        "IsDelete": False,
        "IsArchive": False,
    }
    assert detail["IsDelete"] is False
    assert detail["IsArchive"] is False


async def test_detail_follows_the_last_message_and_the_state(api: Api, alice: Person, bob: Person, room: str) -> None:
    await alice.send(room, "first")
    last = await bob.send(room, "second")
    detail = (await alice.call("get_conversation_detail", conversation_id=room)).data
    assert (detail["LastMsgID"], detail["LastSendTime"]) == (last["MsgID"], last["SendTime"])
    assert detail["LastSendSession"] == bob.session
    await archive(api, room)
    system = await api.post(room, "third")
    detail = (await alice.call("get_conversation_detail", conversation_id=room)).data
    assert (detail["LastMsgID"], detail["LastSendSession"], detail["IsArchive"]) == (
        system["MsgID"],
        "",
        True,
    )


async def test_joining_makes_a_member_and_twice_is_fine(api: Api, alice: Person, charlie: Person, room: str) -> None:
    for _ in range(2):
        assert (await charlie.call("join_conversation", conversation_id=room)).data == {"ConversationId": room}
    assert sorted(await members_of(api, room)).count(charlie.session) == 1
    await charlie.send(room)


async def test_leaving_ends_membership_and_twice_is_fine(api: Api, alice: Person, charlie: Person, room: str) -> None:
    for _ in range(2):
        assert (await alice.call("leave_conversation", conversation_id=room)).data == {"ConversationId": room}
    assert alice.session not in await members_of(api, room)
    assert (await charlie.call("leave_conversation", conversation_id=room)).data == {"ConversationId": room}


async def test_who_left_may_join_again(alice: Person, room: str) -> None:
    await alice.call("leave_conversation", conversation_id=room)
    assert (await alice.call("join_conversation", conversation_id=room)).data == {"ConversationId": room}
    await alice.send(room)


async def test_who_was_kicked_may_not_join_by_himself(api: Api, alice: Person, room: str) -> None:
    await kick(api, room, alice)
    (await alice.call("join_conversation", conversation_id=room)).refused(90018)
    assert not await is_joined(alice, room)
    (await api.inner("join_conversation", conversation_id=room, sessions=[alice.session])).succeeded()
    await alice.send(room)


async def test_leaving_does_not_wash_off_a_kick(api: Api, alice: Person, room: str) -> None:
    await kick(api, room, alice)
    assert (await alice.call("leave_conversation", conversation_id=room)).data == {"ConversationId": room}
    (await alice.call("join_conversation", conversation_id=room)).refused(90018)


async def test_who_was_let_back_in_and_leaves_may_join_again(api: Api, alice: Person, room: str) -> None:
    await kick(api, room, alice)
    (await api.inner("join_conversation", conversation_id=room, sessions=[alice.session])).succeeded()
    await alice.call("leave_conversation", conversation_id=room)
    assert (await alice.call("join_conversation", conversation_id=room)).data == {"ConversationId": room}


async def test_an_archived_conversation_lets_nobody_join_but_leave(
    api: Api, alice: Person, charlie: Person, room: str
) -> None:
    await archive(api, room)
    (await charlie.call("join_conversation", conversation_id=room)).refused(90016)
    assert (await alice.call("leave_conversation", conversation_id=room)).data == {"ConversationId": room}
    await archive(api, room, is_archive=False)
    (await charlie.call("join_conversation", conversation_id=room)).succeeded()
    assert await is_joined(charlie, room)


async def test_the_creator_is_always_a_member(api: Api, alice: Person, bob: Person) -> None:
    for sessions, expected in (
        (None, {alice.session}),
        ([bob.session], {alice.session, bob.session}),
        ([bob.session, bob.session, alice.session], {alice.session, bob.session}),
    ):
        fields = {} if sessions is None else {"sessions": sessions}
        created = (await alice.call("create_conversation", conversation_type=1, **fields)).data
        assert set(created) == {"ConversationId"}
        members = await members_of(api, created["ConversationId"])
        assert (set(members), len(members)) == (expected, len(expected))


@pytest.mark.parametrize("conversation_type", [0, 1, 2**31, 2**63 - 1])
async def test_a_conversation_keeps_its_type(alice: Person, conversation_type: int) -> None:
    created = (await alice.call("create_conversation", conversation_type=conversation_type)).data
    assert str(UUID(created["ConversationId"])) == created["ConversationId"]
    detail = await alice.call("get_conversation_detail", conversation_id=created["ConversationId"])
    assert detail.data["ConversationType"] == conversation_type


@pytest.mark.parametrize("name", ["a", "a" * 128, "会话" * 64, "\U0001f600", "a b", "x@y/z?&=%00", "'\"<>", "Ünï"])
async def test_a_session_is_any_string_without_control_characters(api: Api, name: str) -> None:
    session = (fresh("") + name)[-128:]
    conversation = await api.conversation(session)
    assert await members_of(api, conversation) == [session]
    someone = Person(api, session, token=(await api.inner("get_token", session=session, platform=0)).data)
    await someone.send(conversation, "mine")
    assert [message["FromSession"] for message in await someone.history(conversation)] == [session]


async def test_session_names_that_look_alike_are_different(api: Api) -> None:
    name = fresh("é")
    alike = [name, name.upper(), name.replace("é", "e\u0301"), name + " ", " " + name]
    conversation = await api.conversation(*alike)
    assert sorted(await members_of(api, conversation)) == sorted(alike)
