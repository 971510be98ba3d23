"""Runs, one after the other in each of several processes, which own a PostgreSQL each and nothing in common.

Law: a run that breaks the harness itself is an outcome too, and the lane goes on with the next one.
"""

import multiprocessing
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from typing import Any, NamedTuple

from tests.chaos import journal
from tests.chaos.page import figures_of, headline, page
from tests.chaos.planting.table import EXPECTED
from tests.chaos.run import Verdict, run
from tests.databases import Postgres
from tests.faults.site import prepare
from tests.servers import NO_LAYER, Server

LOOK_SECONDS = 5.0
"""How often it is looked whether a lane is left that could bring an outcome."""


class Job(NamedTuple):
    """Runs of one scenario, with one seed after the other; with a ``bug``, until one of them has found it."""

    scenario: str
    seeds: tuple[int, ...]
    seconds: float | None = None
    bug: str = ""


class Outcome(NamedTuple):
    """What one job came to. ``failed``: in words, "" when all is as it must be."""

    job: Job
    headlines: list[str]
    figures: dict[str, float]
    counts: dict[str, int]
    seconds: float
    failed: str


class Lane:
    """One PostgreSQL, with a migrated database to copy. ``out``: where runs leave what they saw."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self._postgres = Postgres().start()
        self._template = self._postgres.new_database()
        with tempfile.TemporaryDirectory() as home:
            prepare(Server(Path(home), "cluster", {"QUICKIM_REDIS_URL": NO_LAYER}), self._template)

    def work(self, job: Job) -> Outcome:
        """All runs of one job; each leaves its events and its page."""
        headlines: list[str] = []
        verdict = None
        for seed in job.seeds:
            try:
                verdict = run(job.scenario, seed, self._postgres, self._template, seconds=job.seconds, bug=job.bug)
            except Exception:  # noqa: BLE001 - whatever it is, it belongs into the report
                headlines.append(f"{job.scenario} seed {seed} broke the harness")
                return Outcome(job, headlines, {}, {}, 0.0, traceback.format_exc())
            self._leave(verdict)
            headlines.append(headline(verdict))
            if job.bug and verdict.invariants & set(EXPECTED[job.bug].finds):
                break
        assert verdict is not None
        return Outcome(
            job,
            headlines,
            figures_of(verdict.history),
            verdict.history.counts,
            verdict.seconds,
            _failure(job, verdict),
        )

    def close(self) -> None:
        """Ends it."""
        self._postgres.stop()

    def _leave(self, verdict: Verdict) -> None:
        name = "-".join(filter(None, (verdict.scenario, verdict.bug, f"{verdict.seed}")))
        journal.write(verdict.history, self.out / f"{name}.jsonl")
        (self.out / f"{name}.txt").write_text(page(verdict))
        if verdict.broken:
            for number, log in verdict.logs.items():
                (self.out / f"{name}-node-{number}.log").write_text(log)


def _failure(job: Job, verdict: Verdict) -> str:
    if not job.bug:
        return "\n".join(f"{one.invariant}: {one.what}" for one in verdict.broken[:20])
    if verdict.invariants & set(EXPECTED[job.bug].finds):
        return ""
    found = ", ".join(sorted(verdict.invariants)) or "nothing"
    return f"{job.bug} was found by {found}, not by {' or '.join(EXPECTED[job.bug].finds)}"


def work(jobs: Sequence[Job], lanes: int, out: Path) -> Iterator[Outcome]:
    """Works all ``jobs`` off in so many processes; outcomes come as they are there."""
    context = multiprocessing.get_context("spawn")
    waiting: Queue[Any] = context.Queue()
    outcomes: Queue[Any] = context.Queue()
    for job in (*jobs, *([None] * lanes)):
        waiting.put(job)
    processes = [context.Process(target=_lane, args=(waiting, outcomes, out)) for _ in range(lanes)]
    for process in processes:
        process.start()
    try:
        for _ in jobs:
            yield _next(outcomes, processes)
    finally:
        for process in processes:
            process.join(30)
            process.terminate()


def _next(outcomes: "Queue[Any]", processes: Sequence[BaseProcess]) -> Outcome:
    """Waits for it; fails when nobody is left to bring it."""
    while True:
        is_anybody_left = any(process.is_alive() for process in processes)
        try:
            outcome: Outcome = outcomes.get(timeout=LOOK_SECONDS)
        except Empty:
            if not is_anybody_left:
                raise RuntimeError("a lane died with its run") from None
        else:
            return outcome


def _lane(waiting: "Queue[Any]", outcomes: "Queue[Any]", out: Path) -> None:
    lane = Lane(out)
    try:
        while (job := waiting.get()) is not None:
            outcomes.put(lane.work(job))
    finally:
        lane.close()
