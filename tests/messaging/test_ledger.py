"""The ledger's threads: batches, order, deadlines, a writer that hangs, and its end."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from conversations import announcements
from conversations.models import Conversation
from messaging import ledger as module
from messaging import retries
from messaging.ledger import Ledger
from messaging.message import Again, MessagesCommitted, NewMessage, Outcome, Receipt
from messaging.models import Message
from quickim.database import in_database
from quickim.errors import NotMember, OutcomeUnknown, QuickimError, Unavailable
from tests.databases import holds_within
from tests.messaging.conftest import draft, stored

pytestmark = pytest.mark.asyncio


class Gate:
    """Stands in front of the append: what the writer took waits here until the gate is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._reached = threading.Semaphore(0)
        self.batches: list[int] = []
        self.outcomes: list[list[Outcome]] = []

    def __call__(self, drafts: Sequence[NewMessage], deadline: float) -> list[Outcome]:
        """In the place of ``append_with_retries``."""
        self.batches.append(len(drafts))
        self._reached.release()
        assert self._open.wait(30)
        if self.outcomes:
            return self.outcomes.pop(0)
        return retries.append_with_retries(drafts, deadline)

    async def reached(self) -> None:
        """Returns when the writer came with a batch."""
        assert await asyncio.to_thread(self._reached.acquire, timeout=10)

    def open(self) -> None:
        """Lets all pass."""
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A closed gate; opened at the end, so that no thread is left behind it."""
    gate = Gate()
    monkeypatch.setattr(module, "append_with_retries", gate)
    yield gate
    gate.open()


@pytest_asyncio.fixture
async def line(transactional_db: None) -> AsyncIterator[Ledger]:
    """A ledger of the test's own."""
    line = Ledger()
    yield line
    await asyncio.to_thread(line.close, 10)


async def outcome(sending: "asyncio.Task[Receipt]") -> Receipt | QuickimError:
    """What a sender learned."""
    (result,) = await asyncio.gather(sending, return_exceptions=True)
    assert isinstance(result, Receipt | QuickimError), result
    return result


def kinds(outcomes: Sequence[Any]) -> list[type]:
    """Their types."""
    return [type(one) for one in outcomes]


async def test_sends_of_one_loop_are_appended_in_order_and_in_batches(
    line: Ledger, room: Conversation, gate: Gate
) -> None:
    sends = [asyncio.create_task(line.send(draft(room, str(count)))) for count in range(300)]
    await gate.reached()
    gate.open()
    receipts = await asyncio.gather(*sends)
    rows = await in_database(stored, room)
    assert [content for _, _, content in rows] == [str(count) for count in range(300)]
    assert [receipt.msg_id for receipt in receipts] == sorted(receipt.msg_id for receipt in receipts)
    assert len(gate.batches) <= 4


async def test_a_send_repeated_twenty_times_at_once_has_one_effect(line: Ledger, room: Conversation) -> None:
    receipts = await asyncio.gather(*(line.send(draft(room, client_msg_id="once")) for _ in range(20)))
    assert len({(receipt.msg_id, receipt.send_time) for receipt in receipts}) == 1
    assert sum(not receipt.repeated for receipt in receipts) == 1
    assert len(await in_database(stored, room)) == 1


async def test_what_refuses_a_draft_is_raised_to_its_sender_alone(line: Ledger, room: Conversation) -> None:
    sends = [line.send(draft(room, session=session)) for session in ("alice", "charlie", "bob")]
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert kinds(outcomes) == [Receipt, NotMember, Receipt]


async def test_what_was_committed_together_is_announced_together_once_the_senders_know(
    line: Ledger, room: Conversation, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts: list[Any] = []

    def broken(fact: Any) -> None:
        raise RuntimeError("a listener's failure concerns nobody else")

    monkeypatch.setattr(announcements, "_listeners", [broken, facts.append])
    first = asyncio.create_task(line.send(draft(room, "0")))
    await gate.reached()
    others = [asyncio.create_task(line.send(draft(room, str(count)))) for count in (1, 2)]
    await asyncio.sleep(0)
    gate.open()
    receipts = await asyncio.gather(first, *others)
    await asyncio.to_thread(line.close, 10)
    assert all(isinstance(fact, MessagesCommitted) for fact in facts)
    told = [[item.message.content for item in fact.committed] for fact in facts]
    assert told == [["0"], ["1", "2"]]
    assert [item.receipt for fact in facts for item in fact.committed] == receipts


async def test_a_held_conversation_waits_in_order_while_others_pass(
    line: Ledger, room: Conversation, gate: Gate
) -> None:
    held = [asyncio.create_task(line.send(draft(room, str(count)))) for count in range(2)]
    await asyncio.sleep(0)
    await gate.reached()
    gate.outcomes = [[Again()] * gate.batches[0]]
    later = [asyncio.create_task(line.send(draft(room, str(count)))) for count in (2, 3)]
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(*held, *later)
    rows = await in_database(stored, room)
    assert [content for _, _, content in rows] == ["0", "1", "2", "3"]


async def test_a_full_line_refuses_at_once(
    line: Ledger, room: Conversation, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.queue.MAX_DRAFTS", 2)
    sends = [asyncio.create_task(line.send(draft(room, "taken")))]
    await gate.reached()
    sends += [asyncio.create_task(line.send(draft(room, text))) for text in ("waits", "waits too")]
    await asyncio.sleep(0)
    assert line.depth == 2
    with pytest.raises(Unavailable):
        await line.send(draft(room, "too many"))
    gate.open()
    assert kinds(await asyncio.gather(*sends)) == [Receipt] * 3
    assert len(await in_database(stored, room)) == 3


async def test_a_draft_in_line_is_withdrawn_and_a_taken_one_is_unknown_when_time_is_up(
    line: Ledger, room: Conversation, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_SECONDS", 0.3)
    taken = asyncio.create_task(line.send(draft(room, "taken")))
    await gate.reached()
    waiting = asyncio.create_task(line.send(draft(room, "in line")))
    started = time.monotonic()
    assert kinds([await outcome(taken), await outcome(waiting)]) == [OutcomeUnknown, Unavailable]
    assert time.monotonic() - started < 2
    gate.open()
    await asyncio.to_thread(line.close, 10)
    # "Unknown" was right: it was stored after all. What was withdrawn was not.
    rows = await in_database(stored, room)
    assert [content for _, _, content in rows] == ["taken"]


async def test_a_writer_that_hangs_is_replaced(
    line: Ledger, room: Conversation, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_SECONDS", 0.3)
    monkeypatch.setattr(module, "STUCK_SECONDS", 0.5)
    facts: list[Any] = []
    monkeypatch.setattr(announcements, "_listeners", [facts.append])
    hung = asyncio.create_task(line.send(draft(room, "hung")))
    await gate.reached()
    assert not line.is_stuck
    assert type(await outcome(hung)) is OutcomeUnknown
    assert await asyncio.to_thread(holds_within, 5.0, lambda: line.is_stuck)
    monkeypatch.setattr(module, "append_with_retries", retries.append_with_retries)
    monkeypatch.setattr(module, "MAX_WAIT_SECONDS", 5)
    assert type(await line.send(draft(room, "next"))) is Receipt
    gate.open()
    assert await asyncio.to_thread(holds_within, 5.0, lambda: _writers() == 1)
    # What the old one stored in the end is the sweep's to find: its sender has gone with "unknown".
    assert [item.message.content for fact in facts for item in fact.committed] == ["next"]
    assert [content for _, _, content in await in_database(stored, room)] == ["next", "hung"]
    assert await asyncio.to_thread(holds_within, 5.0, lambda: not line.is_stuck)


def _writers() -> int:
    """How many writer threads live, but for the one of the process's own ledger."""
    mine = [thread for thread in threading.enumerate() if isinstance(thread, module._Writer)]
    return sum(thread.ledger is not module.ledger() for thread in mine)


async def test_a_hung_connection_is_woken_by_shutting_its_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        module._shut(SimpleNamespace(fileno=ours.fileno))
        assert ours.recv(1) == b""
        assert theirs.recv(1) == b""
    module._shut(SimpleNamespace(fileno=ours.fileno))
    module._shut(None)


async def test_close_finishes_what_is_in_line_and_ends_the_threads(
    line: Ledger, room: Conversation, gate: Gate
) -> None:
    first = asyncio.create_task(line.send(draft(room, "0")))
    await gate.reached()
    others = [asyncio.create_task(line.send(draft(room, str(count)))) for count in range(1, 5)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(line.close, 10))
    assert await asyncio.to_thread(holds_within, 5.0, lambda: line._closing)
    with pytest.raises(Unavailable):
        await line.send(draft(room, "too late"))
    gate.open()
    await closing
    assert kinds(await asyncio.gather(first, *others)) == [Receipt] * 5
    assert _writers() == 0
    assert await in_database(Message.objects.count) == 5


async def test_close_gives_up_a_writer_that_does_not_end(line: Ledger, room: Conversation, gate: Gate) -> None:
    sending = asyncio.create_task(line.send(draft(room)))
    await gate.reached()
    started = time.monotonic()
    await asyncio.to_thread(line.close, 0.2)
    assert time.monotonic() - started < 2
    gate.open()
    assert type(await outcome(sending)) is Receipt


async def test_a_sender_that_has_gone_does_no_harm(line: Ledger, room: Conversation, gate: Gate) -> None:
    gone = asyncio.create_task(line.send(draft(room, "gone")))
    await gate.reached()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    gate.open()
    assert type(await line.send(draft(room, "here"))) is Receipt
    rows = await in_database(stored, room)
    assert [content for _, _, content in rows] == ["gone", "here"]
