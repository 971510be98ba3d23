"""S0 to S16: what strikes, on what load, for how long, and what a run must have been to show anything."""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.chaos import strikes
from tests.chaos.ground import Ground
from tests.chaos.limits import Occasion
from tests.chaos.load import Shape
from tests.chaos.planting.apps import FAILPOINT

CLOCK_SECONDS = 300


def as_it_is(node: int, chances: random.Random) -> Mapping[str, str]:
    """No environment of its own."""
    return {}


@dataclass(frozen=True)
class Scenario:
    """See the module. ``seconds``: of its faults, by default; ``environment``: of each node's process."""

    purpose: str
    strike: Callable[[Ground], Awaitable[None]]
    occasion: Occasion
    seconds: float = 10.0
    shape: Shape = field(default_factory=Shape)
    environment: Callable[[int, random.Random], Mapping[str, str]] = as_it_is
    is_embedded: bool = False
    is_alone: bool = False
    """Its rules are about how long things take: nothing else runs meanwhile."""


async def _nothing(ground: Ground) -> None:
    while not ground.is_over:
        await ground.lasts(0.5)


async def _workers_killed(ground: Ground) -> None:
    while not ground.is_over:
        await strikes.worker_killed(ground)
        await ground.lasts(ground.chances.uniform(0.2, 1.0))


async def _workers_die_at(ground: Ground) -> None:
    places = list(strikes.FAILPOINTS)
    ground.chances.shuffle(places)
    while not ground.is_over:
        for failpoint in places:
            await strikes.worker_dies_at(ground, failpoint)


async def _valkey(ground: Ground) -> None:
    """A short outage first; then, by chance, a long one, a pause, or flushes."""
    await strikes.valkey_killed(ground, 2)
    await ground.lasts(1)
    while not ground.is_over:
        what = ground.chances.choice(["long", "paused", "flushed"])
        if what == "long":
            await strikes.valkey_killed(ground, max(2, min(30, ground.until - ground.now)))
        elif what == "paused":
            await strikes.valkey_paused(ground, 2)
        else:
            await strikes.valkey_flushed(ground)
        await ground.lasts(1)


async def _layer(ground: Ground) -> None:
    while not ground.is_over:
        await strikes.layer_lost(ground, ground.chances.uniform(1, 4))
        await strikes.layer_reset(ground)
        await ground.lasts(0.5)


async def _postgres(ground: Ground) -> None:
    while not ground.is_over:
        await strikes.postgres_killed(ground, ground.chances.uniform(0, 2))
        await ground.lasts(1)
        await strikes.back_ends_terminated(ground)
        await ground.lasts(0.5)


async def _commits_cut(ground: Ground) -> None:
    while not ground.is_over:
        await strikes.commit_cut(ground)
        await ground.lasts(0.2)


async def _clients(ground: Ground) -> None:
    while not ground.is_over:
        await strikes.clients_struck(ground)
        await ground.lasts(0.2)


async def _slow_readers(ground: Ground) -> None:
    # Enough deliveries to tell a slow one in a hundred from chance.
    await ground.lasts(6)
    await strikes.readers_stall(ground)


async def _crowd(ground: Ground) -> None:
    while not ground.is_over or ground.counts["crowd returned"] < 2:
        await strikes.crowd_returns(ground)
        await ground.lasts(1)


async def _members(ground: Ground) -> None:
    """Twice a second, and in the middle third without Valkey."""
    seconds = ground.until - ground.now
    await _move(ground, ground.until - 2 * seconds / 3)
    async with ground.load.fault("valkey killed", kind="layer"):
        await ground.on_thread(ground.site.valkey.kill9)
        ground.counts["valkey killed"] += 1
        await _move(ground, ground.until - seconds / 3)
        await ground.on_thread(ground.site.valkey.start)
    await _move(ground, ground.until)


async def _move(ground: Ground, until: float) -> None:
    while ground.now < until:
        await strikes.members_moved(ground)
        await ground.lasts(0.4)


async def _tokens(ground: Ground) -> None:
    while not ground.is_over:
        await strikes.tokens_refreshed(ground)
        await ground.lasts(0.7)
        await strikes.session_revoked(ground)


async def _sqlite(ground: Ground) -> None:
    while not ground.is_over:
        await strikes.worker_killed(ground, 0)
        await strikes.sqlite_locked(ground, ground.chances.uniform(0.2, 3.5))
        await ground.lasts(0.3)


async def _rolling_restarts(ground: Ground) -> None:
    while not ground.is_over:
        await strikes.workers_restarted(ground)
        await ground.lasts(0.5)


async def _all_mixed(ground: Ground) -> None:
    """One after the other; what takes away the layer as a whole is not judged by its own rule here."""
    mixed: list[Callable[[], Awaitable[None]]] = [
        lambda: strikes.worker_killed(ground),
        lambda: strikes.worker_dies_at(ground, ground.chances.choice(strikes.FAILPOINTS)),
        lambda: strikes.valkey_killed(ground, 1, ""),
        lambda: strikes.valkey_flushed(ground),
        lambda: strikes.valkey_paused(ground, 1, ""),
        lambda: strikes.layer_lost(ground, 1, ""),
        lambda: strikes.postgres_killed(ground, 0.5),
        lambda: strikes.back_ends_terminated(ground),
        lambda: strikes.commit_cut(ground),
        lambda: strikes.clients_struck(ground),
    ]
    while not ground.is_over:
        await ground.chances.choice(mixed)()
        for _ in range(ground.chances.randint(0, 2)):
            await strikes.members_moved(ground)


def _sleepy(node: int, chances: random.Random) -> Mapping[str, str]:
    return {FAILPOINT: "sleep_in_transaction:15"}


def _other_clock(node: int, chances: random.Random) -> Mapping[str, str]:
    """The second node's wall clock is five minutes off; its monotonic one is not."""
    if node == 0:
        return {}
    offset = chances.choice([-CLOCK_SECONDS, CLOCK_SECONDS])
    return {
        "LD_PRELOAD": str(_faketime_library()),
        "FAKETIME": f"{offset:+d}s",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def _faketime_library() -> Path:
    # Importing the package would change the clock of this process.
    spec = find_spec("libfaketime")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"


SCENARIOS: dict[str, Scenario] = {
    "S0": Scenario("nothing strikes", _nothing, Occasion()),
    "S1": Scenario(
        "kill -9 of a worker every three seconds",
        _workers_killed,
        Occasion(faults_per_second=0.08, counts={"worker killed": 2}),
        seconds=16,
    ),
    "S2": Scenario(
        "a worker dies between COMMIT and answer, COMMIT and announcement, or amid its transaction",
        _workers_die_at,
        Occasion(faults_per_second=0.08, counts={"worker killed": 2}),
    ),
    "S3": Scenario(
        "Valkey killed, paused, flushed",
        _valkey,
        Occasion(faults_per_second=0.08, kinds=("layer",), counts={"valkey killed": 1}, protocols=()),
        seconds=12,
        shape=Shape(steady=True),
    ),
    "S4": Scenario(
        "a worker loses its way to Valkey, in one direction or both, or by resets",
        _layer,
        Occasion(faults_per_second=0.2, kinds=("layer",), counts={"layer lost": 2}),
    ),
    "S5": Scenario(
        "PostgreSQL killed, its back ends terminated",
        _postgres,
        Occasion(ok_per_second=3, faults_per_second=0.15, kinds=("database",), counts={"postgres killed": 2}),
    ),
    "S6": Scenario(
        "connections to PostgreSQL break around COMMIT",
        _commits_cut,
        Occasion(faults_per_second=0.4, counts={"commit cut": 4}),
    ),
    "S7": Scenario(
        "transactions sleep between a message's number and its commit",
        _nothing,
        Occasion(ok_per_second=4),
        environment=_sleepy,
    ),
    "S8": Scenario(
        "clients' connections break amid frames, or are slow",
        _clients,
        Occasion(faults_per_second=0.5),
    ),
    "S9": Scenario(
        "readers connect and do not read",
        _slow_readers,
        Occasion(counts={"readers stalled": 4}),
        environment=lambda node, chances: {"QUICKIM_OUTBOX_BYTES": "262144"},
        is_alone=True,
    ),
    "S10": Scenario(
        "300 clients come back at once",
        _crowd,
        Occasion(counts={"crowd returned": 2, "clients reset": 300}),
        shape=Shape(crowd=300),
        is_alone=True,
    ),
    "S11": Scenario(
        "people are kicked, leave and join twice a second, also without Valkey",
        _members,
        Occasion(kinds=("layer",), counts={"members moved": 10}),
        seconds=12,
        shape=Shape(movers=3),
    ),
    "S12": Scenario(
        "tokens expire and are revoked while their clients are connected",
        _tokens,
        Occasion(counts={"tokens refreshed": 2, "tokens expired": 10, "sessions revoked": 2, "connections revoked": 2}),
        # The ten seconds of leeway are on top.
        shape=Shape(token_seconds=-7),
    ),
    "S13": Scenario(
        "a worker's clock is five minutes off",
        _nothing,
        Occasion(),
        environment=_other_clock,
    ),
    "S14": Scenario(
        "SQLite: kill -9 amid writing, the database locked by somebody else",
        _sqlite,
        Occasion(ok_per_second=1.5, counts={"worker killed": 2, "sqlite locked": 1}, replays_per_second=0.2),
        is_embedded=True,
    ),
    "S15": Scenario(
        "rolling restarts by SIGTERM",
        _rolling_restarts,
        Occasion(faults_per_second=0.08, counts={"worker restarted": 2, "bye": 3}),
        seconds=14,
    ),
    "S16": Scenario(
        "all of it",
        _all_mixed,
        Occasion(ok_per_second=3, faults_per_second=0.2, replays_per_second=0.2),
        seconds=16,
        shape=Shape(movers=2),
    ),
}
"""By name."""
