"""The rules with figures in them: each keeps silent on a run that is well, and speaks up on one that is not."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.history import (
    Attempt,
    Census,
    Complaint,
    Connection,
    Delivery,
    Fault,
    FaultKind,
    History,
    Sample,
    Send,
    Stall,
)
from tests.chaos.limits import Occasion, i0, i11, i12, i13

ROOM = "room"
MIB = 1024 * 1024


def a_run(kind: FaultKind = "") -> History:
    """Ten sends, one a second, each delivered at once; a fault from 3.5 to 6.5."""
    sends = [
        Send(f"c{number}", ROOM, "alice", "x", number, number + 0.1, "ok", (f"M{number}",)) for number in range(1, 11)
    ]
    return History(
        sends=sends,
        attempts=[Attempt(send.client_msg_id, ROOM, 0, send.invoked, send.ended, 200) for send in sends],
        deliveries=[
            Delivery(number + 0.2, 1 if number < 5 else 2, "bob", ROOM, number, f"M{number}", "x")
            for number in range(1, 11)
        ],
        connections=[
            Connection(1, "bob", "ws", 0, 0.0, 4.9),
            Connection(2, "bob", "ws", 0, 5.15, 30.0, cursor="M4"),
        ],
        faults=[Fault("struck", 3.5, 6.5, 1, kind)],
    )


def without_database() -> History:
    """The same with the database away: those sends are refused at once."""
    run = a_run("database")
    run.attempts = [replace(attempt, status=503) if 3.5 < attempt.began < 6.5 else attempt for attempt in run.attempts]
    return run


def stalled(code: int | None = 4003) -> History:
    """One reader stands still from 3 to 8."""
    run = a_run()
    run.connections = [Connection(1, "bob", "ws", 0, 0.0, 30.0), Connection(2, "bob", "ws", 0, 0.0, 30.0)]
    run.stalls = [Stall("ws", 0, 3.0, 8.0, code)]
    run.samples = [Sample(number, 0, 100 * MIB) for number in range(10)]
    return run


OCCASION = Occasion(ok_per_second=1, faults_per_second=0.1, replays_per_second=0.1, protocols=("ws",), counts={"x": 1})


def test_a_run_that_was_enough_is_not_vacuous() -> None:
    run = a_run()
    run.counts = {"x": 1}
    assert list(i0(run, 10, OCCASION)) == []


@pytest.mark.parametrize(
    ("occasion", "says"),
    [
        (replace(OCCASION, ok_per_second=2), "only 10 sends"),
        (replace(OCCASION, faults_per_second=0.2), "only 1 faults"),
        (replace(OCCASION, replays_per_second=0.2), "only 1 resumptions over ws"),
        (replace(OCCASION, protocols=("sse",)), "only 0 resumptions over sse"),
        (replace(OCCASION, counts={"x": 2}), "x: 1 times, not 2"),
        (replace(OCCASION, kinds=("layer",)), "the layer was never away"),
    ],
)
def test_a_run_that_was_not_is_told(occasion: Occasion, says: str) -> None:
    run = a_run()
    run.counts = {"x": 1}
    (found,) = i0(run, 10, occasion)
    assert found.startswith(says)


@pytest.mark.parametrize("run", [a_run(), a_run("layer"), without_database()])
def test_who_bears_an_outage_as_promised_is_not_blamed(run: History) -> None:
    assert list(i11(run)) == []


def refused(run: History) -> None:
    """One of three sends is not acknowledged."""
    run.attempts = [replace(one, status=503) if one.client_msg_id == "c4" else one for one in run.attempts]


def slow(run: History) -> None:
    """One takes two seconds."""
    run.attempts = [replace(one, ended=one.began + 2) if one.client_msg_id == "c4" else one for one in run.attempts]


def delivered_late(run: History) -> None:
    """One comes after many sweeps."""
    run.deliveries = [replace(one, at=20.0) if one.msg_id == "M6" else one for one in run.deliveries]


def acknowledged(run: History) -> None:
    """One is acknowledged while nothing can be stored."""
    run.attempts = [replace(one, status=200) if one.client_msg_id == "c4" else one for one in run.attempts]


def refused_late(run: History) -> None:
    """One is refused after ten seconds."""
    run.attempts = [replace(one, ended=one.began + 10) if one.status == 503 else one for one in run.attempts]


def back_late(run: History) -> None:
    """Nothing is acknowledged for long after the return."""
    run.attempts = [
        replace(one, ended=one.ended + 10) if one.status == 200 and one.began > 6.5 else one for one in run.attempts
    ]


@pytest.mark.parametrize(
    ("run", "spoil"),
    [
        (a_run("layer"), refused),
        (a_run("layer"), slow),
        (a_run("layer"), delivered_late),
        (without_database(), acknowledged),
        (without_database(), refused_late),
        (without_database(), back_late),
    ],
)
def test_who_does_not_is(run: History, spoil: Callable[[History], None]) -> None:
    run = replace(run)
    spoil(run)
    assert list(i11(run))


def test_a_stalled_reader_that_is_cut_off_harms_nobody() -> None:
    assert list(i12(stalled())) == []


@pytest.mark.parametrize("code", [None, 1011])
def test_one_that_is_not_or_not_for_that_is_told(code: int | None) -> None:
    assert list(i12(stalled(code)))


def test_so_is_one_that_costs_memory_or_the_time_of_others() -> None:
    run = stalled()
    run.samples = [*run.samples, Sample(7.0, 0, 200 * MIB)]
    assert [found for found in i12(run) if "grew by 100 MiB" in found]
    run = stalled()
    run.deliveries = [replace(one, at=one.at + 1) if one.msg_id == "M6" else one for one in run.deliveries]
    assert [found for found in i12(run) if "99 % of the others" in found]


def test_what_is_left_behind_is_told() -> None:
    start = Census("start", 0, 7, 8, 5)
    run = History(censuses=[start, replace(start, when="end", tasks=9, sockets=6, database_connections=7)])
    assert list(i13(run)) == []
    run = History(censuses=[start, replace(start, when="end", tasks=10)])
    assert list(i13(run)) == ["node 0 has +3 tasks"]
    assert list(i13(History(complaints=[Complaint(1, "a traceback")]))) == ["node 1: a traceback"]
