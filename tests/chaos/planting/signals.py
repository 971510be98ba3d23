"""What a server process does when the harness signals it: SIGUSR1 counts its tasks, SIGUSR2 arms a failpoint.

Both speak through files in the directory that the environment names, each with the process id in its name.
"""

import asyncio
import os
import signal
from pathlib import Path
from types import FrameType

DIRECTORY = "QUICKIM_TEST_SIGNALS"


def census_file(directory: Path, pid: int) -> Path:
    """Where the process writes how many tasks it has."""
    return directory / f"census-{pid}"


def failpoint_file(directory: Path, pid: int) -> Path:
    """Where it finds the failpoint to arm."""
    return directory / f"failpoint-{pid}"


def listen(directory: Path) -> None:
    """From now on."""
    signal.signal(signal.SIGUSR1, lambda number, frame: _count(directory, frame))
    signal.signal(signal.SIGUSR2, lambda number, frame: _arm(directory))


def _count(directory: Path, frame: FrameType | None) -> None:
    try:
        tasks = len(asyncio.all_tasks())
    except RuntimeError:
        # No loop runs yet, or any more.
        return
    partial = census_file(directory, os.getpid()).with_suffix(".partial")
    partial.write_text(f"{tasks}")
    partial.rename(census_file(directory, os.getpid()))


def _arm(directory: Path) -> None:
    # It needs the models, which are not there when this module is imported.
    from tests.chaos.planting.failpoints import arm  # noqa: PLC0415

    arm(failpoint_file(directory, os.getpid()).read_text())
