"""Deliveries over two workers, PostgreSQL and Valkey, to the members of small, large and very large conversations; all
10,000 WebSockets stay open throughout.

First at full speed: members send in a closed loop, one call in flight each. Then at a moderate pace, one message at a
time: the delay is from the call's first byte to the moment at which the generator, which reads one socket after the
other, has the message of that member. Every stream must get every message, in order.
"""

import asyncio
import os
from itertools import cycle

from bench.alarm import BenchmarkError
from bench.backing import postgresql_and_valkey
from bench.crowd import SETTINGS, Crowd, Group, gather_crowd, open_crowd
from bench.load.senders import Round, Sender
from bench.plan import Case, Plan
from bench.stage import Stage, stage

QUESTION = "How many deliveries a second on two workers with 10,000 WebSockets (300 bytes), and how soon?"

_WORKERS = 2
_SENDERS_AT_FULL_SPEED = 32
_DELIVERIES_A_SECOND = 2_000
"""At the moderate pace; at least one message in a second and a quarter."""
_LONGEST_PAUSE_SECONDS = 1.25
_PAUSE_SECONDS = 0.5


async def run(plan: Plan) -> list[Case]:
    """One case for each size of a conversation."""
    cores = os.sched_getaffinity(0) | {plan.server_core}
    with postgresql_and_valkey(cores) as backing:
        settings = {**backing.settings, **SETTINGS, "QUICKIM_WORKERS": str(_WORKERS)}
        async with stage(plan, cores=cores, settings=settings, backing=backing.pids) as on:
            crowd = await gather_crowd(on, plan.connections)
            cases = {group.members: Case(f"{group.members:,} members") for group in crowd.groups}
            await open_crowd(on, crowd)
            for _ in range(plan.rounds):
                for group in crowd.groups:
                    figures = await _at_full_speed(on, crowd, group)
                    figures |= await _at_a_pace(on, crowd, group)
                    cases[group.members].rounds.append(figures)
            await on.population.compare(crowd.readers(), on.receipts)
            for stream in crowd.streams:
                stream.close()
    return list(cases.values())


async def _at_full_speed(on: Stage, crowd: Crowd, group: Group) -> dict[str, float]:
    count = max(1, min(_SENDERS_AT_FULL_SPEED, 2 * _SENDERS_AT_FULL_SPEED * 10 // group.members))
    cost, round_ = await on.send(group.senders[:count], on.plan.seconds, crowd.tally, group.members)
    crowd.clock.delays = type(crowd.clock.delays)("d")
    crowd.clock.sent_at.clear()
    await asyncio.sleep(_PAUSE_SECONDS)
    sends = len(round_.latencies)
    return cost.rates(group.members * sends, "deliveries") | {"sends/s": sends / cost.wall}


async def _at_a_pace(on: Stage, crowd: Crowd, group: Group) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    pause = min(_LONGEST_PAUSE_SECONDS, group.members / _DELIVERIES_A_SECOND)
    begin, due = loop.time(), crowd.tally.received
    rounds: list[Round] = []
    latest: dict[Sender, Round] = {}
    turns = cycle(group.senders)
    for number in range(max(3, int(on.plan.seconds / pause))):
        await asyncio.sleep(begin + number * pause - loop.time())
        sender = next(turns)
        if sender in latest and not latest[sender].latencies:
            raise BenchmarkError("the pace is too fast: a sender still waits for his answer when his next turn comes")
        latest[sender] = round_ = Round(0)
        rounds.append(round_)
        sender.start(round_)
    for round_ in rounds:
        await on.guard(round_.finished(), "waiting for the answers")
    await on.guard(crowd.tally.reaching(due + group.members * len(rounds)), "waiting for the deliveries")
    figures = {
        "paced sends/s": 1 / pause,
        "delivery p50 ms": crowd.clock.percentile_ms(50),
        "delivery p99 ms": crowd.clock.percentile_ms(99),
    }
    crowd.clock.delays = type(crowd.clock.delays)("d")
    return figures
