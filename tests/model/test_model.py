"""The messenger against its model: whatever happens in whichever order, everybody has what is his and nothing else.

A failure prints the steps; ``QUICKIM_TEST_SEED=<seed>`` runs the same examples again, ``QUICKIM_TEST_EXAMPLES`` more.
"""

import dataclasses
import os
import secrets

import pytest
from django.conf import settings as django_settings
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.gateway.in_process import use_clock
from tests.model.machine import Messenger
from tests.model.world import CLOCK

EXAMPLES = int(os.environ.get("QUICKIM_TEST_EXAMPLES", "40"))


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_everybody_gets_everything_that_is_his_in_order_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    use_clock(monkeypatch, CLOCK)
    monkeypatch.setattr("gateway.node._node", None)
    brief = dataclasses.replace(django_settings.QUICKIM, poll_wait_seconds=0.03)
    monkeypatch.setattr(django_settings, "QUICKIM", brief)
    # Everything that goes in pieces is to go in pieces here too.
    for piece in ("replay.PAGE_MESSAGES", "repair.FILL_MESSAGES", "transports.poll.MAX_MESSAGES"):
        monkeypatch.setattr(f"gateway.{piece}", 3)
    number = int(os.environ.get("QUICKIM_TEST_SEED") or secrets.randbits(32))
    try:
        run_state_machine_as_test(
            seed(number)(Messenger),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=35,
                deadline=None,
                print_blob=True,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    except BaseException as failure:
        failure.add_note(f"QUICKIM_TEST_SEED={number}")
        raise
