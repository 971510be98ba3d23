"""What a run leaves behind can be judged again: the file holds the whole history."""

from dataclasses import replace
from pathlib import Path

from tests.chaos import journal
from tests.chaos.history import Attempt, Census, Complaint, Fault, Sample, Stall
from tests.chaos.invariants import violations
from tests.chaos.test_invariants import good, never_delivered


def test_a_history_survives_its_file(tmp_path: Path) -> None:
    history = replace(
        good(),
        attempts=[Attempt("c1", "room", 0, 1.0, 1.1, 200), Attempt("c2", "room", 1, 2.0, 2.1, None, "reset")],
        faults=[Fault("struck", 3.5, 6.5, 1, "layer")],
        censuses=[Census("start", 0, 7, 8, 5)],
        samples=[Sample(1.0, 0, 1)],
        stalls=[Stall("ws", 0, 3.0, 8.0, None)],
        complaints=[Complaint(1, "a traceback")],
        counts={"worker killed": 3},
    )
    history.connections = [*history.connections[:1], replace(history.connections[1], closed=float("inf"))]
    journal.write(history, tmp_path / "run.jsonl")
    again = journal.read(tmp_path / "run.jsonl")
    assert again == history
    assert violations(again) == []
    spoiled = journal.read(tmp_path / "run.jsonl")
    never_delivered(spoiled)
    assert {violation.invariant for violation in violations(spoiled)} == {"I6"}
