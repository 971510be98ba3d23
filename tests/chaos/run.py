"""One run: a place, its load, what strikes it; then it heals, everything is delivered, and the history is judged.

Law: phases are warm-up, faults, heal, drain; then the histories of all conversations and the database are read, and
each process is asked what it still holds. Whatever goes wrong, there is a history, and everything started is stopped.
"""

import asyncio
import random
import re
import tempfile
import time
import traceback
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.embedded import EmbeddedSite
from tests.chaos.ground import Ground
from tests.chaos.history import Census, Complaint, History
from tests.chaos.invariants import SWEEP_SECONDS, Violation, violations
from tests.chaos.limits import has_replayed_enough, i0, i11, i12, i13, unstruck, untidy
from tests.chaos.load import Load
from tests.chaos.planting.apps import BUG
from tests.chaos.planting.signals import DIRECTORY
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.clients import Api, fresh, mint
from tests.databases import Postgres, holds_within
from tests.faults.place import Place
from tests.faults.site import Site

WARM_UP_SECONDS: Final = 1.5
MOST_ROUNDS: Final = 3
"""Of a scenario's faults, where a slow machine or chance had too few of them in the first."""
CALM_SECONDS: Final = 2.0
"""Of load after the heal."""
LONGEST_CALM_SECONDS: Final = 20.0
"""How long it lasts at most, where chance had too few clients resume."""
DRAIN_SECONDS: Final = 2 * SWEEP_SECONDS + 6
TIDY_SECONDS: Final = 25.0
"""How long what nobody needs any more may take to be gone: a pool keeps its connections for ten seconds or two times
that."""
LONGEST_SECONDS: Final = 240.0
"""How long a run may take beside its faults: one that hangs is an outcome, too."""
PRIMING: Final = 16
RANGE: Final = "get_conversation_msg_by_range"
HARNESS: Final = -1
"""In place of a node's number."""
COMPLAINTS: Final = re.compile(r"Traceback \(most recent call last\)|was never retrieved|was never awaited")


@dataclass
class Verdict:
    """What is to be said about one run."""

    scenario: str
    seed: int
    seconds: float
    bug: str = ""
    broken: list[Violation] = field(default_factory=list)
    history: History = field(default_factory=History)
    logs: dict[int, str] = field(default_factory=dict)

    @property
    def invariants(self) -> set[str]:
        """Those that were violated."""
        return {violation.invariant for violation in self.broken}


def run(
    name: str, seed: int, postgres: Postgres, template: str, *, seconds: float | None = None, bug: str = ""
) -> Verdict:
    """One run of the scenario ``name``. ``template``: the url of a migrated database, with its audit."""
    scenario = SCENARIOS[name]
    chances = random.Random(f"{name} {seed}")
    verdict = Verdict(name, seed, seconds or scenario.seconds, bug)
    with tempfile.TemporaryDirectory(prefix="quickim-chaos-") as home:
        signals = Path(home) / "signals"
        signals.mkdir()
        place = _place(scenario, Path(home), postgres, template, chances, {DIRECTORY: str(signals), BUG: bug})
        try:
            place.start()
            longest = LONGEST_SECONDS + MOST_ROUNDS * verdict.seconds
            verdict.history = asyncio.run(_within(longest, _live(scenario, place, chances, signals, verdict)))
            verdict.logs = {number: place.log(node) for number, node in enumerate(place.nodes)}
        finally:
            place.stop()
            if isinstance(place, Site):
                if not postgres.is_running:
                    postgres.restart()
                postgres.drop_database(place.database_url)
    verdict.broken += judge(scenario, verdict.history, verdict.seconds)
    return verdict


def judge(scenario: Scenario, history: History, seconds: float) -> list[Violation]:
    """All violations of all rules."""
    if any(complaint.node == HARNESS for complaint in history.complaints):
        # What it did not come to do is missing everywhere.
        return [Violation("I13", what) for what in i13(history)]
    broken = [Violation("I0", what) for what in i0(history, seconds, scenario.occasion)]
    broken += violations(history)
    for name, rule in (("I11", i11), ("I12", i12), ("I13", i13)):
        broken += [Violation(name, what) for what in rule(history)]
    return broken


def _place(
    scenario: Scenario,
    home: Path,
    postgres: Postgres,
    template: str,
    chances: random.Random,
    environment: Mapping[str, str],
) -> Place:
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
        "QUICKIM_SWEEP_SECONDS": f"{SWEEP_SECONDS:.0f}",
        "QUICKIM_POLL_WAIT_SECONDS": "2",
        **environment,
    }
    place: Place
    if scenario.is_embedded:
        place = EmbeddedSite(home, settings)
    else:
        database = postgres.new_database(template)
        place = Site(home, postgres, settings=settings, doors=True, database_url=database)
    for number, node in enumerate(place.nodes):
        node.environment.update(scenario.environment(number, chances))
    return place


async def _within(seconds: float, run: Awaitable[History]) -> History:
    async with asyncio.timeout(seconds):
        return await run


async def _live(scenario: Scenario, place: Place, chances: random.Random, signals: Path, verdict: Verdict) -> History:
    load = Load(place, chances, scenario.shape)
    ground = Ground(place, load, chances, signals)
    await _prime(place)
    starts = [await asyncio.to_thread(ground.census, number, "start") for number in range(len(place.nodes))]
    began = time.monotonic()
    healed = drained = began
    history = History()
    sampling = asyncio.create_task(ground.sample())
    try:
        async with load:
            began = time.monotonic()
            await load.lasts(WARM_UP_SECONDS)
            for _ in range(MOST_ROUNDS):
                ground.until = time.monotonic() + verdict.seconds
                await scenario.strike(ground)
                _count_byes(ground)
                if not any(unstruck(load.faults, ground.counts, verdict.seconds, scenario.occasion)):
                    break
            await asyncio.to_thread(place.heal)
            healed = time.monotonic()
            await load.lasts(CALM_SECONDS)
            while not has_replayed_enough(await load.recorded(), verdict.seconds, scenario.occasion):
                if time.monotonic() > healed + LONGEST_CALM_SECONDS:
                    break
                await load.lasts(1)
            await load.fall_silent()
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    await load.drained()
            drained = time.monotonic()
            history = await load.history()
    except Exception:  # noqa: BLE001 - a client that saw what it must not, or a place that did not come back
        ground.complaints.append(Complaint(HARNESS, f"the run broke: {traceback.format_exc()[-1500:]}"))
        await asyncio.to_thread(place.heal)
        history = await load.recorded()
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
    ends = [await asyncio.to_thread(_tidied, ground, start.node, start) for start in starts]
    _count_byes(ground)
    history.pages, history.stalls, history.samples = load.pages, ground.stalls, ground.samples
    history.censuses = [*starts, *ends]
    history.counts, history.marks = dict(ground.counts), {"began": began, "healed": healed, "drained": drained}
    history.complaints = [*ground.complaints, *_complaints(place)]
    return history


def _count_byes(ground: Ground) -> None:
    byes = [bye for receiver in ground.load.receivers for bye in receiver.byes]
    ground.counts["bye"] = len(byes)
    ground.counts["tokens expired"] = sum(bye["Code"] == 4002 for bye in byes)


async def _prime(place: Place) -> None:
    """Opens what a node opens once and keeps: connections to the database, caches, threads."""
    for node in place.nodes:
        async with Api(node.url) as api:
            session = fresh("first")
            room = await api.conversation(session)
            message = {"conversation_id": room, "type": 0, "status": 0, "content": ""}
            everything = {"conversation_id": room, "start_msg_id": "", "end_msg_id": ""}
            for _ in range(2):
                # Some of it may be refused: in some scenarios transactions sleep.
                await asyncio.gather(
                    *(api.inner("send_msg", **message) for _ in range(PRIMING)),
                    *(api.public(RANGE, everything, token=mint(session)) for _ in range(PRIMING)),
                )


def _tidied(ground: Ground, number: int, start: Census) -> Census:
    """What the node holds when all clients have left it; it gets a while to notice that."""
    last = [ground.census(number, "end")]

    def is_as_before() -> bool:
        last[0] = ground.census(number, "end")
        return not list(untidy(start, last[0]))

    holds_within(TIDY_SECONDS, is_as_before)
    return last[0]


def _complaints(place: Place) -> list[Complaint]:
    return [
        Complaint(number, place.log(node)[max(0, match.start() - 300) : match.end() + 1500])
        for number, node in enumerate(place.nodes)
        for match in COMPLAINTS.finditer(place.log(node))
    ]
