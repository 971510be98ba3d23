"""Running the model: the doors know its processes, time is its own, and whatever goes in pieces goes in small ones."""

from collections.abc import Collection

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.gateway.in_process import use_clock
from tests.model.gates import use_gates
from tests.model.machine import Messenger
from tests.model.processes import use_processes
from tests.model.world import CLOCK

STEPS = 35


def prepare(patch: pytest.MonkeyPatch) -> None:
    """Make this process ready for the model."""
    use_clock(patch, CLOCK)
    use_gates(patch)
    use_processes(patch)
    patch.setattr("gateway.node._node", None)
    # Everything that goes in pieces is to go in pieces here too.
    for piece in ("replay.PAGE_MESSAGES", "repair.FILL_MESSAGES", "transports.poll_connection.MAX_MESSAGES"):
        patch.setattr(f"gateway.{piece}", 3)


def run_model(
    number: int,
    examples: int,
    steps: int = STEPS,
    phases: Collection[Phase] = tuple(Phase),
    machine: type[Messenger] = Messenger,
) -> None:
    """Runs the model on so many examples of so many steps, made from a seed. Raises what the model finds."""
    run_state_machine_as_test(
        seed(number)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            phases=phases,
            database=None,
            deadline=None,
            print_blob=True,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
