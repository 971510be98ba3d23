"""The journal of the last seconds: the highest of what was heard, and who came and went."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.journal import KEPT_SECONDS, MAX_LOAD_SECONDS, Journal


def test_it_keeps_the_highest_seq_and_version_of_a_conversation() -> None:
    journal = Journal()
    assert (journal.head(1), journal.version(1)) == (0, -1)
    for seq, version in ((5, 2), (3, 1), (4, -1)):
        journal.message(1, seq, version, 10.0)
    assert (journal.head(1), journal.version(1)) == (5, 2)
    assert (journal.head(2), journal.version(2)) == (0, -1)


def test_a_change_raises_the_version_and_not_the_head() -> None:
    journal = Journal()
    journal.change(1, 4, ["alice"], 10.0)
    assert (journal.head(1), journal.version(1)) == (0, 4)


def test_it_tells_what_a_session_may_have_joined_or_left_since() -> None:
    journal = Journal()
    journal.change(1, 1, ["alice", "bob"], 10.0)
    journal.change(2, 1, ["bob"], 11.0)
    journal.change(3, 1, None, 12.0)
    assert journal.joined_or_left("alice", 9.0) == {1, 3}
    assert journal.joined_or_left("bob", 10.0) == {1, 2, 3}
    assert journal.joined_or_left("bob", 10.5) == {2, 3}
    assert journal.joined_or_left("charlie", 0.0) == {3}
    assert journal.joined_or_left("alice", 12.5) == set()


def test_it_forgets_what_is_older_than_any_load_that_is_still_used() -> None:
    journal = Journal()
    journal.message(1, 5, 2, 10.0)
    journal.change(1, 3, ["alice"], 10.0)
    journal.prune(10.0 + MAX_LOAD_SECONDS)
    assert (journal.head(1), journal.version(1)) == (5, 3)
    assert journal.joined_or_left("alice", 10.0) == {1}
    journal.prune(10.1 + KEPT_SECONDS)
    assert (journal.head(1), journal.version(1)) == (0, -1)
    assert journal.joined_or_left("alice", 10.0) == set()
    assert KEPT_SECONDS > MAX_LOAD_SECONDS


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 50)), max_size=40), st.floats(0, 45))
def test_every_head_that_rose_within_the_kept_seconds_is_still_told(heard: list[tuple[int, int]], now: float) -> None:
    journal, heads = Journal(), {1: 0, 2: 0, 3: 0}
    rose_lately = dict(heads)
    for at, (number, seq) in enumerate(heard):
        journal.message(number, seq, 0, float(at))
        if seq > heads[number]:
            heads[number] = seq
            rose_lately[number] = seq if at >= now - KEPT_SECONDS else 0
    journal.prune(now)
    assert {number: journal.head(number) for number in heads} == rose_lately
