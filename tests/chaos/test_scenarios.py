"""Twenty seconds each of the scenarios that find most, and a planted bug to be found: ``script/chaos`` in small."""

from collections.abc import Iterator

import pytest

from tests.chaos import journal
from tests.chaos.lanes import Job, Lane
from tests.chaos.planting.bugs import PLANTS
from tests.chaos.planting.table import EXPECTED
from tests.chaos.scenarios import SCENARIOS

# They take turns: each run has processes for two cores.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chaos")]

SECONDS = 20.0


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """A PostgreSQL for all runs of this module."""
    lane = Lane(tmp_path_factory.mktemp("chaos"))
    yield lane
    lane.close()


@pytest.mark.parametrize("scenario", ["S0", "S2", "S3", "S7", "S11"])
def test_every_promise_holds(lane: Lane, scenario: str) -> None:
    outcome = lane.work(Job(scenario, (1,), SECONDS))
    assert not outcome.failed, outcome.failed
    assert (lane.out / f"{scenario}-1.txt").read_text().startswith(outcome.headlines[0])
    assert journal.read(lane.out / f"{scenario}-1.jsonl").rows


def test_a_planted_bug_is_found(lane: Lane) -> None:
    outcome = lane.work(Job("S1", (1, 2, 3), None, "announce_in_transaction"))
    assert not outcome.failed, outcome.headlines


def test_every_plant_has_a_place_in_the_table() -> None:
    assert set(PLANTS) == set(EXPECTED)
    assert {expected.scenario for expected in EXPECTED.values()} <= set(SCENARIOS)
