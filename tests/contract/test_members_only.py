"""What is inside a conversation is for its members, whatever the endpoint; what is not there is not found."""

import pytest

from tests.clients import Api, Person
from tests.contract.test_fields import FIELDS, INNER_OF_A_CONVERSATION, OF_A_CONVERSATION

MEMBERS_ONLY = [name for name in OF_A_CONVERSATION if "join" not in name and "leave" not in name]


@pytest.mark.parametrize("name", [name for name in OF_A_CONVERSATION if name != "check_joined_conversation"])
async def test_an_unknown_or_deleted_conversation_is_not_found(api: Api, alice: Person, room: str, name: str) -> None:
    for unknown in ("no-id-of-ours", "", "0" * 5000, "00000000-0000-4000-8000-000000000000"):
        (await alice.call(name, **FIELDS, conversation_id=unknown)).refused(90014)
    (await api.inner("set_delete_conversations", conversation_ids=[room], is_delete=True)).succeeded()
    (await alice.call(name, **FIELDS, conversation_id=room)).refused(90014)


@pytest.mark.parametrize("name", INNER_OF_A_CONVERSATION)
async def test_an_unknown_conversation_is_not_found_by_the_back_end_either(api: Api, name: str) -> None:
    for unknown in ("no-id-of-ours", "", "00000000-0000-4000-8000-000000000000"):
        (await api.inner(name, **FIELDS, conversation_id=unknown)).refused(90014)


@pytest.mark.parametrize("name", MEMBERS_ONLY)
async def test_everything_inside_a_conversation_requires_current_membership(
    api: Api, alice: Person, bob: Person, charlie: Person, room: str, name: str
) -> None:
    (await alice.call("leave_conversation", conversation_id=room)).succeeded()
    (await api.inner("kickout_conversation", conversation_id=room, sessions=[bob.session])).succeeded()
    for outsider in (alice, bob, charlie):
        (await outsider.call(name, **FIELDS, conversation_id=room)).refused(90015)


async def test_a_list_holds_at_most_10000_sessions(api: Api, alice: Person, room: str) -> None:
    too_many = [f"s{number}" for number in range(10_001)]
    answers = [
        await alice.call("create_conversation", conversation_type=1, sessions=too_many),
        await api.inner("create_conversation", conversation_type=1, sessions=too_many),
        await api.inner("join_conversation", conversation_id=room, sessions=too_many),
        await api.inner("kickout_conversation", conversation_id=room, sessions=too_many),
    ]
    for answer in answers:
        assert "sessions" in answer.refused(10001)
    created = await api.inner("create_conversation", conversation_type=1, sessions=too_many[:-1])
    members = await api.inner("get_conversation_members", conversation_id=created.data["ConversationId"])
    assert len(members.data["Members"]) == 10_000
