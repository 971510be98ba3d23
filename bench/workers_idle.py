"""10,000 idle WebSockets on two workers over PostgreSQL and Valkey: where they land, their memory, their CPU time.

Each is of another session, in three conversations. Then each must receive a message, to show that it lived. What the
kernel keeps for a socket is not in the figures.
"""

import asyncio
import os

from bench.backing import postgresql_and_valkey
from bench.crowd import SETTINGS, gather_crowd, open_crowd
from bench.meter import Meter, footprint, processes, sockets
from bench.plan import Case, Plan
from bench.stage import stage

QUESTION = "What do 10,000 idle WebSockets take, on two workers with PostgreSQL and Valkey?"

_WORKERS = 2
_IDLE_SECONDS = 30.0
_SETTLE_SECONDS = 5.0


async def run(plan: Plan) -> list[Case]:
    """One case, one round."""
    cores = os.sched_getaffinity(0) | {plan.server_core}
    with postgresql_and_valkey(cores) as backing:
        settings = {**backing.settings, **SETTINGS, "QUICKIM_WORKERS": str(_WORKERS)}
        async with stage(plan, cores=cores, settings=settings, backing=backing.pids) as on:
            crowd = await gather_crowd(on, plan.connections)
            workers = processes(on.server.pid)[1:]
            before, sockets_before = footprint(on.server.pid), {pid: sockets(pid) for pid in workers}
            opened_a_second = await open_crowd(on, crowd)
            await on.guard(asyncio.sleep(_SETTLE_SECONDS), "settling")
            after = footprint(on.server.pid)
            shares = sorted(count for pid in workers if (count := sockets(pid) - sockets_before[pid]) > 0)
            meter = Meter(on.server, on.backing)
            await asyncio.sleep(_IDLE_SECONDS)
            idle = meter.cost()
            await on.population.say(crowd.groups[-1].conversations[0], "0000000000 Are you there?")
            await on.guard(crowd.tally.reaching(plan.connections), "waiting for a message on every connection")
            for stream in crowd.streams:
                stream.close()
    figures = {
        "KiB per connection (PSS)": (after.pss_kib - before.pss_kib) / plan.connections,
        "connections": float(plan.connections),
        "on the fuller worker": float(shares[-1]),
        "on the emptier worker": float(shares[0]) if len(shares) == _WORKERS else 0.0,
        "opened/s": opened_a_second,
        "server MiB before (PSS)": before.pss_kib / 1024,
        "server MiB after (PSS)": after.pss_kib / 1024,
        "server CPU % while idle": 100 * idle.server / idle.wall,
    }
    figures |= {f"{name} CPU % while idle": 100 * seconds / idle.wall for name, seconds in idle.backing.items()}
    return [Case(f"{_WORKERS} workers", [figures])]
