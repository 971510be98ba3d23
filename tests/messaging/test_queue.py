"""The line in front of the ledger's writer: bounded, in order, and never stopped by one held conversation."""

from collections import defaultdict, deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from messaging import queue
from messaging.message import NewMessage
from messaging.queue import DraftQueue, Entry


def an_entry(conversation: str, deadline: float = 1e9, content: str = "") -> Entry:
    """A draft in line."""
    return Entry(NewMessage(conversation, "alice", 0, 0, content), deadline)


def test_it_refuses_more_drafts_than_it_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_DRAFTS", 2)
    line = DraftQueue()
    assert [line.put(an_entry(name)) for name in "abc"] == [True, True, False]
    assert len(line.take(0)) == 2
    assert line.put(an_entry("c"))


def test_it_refuses_more_bytes_than_it_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_BYTES", 2_000)
    line = DraftQueue()
    assert line.put(an_entry("a", content="x" * 1_700))
    assert not line.put(an_entry("b", content="x" * 100))
    assert line.expire(0) == []
    assert len(line.take(0)) == 1
    assert line.put(an_entry("b", content="x" * 100))


def test_a_batch_is_bounded_in_drafts_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    line = DraftQueue()
    for _ in range(queue.MAX_BATCH_DRAFTS + 1):
        line.put(an_entry("a"))
    assert [len(line.take(0)), len(line.take(0))] == [queue.MAX_BATCH_DRAFTS, 1]
    monkeypatch.setattr(queue, "MAX_BATCH_BYTES", 1_000)
    for _ in range(3):
        line.put(an_entry("a", content="x" * 900))
    assert [len(line.take(0)) for _ in range(3)] == [1, 1, 1]


def test_what_is_said_after_a_conversation_was_set_aside_comes_after_what_was_in_line() -> None:
    line = DraftQueue()
    first, second, third = (an_entry("held") for _ in range(3))
    line.put(first)
    assert line.take(0) == [first]
    line.put(second)
    line.park([first], 0)
    line.put(third)
    assert line.take(0) == []
    assert line.take(queue.PARK_SECONDS) == [first, second, third]


def test_a_held_conversation_lets_others_pass() -> None:
    line = DraftQueue()
    held = [an_entry("held") for _ in range(3)]
    for entry in held:
        line.put(entry)
    assert line.take(0) == held
    line.park(held, 0)
    other = an_entry("other")
    line.put(other)
    assert line.take(0) == [other]
    assert line.next_retry() == queue.PARK_SECONDS
    assert line.take(queue.PARK_SECONDS) == held
    assert (len(line), line.next_retry()) == (0, None)


CONVERSATIONS = st.sampled_from(["a", "b", "c"])


class QueueModel(RuleBasedStateMachine):
    """Drafts come, are taken, written or given back; whatever happens, each conversation keeps its order."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = DraftQueue()
        self.now = 0.0
        self.expected: defaultdict[str, deque[Entry]] = defaultdict(deque)
        self.batch: list[Entry] = []

    @rule(conversations=st.lists(CONVERSATIONS, min_size=1, max_size=12), patience=st.floats(0.01, 1))
    def put(self, conversations: list[str], patience: float) -> None:
        """Drafts join the line, also while a batch is being written."""
        for name in conversations:
            entry = an_entry(name, self.now + patience)
            assert self.queue.put(entry)
            self.expected[name].append(entry)

    @precondition(lambda self: not self.batch)
    @rule()
    def take(self) -> None:
        """The writer takes a batch."""
        self.batch = self.queue.take(self.now)
        assert len(self.batch) <= queue.MAX_BATCH_DRAFTS
        assert len(set(map(id, self.batch))) == len(self.batch)
        if self.queue.next_retry() is None and len(self.queue):
            assert self.batch, "nothing is set aside, and yet nothing is taken"

    @precondition(lambda self: self.batch)
    @rule(held=st.sets(CONVERSATIONS))
    def write(self, held: set[str]) -> None:
        """The writer is through: what was held by another transaction goes back, the rest was written in order."""
        again = [entry for entry in self.batch if entry.draft.conversation_id in held]
        for entry in self.batch:
            if entry.draft.conversation_id not in held:
                first = self.expected[entry.draft.conversation_id].popleft()
                assert entry is first, "overtaken inside its conversation"
        self.batch = []
        self.queue.park(again, self.now)

    @precondition(lambda self: not self.batch)
    @rule(seconds=st.floats(0.001, 0.3))
    def wait(self, seconds: float) -> None:
        """Time passes and the impatient are withdrawn."""
        self.now += seconds
        gone = self.queue.expire(self.now)
        for entry in gone:
            self.expected[entry.draft.conversation_id].remove(entry)
        assert all(entry.deadline <= self.now for entry in gone)
        assert all(entry.deadline > self.now for entries in self.expected.values() for entry in entries)

    @invariant()
    def counts_what_waits(self) -> None:
        """Nothing is lost and nothing is doubled."""
        assert len(self.queue) + len(self.batch) == sum(map(len, self.expected.values()))

    def teardown(self) -> None:
        """All that is left comes out in order."""
        while True:
            if self.batch:
                self.write(set())
            if not len(self.queue):
                return
            self.now += queue.PARK_SECONDS
            self.batch = self.queue.take(self.now)
            assert self.batch, "it waits for ever"


def test_each_conversation_keeps_its_order_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_BATCH_DRAFTS", 16)
    run_state_machine_as_test(
        QueueModel,
        settings=settings(max_examples=150, stateful_step_count=30, deadline=None, report_multiple_bugs=False),
    )
