"""The messenger against its model: whatever happens in whichever order, everybody has what is his and nothing else.

A failure prints the steps. ``QUICKIM_TEST_SEED=<seed>`` runs the same examples again, ``QUICKIM_TEST_MODEL_EXAMPLES``
and ``QUICKIM_TEST_MODEL_STEPS`` set how many there are and how long; ``QUICKIM_TEST_MODEL_SHRINK=0`` shows the first
failure as it was found, at once.
"""

import os
import secrets

import pytest
from hypothesis import Phase

from tests.model.running import STEPS, prepare, run_model

EXAMPLES = int(os.environ.get("QUICKIM_TEST_MODEL_EXAMPLES", "40"))
STEP_COUNT = int(os.environ.get("QUICKIM_TEST_MODEL_STEPS", str(STEPS)))
PHASES = tuple(Phase) if os.environ.get("QUICKIM_TEST_MODEL_SHRINK", "1") != "0" else (Phase.generate,)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_everybody_gets_everything_that_is_his_in_order_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(monkeypatch)
    number = int(os.environ.get("QUICKIM_TEST_SEED") or secrets.randbits(32))
    try:
        run_model(number, EXAMPLES, STEP_COUNT, PHASES)
    except BaseException as failure:
        failure.add_note(f"QUICKIM_TEST_SEED={number}")
        raise
