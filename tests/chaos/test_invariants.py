"""The checker itself: a good history passes, and one hand-made bad history for each rule does not."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.history import Connection, Delivery, Histories, History, Membership, Page, Row, Send
from tests.chaos.invariants import violations

ROOM = "room"


def a_send(number: int) -> Send:
    """Sent a second after the one before it, and acknowledged at once."""
    return Send(f"c{number}", ROOM, "alice", f"text {number}", number, number + 0.1, "ok", (f"M{number}",))


def a_row(number: int) -> Row:
    """As it is stored."""
    return Row(ROOM, number, f"M{number}", "alice", f"c{number}", f"text {number}", number * 1_000_000)


def a_delivery(number: int, connection: int = 1, at: float = 0.0) -> Delivery:
    """As bob gets it."""
    return Delivery(at or number + 0.2, connection, "bob", ROOM, number, f"M{number}", f"text {number}")


def good() -> History:
    """Three messages from alice to bob, who reconnects once and gets the second one twice."""
    ids = ("M1", "M2", "M3")
    return History(
        sends=[a_send(number) for number in (1, 2, 3)],
        rows=[a_row(number) for number in (1, 2, 3)],
        deliveries=[a_delivery(1), a_delivery(2), a_delivery(2, 2, 2.9), a_delivery(3, 2)],
        connections=[
            Connection(1, "bob", "ws", 0, 0.0, 2.5, left_with="M1"),
            Connection(2, "bob", "sse", 1, 2.6, 30.0, cursor="M1"),
        ],
        pages=[Page(2.3, ROOM, ("M1", "M2"))],
        memberships=[Membership(ROOM, "bob", 0)],
        histories=[Histories(ROOM, ids, ids[::-1])],
        marks={"healed": 0.5},
    )


def without_row(history: History) -> None:
    """An acknowledged message is lost."""
    history.rows = list(history.rows)[:2]
    history.deliveries = list(history.deliveries)[:3]
    history.histories = [Histories(ROOM, ("M1", "M2"), ("M2", "M1"))]


def with_a_foreign_row(history: History) -> None:
    """A message that nobody sent."""
    history.rows = [*history.rows, replace(a_row(4), client_msg_id="of nobody")]
    history.deliveries = [*history.deliveries, a_delivery(4, 2)]
    history.histories = [Histories(ROOM, ("M1", "M2", "M3", "M4"), ("M4", "M3", "M2", "M1"))]


def with_a_refused_row(history: History) -> None:
    """A refused message is stored all the same."""
    history.sends = [*list(history.sends)[:2], replace(a_send(3), outcome="failed", msg_ids=())]


def stored_twice(history: History) -> None:
    """A retry took effect again."""
    history.rows = [*history.rows, replace(a_row(4), client_msg_id="c3", content="text 3")]
    history.deliveries = [*history.deliveries, replace(a_delivery(4, 2), content="text 3")]
    history.histories = [Histories(ROOM, ("M1", "M2", "M3", "M4"), ("M4", "M3", "M2", "M1"))]


def out_of_order(history: History) -> None:
    """A connection gets an earlier message after a later one."""
    history.deliveries = [a_delivery(1), a_delivery(2), a_delivery(3, 1, 3.2), a_delivery(2, 1, 3.3)]


def with_a_hole(history: History) -> None:
    """A message comes before an earlier one, on another connection."""
    history.deliveries = [a_delivery(1), a_delivery(3, 2), a_delivery(2, 3, 4.0)]


def from_the_cursor_itself(history: History) -> None:
    """The message that the cursor names comes again."""
    history.deliveries = [a_delivery(1), a_delivery(1, 2, 2.7), a_delivery(2, 2, 2.8), a_delivery(3, 2)]


def a_poll_twice(history: History) -> None:
    """A poll brings what its cursor says was taken."""
    first, second = history.connections
    history.connections = [replace(first, protocol="poll", left_with="C"), replace(second, cursor="C")]


def never_delivered(history: History) -> None:
    """The last message does not come."""
    history.deliveries = list(history.deliveries)[:3]


def delivered_late(history: History) -> None:
    """The last message comes a minute after the heal, to somebody who was connected."""
    history.deliveries = [*list(history.deliveries)[:3], a_delivery(3, 2, 29.0)]


def other_content(history: History) -> None:
    """What is delivered is not what is stored."""
    history.deliveries = [*list(history.deliveries)[:3], replace(a_delivery(3, 2), content="other")]


def other_history(history: History) -> None:
    """History backward leaves one out."""
    history.histories = [Histories(ROOM, ("M1", "M2", "M3"), ("M3", "M1"))]


def below_a_page(history: History) -> None:
    """A page was read that lacked what later stands in it."""
    history.pages = [Page(2.3, ROOM, ("M1", "M3"))]


def against_the_clock(history: History) -> None:
    """A message that was sent after another one's acknowledgement gets a lower MsgId."""
    history.sends = [a_send(1), replace(a_send(2), invoked=3.5, ended=3.6), a_send(3)]


def seq_against_msg_id(history: History) -> None:
    """The Seq order is not the MsgId order."""
    history.rows = [a_row(1), replace(a_row(2), seq=3), replace(a_row(3), seq=2)]
    history.deliveries = []
    history.memberships = []
    history.sends = [replace(send, invoked=0.0, ended=9.0) for send in history.sends]
    history.pages = []
    history.histories = [Histories(ROOM, ("M1", "M3", "M2"), ("M2", "M3", "M1"))]


def after_a_kick(history: History) -> None:
    """Bob is kicked between the second and the third message, and gets the third."""
    history.memberships = [Membership(ROOM, "bob", 0, ended_seq=2)]


def said_after_a_kick(history: History) -> None:
    """Alice is kicked between the second and the third message, and says the third."""
    history.memberships = [Membership(ROOM, "bob", 0), Membership(ROOM, "alice", 0, ended_seq=2)]


def before_joining(history: History) -> None:
    """Bob gets what was said before he joined."""
    history.memberships = [Membership(ROOM, "bob", 1)]


BAD: list[tuple[str, Callable[[History], None]]] = [
    ("I1", without_row),
    ("I2", with_a_foreign_row),
    ("I2", with_a_refused_row),
    ("I3", stored_twice),
    ("I4", out_of_order),
    ("I4", from_the_cursor_itself),
    ("I4", a_poll_twice),
    ("I5", with_a_hole),
    ("I6", never_delivered),
    ("I6", delivered_late),
    ("I7", other_content),
    ("I7", other_history),
    ("I8", below_a_page),
    ("I9", against_the_clock),
    ("I9", seq_against_msg_id),
    ("I10", after_a_kick),
    ("I10", said_after_a_kick),
    ("I10", before_joining),
]


def test_a_good_history_violates_nothing() -> None:
    assert violations(good()) == []


@pytest.mark.parametrize(("invariant", "spoil"), BAD, ids=[spoil.__name__ for _, spoil in BAD])
def test_each_rule_finds_its_violation(invariant: str, spoil: Callable[[History], None]) -> None:
    history = good()
    spoil(history)
    assert invariant in {violation.invariant for violation in violations(history)}


@pytest.mark.parametrize("spoil", [without_row, never_delivered, other_history, below_a_page, after_a_kick])
def test_a_violation_names_only_its_rule(spoil: Callable[[History], None]) -> None:
    history = good()
    spoil(history)
    (expected,) = {invariant for invariant, bad in BAD if bad is spoil}
    assert {violation.invariant for violation in violations(history)} == {expected}


def test_a_member_who_joins_again_is_owed_only_his_latest_membership() -> None:
    history = good()
    history.memberships = [Membership(ROOM, "bob", 0, ended_seq=1), Membership(ROOM, "bob", 2)]
    history.deliveries = [a_delivery(1), a_delivery(3, 2)]
    assert violations(history) == []


def test_who_was_away_is_not_late() -> None:
    history = good()
    delivered_late(history)
    history.connections = [Connection(2, "bob", "ws", 0, 28.0, 30.0, cursor="M1")]
    assert violations(history) == []
