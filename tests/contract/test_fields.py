"""Every field of every endpoint: absent, of the wrong type or out of range, it is named in ``detail``."""

from typing import Any

import pytest

from tests.clients import Answer, Api, Person
from tests.servers import ANYWHERE

pytestmark = pytest.mark.parametrize("server", ANYWHERE, indirect=True)

NOT_A_STRING: list[Any] = [None, 1, 1.5, True, [], {}]
NOT_A_BOOL: list[Any] = [None, 0, 1, "true", "", [], {}]
NOT_A_LIST_OF_SESSIONS: list[Any] = [
    "alice",
    {"alice": 1},
    1,
    True,
    [1],
    [None],
    [["alice"]],
    ["alice", 2],
    [""],
    ["a" * 129],
    ["a\nb"],
    ["a\x00b"],
    ["\x7f"],
    ["\ud800"],
]

OF_A_CONVERSATION = [
    "send_msg",
    "check_joined_conversation",
    "get_conversation_detail",
    "join_conversation",
    "leave_conversation",
    "get_lastone_msgid",
    "get_conversation_msg_by_range",
    "get_conversation_30msg_before_the_id",
    "get_conversation_30msg_after_the_id",
    "get_conversation_last_30_msg",
    "get_conversation_lastone_msg",
]
INNER_OF_A_CONVERSATION = [
    "join_conversation",
    "kickout_conversation",
    "send_msg",
    "get_conversation_members",
]

MSG_ID = "EDCZL-SY32-243Y-VWQ"
FIELDS: dict[str, Any] = {
    "content": "x",
    "msg_id": MSG_ID,
    "start_msg_id": "",
    "end_msg_id": "",
    "sessions": ["alice"],
    "type": 0,
    "status": 0,
}
"""Good values for all other fields: unknown ones are ignored."""

show = lambda value: ascii(value)[:24]  # noqa: E731  (a name for pytest's ids)


def check_named(answer: Answer, field: str) -> None:
    """10001 with the field in ``detail``; a lone surrogate may be the body's fault before it is a field's."""
    detail = answer.refused(10001)
    assert field in detail or set(detail) == {"body"}, detail


@pytest.mark.parametrize("name", OF_A_CONVERSATION)
async def test_a_conversation_id_is_a_string(alice: Person, name: str) -> None:
    assert "conversation_id" in (await alice.call(name, **FIELDS)).refused(10001)
    for value in NOT_A_STRING:
        answer = await alice.call(name, **FIELDS, conversation_id=value)
        assert "conversation_id" in answer.refused(10001)


@pytest.mark.parametrize("name", INNER_OF_A_CONVERSATION)
async def test_an_inner_conversation_id_is_a_string(api: Api, name: str) -> None:
    assert "conversation_id" in (await api.inner(name, **FIELDS)).refused(10001)
    for value in NOT_A_STRING:
        answer = await api.inner(name, **FIELDS, conversation_id=value)
        assert "conversation_id" in answer.refused(10001)


@pytest.mark.parametrize(
    "name",
    [
        "get_conversation_msg_by_range",
        "get_conversation_30msg_before_the_id",
        "get_conversation_30msg_after_the_id",
        "get_conversation_last_30_msg",
        "get_conversation_lastone_msg",
    ],
)
@pytest.mark.parametrize("value", [0, 1, "true", "", [], {}], ids=repr)
async def test_desc_is_a_bool(alice: Person, room: str, name: str, value: Any) -> None:
    assert "desc" in (await alice.call(name, **FIELDS, conversation_id=room, desc=value)).refused(10001)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("get_conversation_msg_by_range", "start_msg_id"),
        ("get_conversation_msg_by_range", "end_msg_id"),
        ("get_conversation_30msg_before_the_id", "msg_id"),
        ("get_conversation_30msg_after_the_id", "msg_id"),
    ],
)
@pytest.mark.parametrize(
    "value",
    [
        1,
        True,
        [],
        "x",
        MSG_ID.lower(),
        MSG_ID.replace("-", ""),
        MSG_ID[:-1],
        MSG_ID + "Q",
        MSG_ID + "\n",
        " " + MSG_ID,
        "EDCZLS-Y32-243Y-VWQ",
        "EDCZL_SY32_243Y_VWQ",
        "EDCZI-SY32-243Y-VWQ",
        "EDCZO-SY32-243Y-VWQ",
        "EDCZ0-SY32-243Y-VWQ",
        "EDCZ1-SY32-243Y-VWQ",
        "\uff25DCZL-SY32-243Y-VWQ",
        "EDCZL-SY32-243Y-VW\x00",
        "EDCZL-SY32-243Y-VW\ud800",
        "EDCZL-SY32-243Y-VWQ" * 1000,
    ],
    ids=show,
)
async def test_a_msgid_that_is_malformed_is_refused(
    alice: Person, room: str, name: str, field: str, value: Any
) -> None:
    answer = await alice.call(name, **{**FIELDS, "conversation_id": room, field: value})
    check_named(answer, field)


@pytest.mark.parametrize("name", ["get_conversation_30msg_before_the_id", "get_conversation_30msg_after_the_id"])
async def test_a_position_is_required_where_it_is_the_question(alice: Person, room: str, name: str) -> None:
    assert "msg_id" in (await alice.call(name, conversation_id=room)).refused(10001)


@pytest.mark.parametrize("value", NOT_A_LIST_OF_SESSIONS, ids=show)
async def test_sessions_is_a_list_of_session_names(api: Api, alice: Person, room: str, value: Any) -> None:
    answers = [
        await alice.call("create_conversation", conversation_type=1, sessions=value),
        await api.inner("create_conversation", conversation_type=1, sessions=value),
        await api.inner("join_conversation", conversation_id=room, sessions=value),
        await api.inner("kickout_conversation", conversation_id=room, sessions=value),
    ]
    for answer in answers:
        check_named(answer, "sessions")


@pytest.mark.parametrize(
    ("name", "flag"), [("set_delete_conversations", "is_delete"), ("set_archive_conversations", "is_archive")]
)
async def test_a_state_is_set_by_a_list_of_ids_and_a_bool(api: Api, room: str, name: str, flag: str) -> None:
    assert "conversation_ids" in (await api.inner(name, **{flag: True})).refused(10001)
    for ids in ["x", 1, True, {}, None, [1], [None], [room, 2], ["\ud800"], ["x"] * 10_001]:
        check_named(await api.inner(name, conversation_ids=ids, **{flag: True}), "conversation_ids")
    assert flag in (await api.inner(name, conversation_ids=[room])).refused(10001)
    for value in NOT_A_BOOL:
        assert flag in (await api.inner(name, conversation_ids=[room], **{flag: value})).refused(10001)


@pytest.mark.parametrize("value", [-1, 2**63, 10**30, -(2**63)], ids=repr)
async def test_a_conversation_type_out_of_range_has_its_own_code(api: Api, alice: Person, value: int) -> None:
    (await alice.call("create_conversation", conversation_type=value)).refused(90010)
    (await api.inner("create_conversation", conversation_type=value, sessions=["alice"])).refused(90010)


@pytest.mark.parametrize("value", [..., "1", 1.5, True, [], {}], ids=repr)
async def test_a_conversation_type_is_an_integer(api: Api, alice: Person, value: Any) -> None:
    fields = {} if value is ... else {"conversation_type": value}
    assert "conversation_type" in (await alice.call("create_conversation", **fields)).refused(10001)
    answer = await api.inner("create_conversation", sessions=["alice"], **fields)
    assert "conversation_type" in answer.refused(10001)


@pytest.mark.parametrize("value", [*NOT_A_STRING, "", "a" * 129, "a\nb", "a\x00b", "\x7f", "\ud800"], ids=show)
async def test_get_token_wants_a_session_name(api: Api, value: Any) -> None:
    check_named(await api.inner("get_token", session=value, platform=1), "session")
    assert "session" in (await api.inner("get_token", platform=1)).refused(10001)


@pytest.mark.parametrize("value", [None, "1", 1.5, True, [], {}, -1, 32768, 10**30], ids=repr)
async def test_get_token_wants_a_platform(api: Api, value: Any) -> None:
    assert "platform" in (await api.inner("get_token", session="alice", platform=value)).refused(10001)
    assert "platform" in (await api.inner("get_token", session="alice")).refused(10001)


@pytest.mark.parametrize("value", [1, True, [], {}, "a" * 129, "a\nb", "\ud800"], ids=show)
async def test_an_inner_sender_is_a_session_name(api: Api, room: str, value: Any) -> None:
    answer = await api.inner("send_msg", conversation_id=room, content="x", session=value)
    check_named(answer, "session")
