"""Reads and appends against PostgreSQL with 10,000 messages and more, ten times as many each time: history, resume,
sweep and append, by the product's own functions, in a process of its own for each size.

A time is that of all statements of a call, from the first byte sent to the last one received; the backend's CPU time
says what of it was work. The table is read once before a round, so that it lies in memory; PostgreSQL is as it comes,
with 128 MiB of shared buffers. Both cores are open to it and to the caller, who take turns.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

from bench.alarm import BenchmarkError
from bench.backing import postgresql
from bench.plan import Case, Plan

QUESTION = "What do history, resume, sweep and append take in the database, by the number of messages in it?"

_SMALLEST = 10_000
_ROOT = Path(__file__).resolve().parent.parent
Rounds = list[dict[str, dict[str, float]]]


async def run(plan: Plan) -> list[Case]:
    """One case for each question; a round's columns hold all sizes."""
    sizes = [_SMALLEST]
    while sizes[-1] * 10 <= plan.messages:
        sizes.append(sizes[-1] * 10)
    cores = {plan.server_core, plan.generator_core}
    measured: dict[int, Rounds] = {}
    with postgresql(cores) as (server, _):
        for size in sizes:
            measured[size] = await _measured(server.new_database(), size, plan, is_last=size == sizes[-1])
    return [
        Case(label, [_figures(measured, number, label) for number in range(plan.rounds)])
        for label in measured[sizes[-1]][0]
    ]


async def _measured(url: str, size: int, plan: Plan, *, is_last: bool) -> Rounds:
    with tempfile.TemporaryDirectory(prefix="quickim-bench-") as directory:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("QUICKIM_")}
        plans = [f"--plans={plan.output / 'plans.md'}"] if is_last else []
        plan.output.mkdir(parents=True, exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "bench.reads", f"--messages={size}", f"--rounds={plan.rounds}", *plans),
            cwd=_ROOT,
            env=inherited | {"QUICKIM_DATABASE_URL": url, "QUICKIM_DATA_DIR": directory},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode:
        raise BenchmarkError(f"measuring {size:,} messages ended with {process.returncode}")
    rounds: Rounds = json.loads(output)
    return rounds


def _figures(measured: dict[int, Rounds], number: int, label: str) -> dict[str, float]:
    by_size = {size: rounds[number][label] for size, rounds in measured.items()}
    smallest, *_, largest = by_size
    figures = {f"p99 ms at {largest:,}": by_size[largest]["p99 ms"]}
    figures |= {f"p99 ms at {size:,}": row["p99 ms"] for size, row in by_size.items() if size != largest}
    figures |= {f"CPU ms at {size:,}": row["CPU p50 ms"] for size, row in by_size.items()}
    last = by_size[largest]
    return figures | {
        "CPU × the smallest's": last["CPU p50 ms"] / by_size[smallest]["CPU p50 ms"],
        **{
            f"{column} at {largest:,}": last[column]
            for column in ("p50 ms", "CPU p99 ms", "call p50 ms", "call p99 ms")
        },
        "statements": last["statements"],
        "rows": last["rows"],
    }
