"""The command: ``python -m bench [NAME…]`` measures, prints and writes a report; it exits with 1 if a
benchmark failed.

Law: every benchmark runs on its own and within a limit; one that fails leaves the others their figures.
"""

import argparse
import asyncio
import gc
import os
import resource
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import uvloop

from bench import (
    client_library,
    deliveries,
    desk,
    idle_memory,
    mixed_day,
    peers_deliveries,
    peers_sends,
    reads_postgres,
    report,
    resume_storm,
    sends_http,
    sends_latency,
    sends_members,
    sends_postgres,
    sends_ws,
    slow_clients,
    tracing,
    workers_deliveries,
    workers_idle,
)
from bench.alarm import BenchmarkError
from bench.conditions import conditions
from bench.plan import Case, Plan, Result


class Benchmark(NamedTuple):
    """A script's question and how it is answered."""

    question: str
    run: Callable[[Plan], Awaitable[list[Case]]]


BENCHMARKS = {
    "sends_http": Benchmark(sends_http.QUESTION, sends_http.run),
    "sends_ws": Benchmark(sends_ws.QUESTION, sends_ws.run),
    "sends_members": Benchmark(sends_members.QUESTION, sends_members.run),
    "sends_latency": Benchmark(sends_latency.QUESTION, sends_latency.run),
    **{
        f"deliveries_{protocol}": Benchmark(deliveries.question(protocol), partial(deliveries.run, protocol=protocol))
        for protocol in ("ws", "sse", "poll")
    },
    "idle_memory": Benchmark(idle_memory.QUESTION, idle_memory.run),
    "resume_storm": Benchmark(resume_storm.QUESTION, resume_storm.run),
    "mixed_day": Benchmark(mixed_day.QUESTION, mixed_day.run),
    "reads_postgres": Benchmark(reads_postgres.QUESTION, reads_postgres.run),
    "sends_postgres": Benchmark(sends_postgres.QUESTION, sends_postgres.run),
    "client_library": Benchmark(client_library.QUESTION, client_library.run),
    "desk": Benchmark(desk.QUESTION, desk.run),
    "slow_clients": Benchmark(slow_clients.QUESTION, slow_clients.run),
    "tracing": Benchmark(tracing.QUESTION, tracing.run),
    "workers_idle": Benchmark(workers_idle.QUESTION, workers_idle.run),
    "peers_sends": Benchmark(peers_sends.QUESTION, peers_sends.run),
    "peers_deliveries": Benchmark(peers_deliveries.QUESTION, peers_deliveries.run),
    "workers_deliveries": Benchmark(workers_deliveries.QUESTION, workers_deliveries.run),
}


def main() -> int:
    """Runs the benchmarks that the arguments name, all of them without."""
    parser = argparse.ArgumentParser(prog="script/bench", description="Benchmarks of quickim on one core.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each case (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a round (default %(default)s)")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one benchmark (default %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("var/bench"), help="where the report goes (%(default)s)")
    parser.add_argument(
        "--messages", type=int, default=1_000_000, help="largest table of reads_postgres, desk (%(default)s)"
    )
    parser.add_argument(
        "--connections", type=int, default=10_000, help="WebSockets of workers_*, resume_storm (%(default)s)"
    )
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in BENCHMARKS]:
        parser.error(f"no such benchmark: {', '.join(unknown)} (there are {', '.join(BENCHMARKS)})")
    if arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("at least one round, of more than no seconds")

    cores = sorted(os.sched_getaffinity(0))
    plan = Plan(
        arguments.rounds,
        arguments.seconds,
        server_core=cores[0],
        generator_core=cores[-1],
        output=arguments.output,
        messages=arguments.messages,
        connections=arguments.connections,
    )
    os.sched_setaffinity(0, {plan.generator_core})
    # Thousands of sockets on both sides: the server inherits the limit.
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))

    circumstances = conditions(plan)
    print(report.markdown(circumstances, []), flush=True)
    results = []
    for name in arguments.names or BENCHMARKS:
        results.append(_measured(name, plan, arguments.limit))
        print(f"\n{report.section(results[-1])}", flush=True)
    for path in report.write(arguments.output, circumstances, results):
        print(f"\nWritten: {path}", end="")
    print()
    return 1 if any(result.failure for result in results) else 0


def _measured(name: str, plan: Plan, limit_seconds: float) -> Result:
    benchmark = BENCHMARKS[name]
    result = Result(name, benchmark.question)
    # The generator makes no cycles to speak of; a collection would look like the server's latency.
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result.cases = runner.run(_limited(benchmark, plan, limit_seconds))
    except (BenchmarkError, OSError) as error:  # TimeoutError, at the limit, is an OSError
        result.failure = "".join(traceback.format_exception_only(error)).strip()
        traceback.print_exception(error)
    finally:
        gc.enable()
    return result


async def _limited(benchmark: Benchmark, plan: Plan, limit_seconds: float) -> list[Case]:
    # Terminated, we still stop the server that we started.
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(limit_seconds):
        return await benchmark.run(plan)


if __name__ == "__main__":
    sys.exit(main())
