"""One size: migrates the database of QUICKIM_DATABASE_URL, loads it, puts the questions, prints the figures as JSON.

Law: a time in the database is what its statements took from being sent to the last byte of their answer, COMMIT not
included; the other is the whole call's, with Django and all that it does in Python.
"""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import django
from django.core.management import call_command
from django.db import connection

from bench.reads.stock import Stock

if TYPE_CHECKING:
    from bench.reads.questions import Question

_CHUNK_BYTES = 2**22


class Watch:
    """Django's wrapper around the execution of a statement."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.statements = 0

    def __call__(self, execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, parameters, many, context)
        finally:
            self.seconds += time.perf_counter() - began
            self.statements += 1


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m bench.reads")
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--plans", type=Path, help="where EXPLAIN's answers go, if they are wanted")
    arguments = parser.parse_args()

    os.environ["DJANGO_SETTINGS_MODULE"] = "quickim.settings"
    django.setup()
    # They import models, which need the line above.
    from bench.reads.load import load  # noqa: PLC0415
    from bench.reads.plans import explain  # noqa: PLC0415
    from bench.reads.questions import questions  # noqa: PLC0415

    call_command("migrate", interactive=False, verbosity=0)
    stock = Stock(arguments.messages, time.time_ns() // 1_000 - 60_000_000)
    seconds = load(os.environ["QUICKIM_DATABASE_URL"], stock)
    print(f"{arguments.messages:,} messages loaded in {seconds:.0f} s.", file=sys.stderr, flush=True)

    asked = list(questions(stock))
    # As the server does: what lives now lives for ever.
    gc.collect()
    gc.freeze()
    backend = _backend()
    rounds: list[dict[str, dict[str, float]]] = [{} for _ in range(arguments.rounds)]
    for writes in (False, True):
        if writes and arguments.plans:
            arguments.plans.write_text(explain(asked), encoding="utf-8")
        for number, round_ in enumerate(rounds):
            _read_into_memory()
            for question in asked:
                if question.writes == writes:
                    round_[question.label] = _put(question, Random(f"{question.label} {number}"), backend)
    print(json.dumps(rounds))
    return 0


def _backend() -> Path:
    """Where Linux keeps the CPU time of the process that serves our connection, in nanoseconds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return Path(f"/proc/{cursor.fetchone()[0]}/schedstat")


def _read_into_memory() -> None:
    """The files of all tables and indexes, for the kernel's cache."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('data_directory') || '/' || pg_relation_filepath(oid) FROM pg_class"
            " WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace"
        )
        paths = [Path(path) for (path,) in cursor.fetchall()]
    for path in paths:
        for part in (path, *path.parent.glob(f"{path.name}.*")):
            with part.open("rb", buffering=0) as file:
                while file.read(_CHUNK_BYTES):
                    pass


def _put(question: "Question", random: Random, backend: Path) -> dict[str, float]:
    whole, database, work, rows, statements = [], [], [], 0, 0
    for number in range(-question.calls // 10, question.calls):
        ask = question.draw(random)
        watch = Watch()
        with connection.execute_wrapper(watch):
            worked = int(backend.read_text().split()[0])
            began = time.perf_counter()
            answer = ask()
            seconds = time.perf_counter() - began
            worked = int(backend.read_text().split()[0]) - worked
        if number >= 0:
            whole.append(seconds * 1_000)
            database.append(watch.seconds * 1_000)
            work.append(worked / 1_000_000)
            rows = max(rows, _size(answer))
            statements = max(statements, watch.statements)
    return {
        "p50 ms": _percentile(database, 50),
        "p99 ms": _percentile(database, 99),
        "CPU p50 ms": _percentile(work, 50),
        "CPU p99 ms": _percentile(work, 99),
        "call p50 ms": _percentile(whole, 50),
        "call p99 ms": _percentile(whole, 99),
        "statements": statements,
        "rows": rows,
    }


def _size(answer: object) -> int:
    for part in (answer, getattr(answer, "seats", None), getattr(answer, "rows", None)):
        if isinstance(part, tuple) and part and isinstance(part[0], list):
            return len(part[0])  # a page, and whether there is more
        if isinstance(part, list | tuple):
            return len(part)
    return 0


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


if __name__ == "__main__":
    sys.exit(main())
