"""What every benchmark plays on: a fresh server, its population, the alarm, and the receipts of what was
sent.

Law: a round's figures cover the time from the first send until everything that belongs to it has arrived.
"""

from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from bench.alarm import Alarm, BenchmarkError
from bench.load.senders import Receipts, Round, Sender
from bench.load.streams import Tally
from bench.meter import Cost, Meter
from bench.plan import Plan
from bench.population import Population
from bench.server import Server, serving

WARM_UP_SECONDS = 1.0
_LIMIT_SECONDS = 30.0

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """One server's life. ``backing``: the processes behind it, whose CPU time is told beside its own."""

    plan: Plan
    server: Server
    alarm: Alarm
    population: Population
    receipts: Receipts
    backing: Mapping[str, int]

    async def guard(self, work: Awaitable[T], doing: str) -> T:
        """The result of ``work``, unless something fails meanwhile or it takes much longer than a round."""
        return await self.alarm.guard(work, self.plan.seconds + _LIMIT_SECONDS, doing)

    async def send(
        self,
        senders: Sequence[Sender],
        seconds: float,
        tally: Tally | None = None,
        deliveries_per_send: int = 0,
    ) -> tuple[Cost, Round]:
        """Lets ``senders`` send for ``seconds``; waits for their answers and all deliveries in ``tally``."""
        due = tally.received if tally else 0
        meter, round_ = Meter(self.server, self.backing), Round(seconds)
        for sender in senders:
            sender.start(round_)
        await self.guard(round_.finished(), "waiting for the answers")
        if tally:
            due += deliveries_per_send * len(round_.latencies)
            await self.guard(tally.reaching(due), f"waiting for {due} deliveries")
        return meter.cost(), round_


@asynccontextmanager
async def stage(
    plan: Plan,
    *,
    cores: Collection[int] = (),
    settings: Mapping[str, str] | None = None,
    backing: Mapping[str, int] | None = None,
) -> AsyncIterator[Stage]:
    """A stage with a fresh server, on ``cores`` instead of the plan's one, with ``settings``.

    ``backing``: processes whose CPU time is told beside the server's, by their name.
    """
    async with serving(cores or {plan.server_core}, settings) as server:
        alarm = Alarm()
        try:
            yield Stage(plan, server, alarm, Population(server.port, alarm), Receipts(), backing or {})
        except BenchmarkError:
            # What broke a connection says more than the next use of it.
            alarm.raise_first()
            raise


def send_figures(cost: Cost, round_: Round) -> dict[str, float]:
    """The columns of the benchmarks that count sends."""
    latency = {"p50 ms": round_.percentile_ms(50), "p99 ms": round_.percentile_ms(99)}
    return cost.rates(len(round_.latencies), "sends") | latency
