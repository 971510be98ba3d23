"""The rounds of one peer, durable sends or deliveries, and the row that they make.

Laws: a round's figures count what the peer stored or delivered, not what was asked for; "complete %" says how much of
what it acknowledged that is. A peer that is not installed or fails has a row that says why, without a figure; without
quickim there is no comparison and so no result.
"""

import asyncio
import math
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial

from bench.alarm import Alarm, BenchmarkError
from bench.load.senders import Round, Sender
from bench.meter import Cost, Meter
from bench.peers.audience import Audience
from bench.peers.programs import NotInstalledError
from bench.plan import Case, Plan
from bench.server import Server
from bench.stage import WARM_UP_SECONDS

_LIMIT_SECONDS = 30.0
_COMPARED = "of quickim"


Way = Callable[[float], Awaitable[dict[str, float]]]
"""One round of so many seconds; its figures."""


@dataclass(frozen=True)
class Sending:
    """A peer that is ready for durable sends; ``stored`` tells how many messages it holds."""

    server: Server
    alarm: Alarm
    senders: Sequence[Sender]
    stored: Callable[[], Awaitable[int]]
    backing: Mapping[str, int] = field(default_factory=dict)

    def ways(self) -> dict[str, Way]:
        """There is one way to send."""
        return {"": self._round}

    async def _round(self, seconds: float) -> dict[str, float]:
        before, meter, round_ = await self.stored(), Meter(self.server, self.backing), Round(seconds)
        for sender in self.senders:
            sender.start(round_)
        await self.alarm.guard(round_.finished(), seconds + _LIMIT_SECONDS, "waiting for the answers")
        cost, acknowledged = meter.cost(), len(round_.latencies)
        stored = await self.stored() - before
        latency = {"p50 ms": round_.percentile_ms(50), "p99 ms": round_.percentile_ms(99)}
        return _figures(cost, stored, acknowledged, "sends") | latency


@dataclass(frozen=True)
class Delivering:
    """A peer with its listeners connected."""

    server: Server
    alarm: Alarm
    senders: Sequence[Sender]
    audience: Audience
    backing: Mapping[str, int] = field(default_factory=dict)

    def ways(self) -> dict[str, Way]:
        """With one sender every message is delivered by itself; what waits together may be written together."""
        return {
            f", {count} sender{'s' * (count > 1)}": partial(self._round, self.senders[:count])
            for count in (1, len(self.senders))
        }

    async def _round(self, senders: Sequence[Sender], seconds: float) -> dict[str, float]:
        self.audience.begin()
        meter, round_ = Meter(self.server, self.backing), Round(seconds)
        for sender in senders:
            sender.start(round_)
        ending = asyncio.get_running_loop().call_later(seconds + 0.01, self.audience.release)
        await self.alarm.guard(round_.finished(), seconds + _LIMIT_SECONDS, "waiting for the answers")
        ending.cancel()
        due = len(self.audience.ears) * len(round_.latencies)
        await self.alarm.guard(self.audience.settled(due), _LIMIT_SECONDS, f"waiting for {due} deliveries")
        cost = meter.cost()
        sends = {"sends/s": len(round_.latencies) / cost.wall}
        return _figures(cost, self.audience.received, due, "deliveries") | sends


Opening = Callable[[Plan], AbstractAsyncContextManager[Sending] | AbstractAsyncContextManager[Delivering]]


async def beside_quickim(plays: Mapping[str, tuple[Opening, Mapping[str, Opening]]], plan: Plan) -> list[Case]:
    """For each play the rows of quickim, and those of its peers compared with them; each takes its turn alone."""
    cases = []
    for play, (ours, peers) in plays.items():
        quickim = await _cases(f"{play}: quickim", ours, plan)
        cases += [_compared(case, case) for case in quickim]
        for name, opening in peers.items():
            cases += await _peer(f"{play}: {name}", opening, plan, quickim)
    return cases


async def _peer(label: str, opening: Opening, plan: Plan, quickim: list[Case]) -> list[Case]:
    try:
        cases = await _cases(label, opening, plan)
    except NotInstalledError as error:
        print(f"{label}: not installed ({error}); script/bench-peers installs it", file=sys.stderr)
        return [_without_figures(f"{label}: not installed", quickim[0])]
    except (BenchmarkError, OSError) as error:
        traceback.print_exception(error)
        reason = str(error).partition("\n")[0][:80]
        return [_without_figures(f"{label}: failed, {reason}", quickim[0])]
    return [_compared(*pair) for pair in zip(cases, quickim, strict=True)]


async def _cases(label: str, opening: Opening, plan: Plan) -> list[Case]:
    """One for each way; their rounds take turns, so a drift meets all."""
    async with opening(plan) as on:
        ways = [(Case(label + suffix), way) for suffix, way in on.ways().items()]
        for _, way in ways:
            await way(WARM_UP_SECONDS)
        for _ in range(plan.rounds):
            for case, way in ways:
                case.rounds.append(await way(plan.seconds))
        return [case for case, _ in ways]


def _compared(case: Case, quickim: Case) -> Case:
    """``case`` with each round's ratio to the median of ``quickim``."""
    first = next(iter(quickim.rounds[0]))
    rounds = []
    for row in case.rounds:
        (_, figure), *others = row.items()
        rounds.append({first: figure, _COMPARED: figure / quickim.medians()[first], **dict(others)})
    return Case(case.label, rounds)


def _without_figures(label: str, quickim: Case) -> Case:
    return Case(label, [{next(iter(quickim.rounds[0])): math.nan}])


def _figures(cost: Cost, done: int, acknowledged: int, unit: str) -> dict[str, float]:
    """Per CPU-second of everything first: it is what peers are compared by."""
    rates = cost.rates(done, unit)
    first = f"{unit} per CPU-s of all"
    complete = 100 * done / acknowledged if acknowledged else 0.0
    return {first: rates.pop(first), "complete %": complete, **rates}
