"""What belongs together stays together; the scenarios themselves are run by ``script/chaos`` and ``script/test``."""

from tests.chaos.planting.bugs import PLANTS
from tests.chaos.planting.table import EXPECTED
from tests.chaos.scenarios import SCENARIOS


def test_every_plant_has_a_place_in_the_table() -> None:
    assert set(PLANTS) == set(EXPECTED)
    assert {expected.scenario for expected in EXPECTED.values()} <= set(SCENARIOS)
