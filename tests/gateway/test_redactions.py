"""Redactions as members hear of them: at once, late, on coming back; and contents that were under way meanwhile."""

import pytest

from conversations import services
from gateway import entrance, redactions
from gateway.cursor import Cursor, parse
from gateway.envelopes import _packed_redactions, unpack_redactions
from messaging.message import MessagesCommitted, MessagesRedacted, RedactedMessage
from messaging.redaction import redact_message
from tests.gateway.in_process import InProcess, Reader


def told(reader: Reader) -> list[str]:
    """The targets of the redactions that a reader heard of."""
    return [item["Target"] for item in reader.received if item.get("Event") == "message.redacted"]


def contents(reader: Reader) -> list[tuple[str, bool]]:
    """What its messages said."""
    messages = [item for item in reader.received if "MsgId" in item]
    return [(message["Content"], message.get("Redacted", False)) for message in messages]


async def test_members_are_told_at_once_and_nobody_else(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    alice, bob, charlie = [await world.connect(name) for name in ("alice", "bob", "charlie")]
    receipt = await world.send(room, "alice", "secret")
    await world.do(redact_message, room, receipt.msg_id)
    notice = bob.received[-1]
    assert notice == {
        "Event": "message.redacted",
        "ConversationID": room,
        "ConversationType": 1,
        "SendTime": notice["SendTime"],
        "Target": receipt.msg_id,
    }
    assert told(alice) == told(bob) == [receipt.msg_id]
    assert charlie.received == []


async def test_what_no_announcement_told_is_found_by_the_sweep_once(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    bob = await world.connect("bob")
    receipt = await world.send(room, "alice", "secret")
    await world.sweep()
    with world.unheard():
        await world.do(redact_message, room, receipt.msg_id)
    assert told(bob) == []
    await world.sweep()
    await world.sweep()
    assert told(bob) == [receipt.msg_id]


async def test_who_comes_back_is_told_and_gets_no_content(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    seen = await world.send(room, "alice", "seen")
    world.clock.advance(60)
    missed = await world.send(room, "alice", "missed")
    await world.do(redact_message, room, seen.msg_id)
    await world.do(redact_message, room, missed.msg_id)
    bob = await world.connect("bob", parse(seen.msg_id))
    assert told(bob) == [seen.msg_id, missed.msg_id]
    assert contents(bob) == [("", True)]


async def test_too_many_redactions_since_are_a_reset(world: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redactions, "MAX_REDACTIONS", 2)
    monkeypatch.setattr("gateway.resume.MAX_REDACTIONS", 2)
    room = await world.create("alice", "bob")
    receipts = [await world.send(room, "alice", f"secret {number}") for number in range(3)]
    world.clock.advance(60)
    for receipt in receipts:
        await world.do(redact_message, room, receipt.msg_id)
    bob = await world.connect("bob", parse(receipts[-1].msg_id))
    assert {"Event": "reset"} in bob.received


async def test_a_cursor_that_tells_of_a_redaction_hears_no_more_of_it(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    receipt = await world.send(room, "alice", "secret")
    await world.do(redact_message, room, receipt.msg_id)
    loaded = await entrance.load("bob", Cursor(0))
    counted = {number: version for number, (version, _) in loaded.told.items()}
    again = await world.connect("bob", Cursor(0, {}, counted))
    assert told(again) == []


async def test_who_was_removed_hears_of_nothing_redacted_later(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    bob = await world.connect("bob")
    receipt = await world.send(room, "alice", "secret")
    with world.unheard():
        await world.do(services.kick_out, room, ["bob"])
    await world.do(redact_message, room, receipt.msg_id)
    assert told(bob) == []
    later = await world.connect("bob", parse(receipt.msg_id))
    assert told(later) == []


async def test_a_message_that_is_announced_after_its_redaction_says_nothing(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    bob = await world.connect("bob")
    with world.held_facts() as facts:
        receipt = await world.send(room, "alice", "secret")
        await world.do(redact_message, room, receipt.msg_id)
    messages, redaction = facts
    assert isinstance(messages, MessagesCommitted)
    assert isinstance(redaction, MessagesRedacted)
    await world.tell(redaction)
    await world.tell(messages)
    assert contents(bob) == [("", True)]


async def test_a_message_that_waits_for_an_earlier_one_is_emptied(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    bob = await world.connect("bob")
    with world.held_facts() as facts:
        await world.send(room, "alice", "first")
        receipt = await world.send(room, "alice", "secret")
        await world.do(redact_message, room, receipt.msg_id)
    first, second, redaction = facts
    world.hub.receive(second.committed)
    world.hub.redactions.tell(redaction)
    await world.tell(first)
    assert contents(bob) == [("first", False), ("", True)]


async def test_a_redaction_between_load_and_attachment_is_not_missed(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    receipt = await world.send(room, "alice", "secret")
    cursor = parse(receipt.msg_id)
    loaded = await entrance.load("bob", cursor)
    await world.do(redact_message, room, receipt.msg_id)
    bob = await world.enter("bob", loaded, cursor)
    await world.settled()
    assert told(bob) == [receipt.msg_id]


async def test_a_deleted_conversations_redactions_are_nobodys_news(world: InProcess) -> None:
    room = await world.create("alice", "bob")
    receipt = await world.send(room, "alice", "secret")
    bob = await world.connect("bob")
    await world.do(services.set_deleted, [room], True)
    await world.do(redact_message, room, receipt.msg_id)
    await world.sweep()
    assert told(bob) == []


def test_the_notice_travels_between_nodes() -> None:
    fact = MessagesRedacted(3, "an id", 7, 9, 1_000, (RedactedMessage(5, "MSG", 2), RedactedMessage(6, "MSG-2", 3)))
    assert unpack_redactions(_packed_redactions(fact)) == fact
