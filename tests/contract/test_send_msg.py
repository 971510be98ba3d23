"""Sending: fields and their limits, who may, what is stored."""

import time
from typing import Any

import pytest

from tests.clients import Api, Person

MAX_CONTENT_BYTES = 65536

NOT_AN_ID_OF_OURS = [
    "",
    "x",
    "conversation",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "../../etc/passwd",
    "' OR 1=1 --",
    "\x00",
    "会话",
    "\U0001f600" * 20,
    "a" * 10_000,
    "1",
    "-1",
    "9" * 100,
]


async def test_a_send_returns_its_msgid_and_time(alice: Person, room: str) -> None:
    before = time.time_ns() // 1000
    sent = await alice.send(room, "hello")
    assert set(sent) == {"MsgID", "SendTime"}
    assert isinstance(sent["SendTime"], int)
    assert before - 1_000_000 <= sent["SendTime"] <= time.time_ns() // 1000 + 1_000_000


async def test_the_stored_message_has_exactly_the_fields_of_msg(alice: Person, room: str) -> None:
    sent = await alice.send(room, "hello", type=5, status=-6)
    assert await alice.history(room) == [
        {
            "MsgId": sent["MsgID"],
            "ConversationID": room,
            "FromSession": alice.session,
            "SendTime": sent["SendTime"],
            "Status": -6,
            "Type": 5,
            "Content": "hello",
            "Seq": 1,
        }
    ]


async def test_type_and_status_are_zero_when_absent(alice: Person, room: str) -> None:
    await alice.send(room)
    (message,) = await alice.history(room)
    assert (message["Type"], message["Status"]) == (0, 0)


@pytest.mark.parametrize("field", ["type", "status"])
async def test_type_and_status_take_all_of_32_bits(alice: Person, room: str, field: str) -> None:
    for value in (-(2**31), 2**31 - 1):
        await alice.send(room, "x", **{field: value})
    stored = [message[field.title()] for message in await alice.history(room)]
    assert stored == [-(2**31), 2**31 - 1]


@pytest.mark.parametrize("field", ["type", "status"])
@pytest.mark.parametrize("value", [-(2**31) - 1, 2**31, 2**63, 10**30, "1", 1.5, True, [], {}], ids=repr)
async def test_a_type_or_status_that_is_none_is_refused(alice: Person, room: str, field: str, value: Any) -> None:
    answer = await alice.call("send_msg", conversation_id=room, content="x", **{field: value})
    assert field in answer.refused(10001)
    assert await alice.history(room) == []


@pytest.mark.parametrize("value", [None, 1, 1.5, True, [], ["x"], {}], ids=repr)
async def test_a_content_that_is_no_string_is_refused(alice: Person, room: str, value: Any) -> None:
    answer = await alice.call("send_msg", conversation_id=room, content=value)
    assert "content" in answer.refused(10001)


async def test_a_missing_content_is_refused_and_an_empty_one_is_not(alice: Person, room: str) -> None:
    assert "content" in (await alice.call("send_msg", conversation_id=room)).refused(10001)
    await alice.send(room, "")
    assert [message["Content"] for message in await alice.history(room)] == [""]


@pytest.mark.parametrize("letter", ["a", "é", "中", "\U0001f600"])
async def test_a_content_is_limited_in_bytes_of_utf8(alice: Person, room: str, letter: str) -> None:
    size = len(letter.encode())
    longest = letter * (MAX_CONTENT_BYTES // size) + "a" * (MAX_CONTENT_BYTES % size)
    await alice.send(room, longest)
    refused = await alice.call("send_msg", conversation_id=room, content=longest + "a")
    assert "content" in refused.refused(10001)
    assert [message["Content"] for message in await alice.history(room)] == [longest]


@pytest.mark.parametrize("content", ["\x00", "a\x00b", "end\x00"])
async def test_a_content_with_a_nul_is_refused(alice: Person, room: str, content: str) -> None:
    assert "content" in (await alice.call("send_msg", conversation_id=room, content=content)).refused(10001)


@pytest.mark.parametrize("conversation", NOT_AN_ID_OF_OURS, ids=lambda text: ascii(text)[:30])
async def test_an_id_that_is_none_of_ours_is_not_found(alice: Person, conversation: str) -> None:
    (await alice.call("send_msg", conversation_id=conversation, content="x")).refused(90014)


async def test_only_a_present_member_may_send(api: Api, alice: Person, bob: Person, charlie: Person, room: str) -> None:
    (await charlie.call("send_msg", conversation_id=room, content="x")).refused(90015)
    (await bob.call("leave_conversation", conversation_id=room)).succeeded()
    (await bob.call("send_msg", conversation_id=room, content="x")).refused(90015)
    (await api.inner("kickout_conversation", conversation_id=room, sessions=[alice.session])).succeeded()
    (await alice.call("send_msg", conversation_id=room, content="x")).refused(90015)


async def test_nobody_sends_into_an_archived_conversation(api: Api, alice: Person, room: str) -> None:
    (await api.inner("set_archive_conversations", conversation_ids=[room], is_archive=True)).succeeded()
    (await alice.call("send_msg", conversation_id=room, content="x")).refused(90016)
    (await api.inner("set_archive_conversations", conversation_ids=[room], is_archive=False)).succeeded()
    await alice.send(room, "open again")


async def test_a_deleted_conversation_does_not_exist_for_a_sender(api: Api, alice: Person, room: str) -> None:
    (await api.inner("set_delete_conversations", conversation_ids=[room], is_delete=True)).succeeded()
    (await alice.call("send_msg", conversation_id=room, content="x")).refused(90014)


@pytest.mark.parametrize("value", ["", "a" * 65, 1, True, [], {}], ids=lambda value: repr(value)[:10])
async def test_a_client_msg_id_that_is_none_is_refused(alice: Person, room: str, value: Any) -> None:
    answer = await alice.call("send_msg", conversation_id=room, content="x", client_msg_id=value)
    assert "client_msg_id" in answer.refused(10001)


@pytest.mark.parametrize("value", ["a", "a" * 64, "中" * 64, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"], ids=ascii)
async def test_a_client_msg_id_has_1_to_64_characters(alice: Person, room: str, value: str) -> None:
    first = await alice.send(room, "once", client_msg_id=value)
    assert await alice.send(room, "once", client_msg_id=value) == first
