"""``python -m tests.on_postgresql [pytest's arguments]``: the core's in-process tests, on PostgreSQL instead of SQLite.

Django knows its database before the first test is collected: so this is a run of its own, with a PostgreSQL that it
starts and removes. Unless the arguments name tests it runs ``CORE``; pytest's exit status is its own.
"""

import os
import signal
import subprocess
import sys
from typing import Final, NoReturn

from tests.databases import Postgres

CORE: Final = (
    "tests/conversations",
    "tests/messaging",
    "tests/gateway",
    "tests/model",
    "tests/desk",
    "--ignore=tests/desk/served",
    # That the model can find bugs at all is the same everywhere.
    "--deselect=tests/model/test_model_finds_bugs.py",
)
"""What runs on whatever database Django has; everything else is about processes, which start their own."""


def run(arguments: list[str]) -> int:
    """pytest's exit status; nothing of PostgreSQL is left."""
    postgres = Postgres()
    try:
        environment = {**os.environ, "QUICKIM_DATABASE_URL": postgres.start().new_database()}
        named = any(argument.startswith("tests") for argument in arguments)
        command = [sys.executable, "-m", "pytest", *arguments, *(() if named else CORE)]
        with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as tests:
            try:
                return tests.wait()
            finally:
                if tests.poll() is None:
                    tests.terminate()
    finally:
        postgres.stop()


def _stop(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(run(sys.argv[1:]))
