"""The MsgId: its form, what can be read out of it, and that its order is the order of commit."""

import asyncio
import re

import pytest

from tests.clients import Api, Person

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
FORM = re.compile(f"[{ALPHABET}]{{5}}-[{ALPHABET}]{{4}}-[{ALPHABET}]{{4}}-[{ALPHABET}]{{3}}")


def parts(msg_id: str) -> tuple[int, int, int, int]:
    """(milliseconds, counter, type, conversation), by the table of the contract: 42, 12, 4 and 22 bits."""
    assert FORM.fullmatch(msg_id), msg_id
    number = 0
    for letter in msg_id.replace("-", ""):
        number = number * 32 + ALPHABET.index(letter)
    return number >> 38, number >> 26 & 0xFFF, number >> 22 & 0xF, number & 0x3FFFFF


async def test_its_time_is_the_send_time_in_milliseconds(alice: Person, room: str) -> None:
    for _ in range(5):
        sent = await alice.send(room)
        assert parts(sent["MsgID"])[0] == sent["SendTime"] // 1000


@pytest.mark.parametrize("conversation_type", [0, 5, 15, 16, 31, 2**63 - 1])
async def test_it_carries_the_low_four_bits_of_the_type(api: Api, alice: Person, conversation_type: int) -> None:
    conversation = await api.conversation(alice.session, conversation_type=conversation_type)
    assert parts((await alice.send(conversation))["MsgID"])[2] == conversation_type % 16


async def test_it_tells_conversations_apart(api: Api, alice: Person) -> None:
    seen = set()
    for _ in range(10):
        conversation = await api.conversation(alice.session)
        own = {parts((await alice.send(conversation))["MsgID"])[3] for _ in range(3)}
        assert len(own) == 1
        seen |= own
    assert len(seen) == 10


async def test_concurrent_sends_get_unique_ids_whose_byte_order_is_seq_order(
    api: Api, alice: Person, bob: Person
) -> None:
    conversations = [await api.conversation(alice.session, bob.session) for _ in range(4)]
    sends = [
        who.send(conversation, f"{number}")
        for number in range(40)
        for conversation in conversations
        for who in (alice, bob)
    ]
    sent = await asyncio.gather(*sends)
    assert len({one["MsgID"] for one in sent}) == len(sends)
    for conversation in conversations:
        messages = await alice.history(conversation)
        assert [message["Seq"] for message in messages] == list(range(1, 81))
        ids = [message["MsgId"].encode() for message in messages]
        assert ids == sorted(ids)
        assert len(set(ids)) == 80
        times = [message["SendTime"] for message in messages]
        assert times == sorted(times)


async def test_an_acknowledged_send_comes_before_every_later_one(alice: Person, bob: Person, room: str) -> None:
    ids = [(await who.send(room))["MsgID"] for who in (alice, bob) * 10]
    assert ids == sorted(ids)
    assert [message["MsgId"] for message in await alice.history(room)] == ids
