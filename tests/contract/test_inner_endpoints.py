"""What the product's back end may do beyond its users."""

import time

from tests.clients import Api, Person, fresh
from tests.contract.test_conversations import archive, delete, is_joined, kick, members_of


async def test_inner_create_wants_at_least_one_session(api: Api) -> None:
    (await api.inner("create_conversation", conversation_type=1, sessions=[])).refused(90011)
    (await api.inner("create_conversation", conversation_type=1)).refused(90011)


async def test_inner_create_makes_all_named_sessions_members(api: Api) -> None:
    names = [fresh("a"), fresh("b"), fresh("c")]
    created = (await api.inner("create_conversation", conversation_type=1, sessions=[*names, names[0]])).data
    assert set(created) == {"ConversationId"}
    assert sorted(await members_of(api, created["ConversationId"])) == sorted(names)


async def test_members_are_listed_with_the_time_of_their_joining(api: Api, alice: Person, bob: Person) -> None:
    conversation = await api.conversation(alice.session)
    (await bob.call("join_conversation", conversation_id=conversation)).succeeded()
    data = (await api.inner("get_conversation_members", conversation_id=conversation)).data
    assert set(data) == {"Members"}
    joined = {member["SessionId"]: member["JoinedAt"] for member in data["Members"]}
    assert set(joined) == {alice.session, bob.session}
    assert all(set(member) == {"SessionId", "JoinedAt"} for member in data["Members"])
    assert all(isinstance(at, int) for at in joined.values())
    assert joined[alice.session] <= joined[bob.session]
    assert abs(joined[bob.session] - time.time_ns() // 1000) < 60_000_000


async def test_who_left_or_was_kicked_is_no_longer_listed(api: Api, alice: Person, bob: Person, room: str) -> None:
    await alice.call("leave_conversation", conversation_id=room)
    assert await members_of(api, room) == [bob.session]
    await kick(api, room, bob)
    assert await members_of(api, room) == []


async def test_inner_join_adds_many_at_once_and_twice_is_fine(api: Api, alice: Person, room: str) -> None:
    added = [fresh("dave"), fresh("erin")]
    for _ in range(2):
        answer = await api.inner("join_conversation", conversation_id=room, sessions=[*added, alice.session])
        assert answer.data == {"ConversationId": room}
    members = await members_of(api, room)
    assert set(added) < set(members)
    assert len(members) == 4


async def test_inner_join_works_in_an_archived_conversation(api: Api, charlie: Person, room: str) -> None:
    await archive(api, room)
    answer = await api.inner("join_conversation", conversation_id=room, sessions=[charlie.session])
    assert answer.data == {"ConversationId": room}
    assert await is_joined(charlie, room)


async def test_an_empty_list_of_sessions_has_its_own_code(api: Api, room: str) -> None:
    (await api.inner("join_conversation", conversation_id=room, sessions=[])).refused(90011)
    (await api.inner("kickout_conversation", conversation_id=room, sessions=[])).refused(90011)


async def test_a_kick_names_those_who_were_no_members(
    api: Api, alice: Person, bob: Person, charlie: Person, room: str
) -> None:
    await bob.call("leave_conversation", conversation_id=room)
    sessions = [charlie.session, alice.session, bob.session]
    answer = await api.inner("kickout_conversation", conversation_id=room, sessions=sessions)
    assert answer.data["ConversationId"] == room
    assert sorted(answer.data["Failed"]) == sorted([charlie.session, bob.session])
    again = await api.inner("kickout_conversation", conversation_id=room, sessions=[alice.session])
    assert again.data == {"ConversationId": room, "Failed": [alice.session]}


async def test_the_back_end_sends_as_a_member(api: Api, alice: Person, charlie: Person, room: str) -> None:
    sent = await api.post(room, "in her name", session=alice.session, type=3, status=4)
    assert set(sent) == {"MsgID", "SendTime"}
    (message,) = await alice.history(room)
    assert (message["FromSession"], message["Content"]) == (alice.session, "in her name")
    assert (message["Type"], message["Status"], message["Seq"]) == (3, 4, 1)
    fields = {"conversation_id": room, "type": 0, "status": 0, "content": "x"}
    (await api.inner("send_msg", **fields, session=charlie.session)).refused(90015)


async def test_the_system_sends_without_a_session_and_into_archives(api: Api, alice: Person, room: str) -> None:
    await api.post(room, "from the system")
    await archive(api, room)
    await api.post(room, "archived by the system")
    fields = {"conversation_id": room, "type": 0, "status": 0, "content": "x"}
    (await api.inner("send_msg", **fields, session=alice.session)).refused(90016)
    assert [(one["FromSession"], one["Content"]) for one in await alice.history(room)] == [
        ("", "from the system"),
        ("", "archived by the system"),
    ]


async def test_nobody_sends_into_a_deleted_conversation(api: Api, alice: Person, room: str) -> None:
    await delete(api, room)
    fields = {"conversation_id": room, "type": 0, "status": 0, "content": "x"}
    (await api.inner("send_msg", **fields)).refused(90014)
    (await api.inner("send_msg", **fields, session=alice.session)).refused(90014)


async def test_state_changes_name_the_ids_that_do_not_exist(api: Api, room: str) -> None:
    unknown = ["00000000-0000-4000-8000-000000000000", "no-id-of-ours", ""]
    for name, flag in (
        ("set_archive_conversations", "is_archive"),
        ("set_delete_conversations", "is_delete"),
    ):
        for value in (True, True, False, False):
            answer = await api.inner(name, conversation_ids=[unknown[0], room, *unknown[1:]], **{flag: value})
            assert set(answer.data) == {"Failed"}
            assert sorted(answer.data["Failed"]) == sorted(unknown)


async def test_restoring_brings_members_and_history_back(api: Api, alice: Person, bob: Person, room: str) -> None:
    await alice.send(room, "before")
    await delete(api, room)
    assert (await alice.call("get_joined_conversation")).data == {"Conversations": []}
    await delete(api, room, is_delete=False)
    assert (await alice.call("get_joined_conversation")).data == {"Conversations": [room]}
    await bob.send(room, "after")
    assert [(one["Content"], one["Seq"]) for one in await alice.history(room)] == [
        ("before", 1),
        ("after", 2),
    ]
