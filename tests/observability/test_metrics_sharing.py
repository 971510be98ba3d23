"""The numbers of several processes become one answer: nothing lost with those that end, nothing counted twice."""

import json
import os
from pathlib import Path

import pytest

from quickim.observability import metrics_sharing
from quickim.observability.metrics_series import MAX_SERIES, OTHER, Counter, Histogram
from quickim.observability.metrics_sharing import DIRECTORY_VARIABLE, bury, exposition, gather, shared_directory

GONE = 2**22 + 1
"""No process has this id: it is above Linux' highest."""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    return tmp_path


def write(folder: Path, pid: int, replayed: float, depth: float, up: float = 1) -> None:
    """What a process with this id shared last."""
    values = {
        "quickim_replayed_messages_total": [[[], [replayed]]],
        "quickim_ledger_queue_depth": [[[], [depth]]],
        "quickim_layer_up": [[[], [up]]],
        "quickim_of_another_version_total": [[[], [1]]],
    }
    (folder / f"{pid}-abc.json").write_text(json.dumps(values))


def told(name: str) -> float:
    """The one series of ``name`` in an answer of this process, which itself has counted nothing."""
    ((_, (number,)),) = gather({})[name]
    return number


def test_counters_and_gauges_of_living_processes_are_added_and_the_worst_layer_is_told(shared: Path) -> None:
    write(shared, os.getpid(), 5, 2)
    write(shared, os.getppid(), 7, 3, up=0)
    assert told("quickim_replayed_messages_total") == 12
    assert told("quickim_ledger_queue_depth") == 5
    assert told("quickim_layer_up") == 0
    assert told("quickim_workers") == 3


def test_what_a_process_counted_stays_and_its_gauges_go(shared: Path) -> None:
    write(shared, os.getpid(), 5, 2)
    write(shared, GONE, 7, 3)
    for _ in range(2):
        assert told("quickim_replayed_messages_total") == 12
        assert told("quickim_ledger_queue_depth") == 2
        bury(GONE)
    assert not list(shared.glob(f"{GONE}-*"))
    write(shared, GONE + 1, 100, 3)
    bury(GONE + 1)
    assert told("quickim_replayed_messages_total") == 112


def test_who_reads_while_a_process_is_buried_counts_it_once(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(shared, GONE, 7, 3)
    read_ended = metrics_sharing._read_ended

    def bury_first(path: Path) -> object:
        # The worst moment: its file was read, what was buried was not yet.
        monkeypatch.setattr(metrics_sharing, "_read_ended", read_ended)
        bury(GONE)
        return read_ended(path)

    monkeypatch.setattr(metrics_sharing, "_read_ended", bury_first)
    assert told("quickim_replayed_messages_total") == 7


def test_a_broken_file_hurts_nobody(shared: Path) -> None:
    write(shared, os.getpid(), 5, 2)
    (shared / f"{GONE}-x.json").write_bytes(b"{")
    (shared / "ended.json").write_bytes(b"\xff")
    assert told("quickim_replayed_messages_total") == 5


def test_the_directory_is_private_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    with shared_directory() as path:
        assert path.stat().st_mode & 0o077 == 0
        assert os.environ[DIRECTORY_VARIABLE] == str(path)
    assert not path.exists()
    assert DIRECTORY_VARIABLE not in os.environ


def test_a_family_has_so_many_series_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quickim.observability.metrics_series.Family.all", {})
    counter = Counter("quickim_test_total", "A test.", ("name",))
    for number in range(3 * MAX_SERIES):
        counter.inc(1, f"{number}")
    assert len(counter.values()) == MAX_SERIES + 1
    assert counter.values()[OTHER,] == [2 * MAX_SERIES]


def test_a_histogram_counts_a_bound_in_its_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quickim.observability.metrics_series.Family.all", families := {})
    histogram = Histogram("quickim_test_seconds", "A test.", (0.5, 1))
    families["quickim_test_seconds"] = histogram
    for value in (0.5, 0.7, 1, 9):
        histogram.observe(value)
    body, _ = exposition({"quickim_test_seconds": list(histogram.values().items())}, "")
    lines = body.decode().splitlines()
    assert 'quickim_test_seconds_bucket{le="0.5"} 1.0' in lines
    assert 'quickim_test_seconds_bucket{le="1.0"} 3.0' in lines
    assert 'quickim_test_seconds_bucket{le="+Inf"} 4.0' in lines
    assert "quickim_test_seconds_sum 11.2" in lines
