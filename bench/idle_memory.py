"""Memory of an idle connection: the server's own before and after 5,000 and 19,000 WebSockets or SSE streams; more
would not fit the 20,000 open files that a process may have here.

Every connection is of a session of its own, in conversations of 100 members. "Before" is a server that has
served 100 connections of that kind and still does, so that what the first ones load is not counted.
Afterwards each of them must receive one message, to show that it lived. Each round has a fresh server:
freed memory would be used again. What the kernel keeps for a socket is not in the figures.
"""

import asyncio
import resource
import time
from typing import NamedTuple

from bench.crowd import SETTINGS, token
from bench.load.sse import EventStream
from bench.load.streams import MemberStream, Stream, Tally, connect
from bench.meter import Footprint, Meter, footprint
from bench.plan import Case, Plan
from bench.stage import Stage, stage

QUESTION = "How much memory does an idle connection take (5,000 and 19,000 of them)?"

_STREAMS = {"ws": MemberStream, "sse": EventStream}
_ROUNDS = {5_000: 3, 19_000: 1}
"""By the number of connections, the most rounds: memory hardly differs from one to the next."""
_WARM_CONNECTIONS = 100
_CONVERSATION_MEMBERS = 100
_OPENED_AT_ONCE = 50
_RESERVED_FILES = 600
"""Of the server's and of ours, which are no idle connections."""


class _Crowd(NamedTuple):
    conversations: list[str]
    streams: list[Stream]
    tally: Tally


async def run(plan: Plan) -> list[Case]:
    """One case for each protocol and number of connections."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    cases: list[Case] = []
    for wanted, most in _ROUNDS.items():
        count = min(wanted, files - _RESERVED_FILES)
        at_this_size = {protocol: Case(f"{count:,} {protocol}") for protocol in _STREAMS}
        for _ in range(min(plan.rounds, most)):
            for protocol, case in at_this_size.items():
                async with stage(plan, settings=SETTINGS) as on:
                    case.rounds.append(await _round(on, protocol, count))
        cases += at_this_size.values()
    return cases


async def _round(on: Stage, protocol: str, count: int) -> dict[str, float]:
    warm = await _crowd(on, protocol, "warm", _WARM_CONNECTIONS)
    crowd = await _crowd(on, protocol, "idle", count)
    await _open(on, warm)
    await _prove_alive(on, warm)
    before = await _settled(on)
    began = time.perf_counter()
    await _open(on, crowd)
    opened_a_second = count / (time.perf_counter() - began)
    after = await _settled(on)
    meter = Meter(on.server)
    await on.guard(asyncio.sleep(on.plan.seconds), "being idle")
    idle = meter.cost()
    await _prove_alive(on, crowd)
    for stream in warm.streams + crowd.streams:
        stream.close()
    return {
        "KiB per connection (PSS)": (after.pss_kib - before.pss_kib) / count,
        "KiB per connection (RSS)": (after.rss_kib - before.rss_kib) / count,
        "server MiB before (PSS)": before.pss_kib / 1024,
        "server MiB after (PSS)": after.pss_kib / 1024,
        "threads added": after.threads - before.threads,
        "server CPU % while idle": 100 * idle.server / idle.wall,
        "opened/s": opened_a_second,
    }


async def _crowd(on: Stage, protocol: str, name: str, count: int) -> _Crowd:
    """Everything but the connections, so that they alone are new between the two readings."""
    sessions = [f"{name}-{number}" for number in range(count)]
    tokens = [token(session) for session in sessions]
    conversations = [
        await on.population.conversation(sessions[start : start + _CONVERSATION_MEMBERS])
        for start in range(0, count, _CONVERSATION_MEMBERS)
    ]
    tally = Tally()
    return _Crowd(conversations, [_STREAMS[protocol](on.alarm, each, tally) for each in tokens], tally)


async def _open(on: Stage, crowd: _Crowd) -> None:
    for start in range(0, len(crowd.streams), _OPENED_AT_ONCE):
        group = crowd.streams[start : start + _OPENED_AT_ONCE]
        opening = asyncio.gather(*(connect(on.server.port, stream) for stream in group))
        await on.guard(opening, "connecting")


async def _prove_alive(on: Stage, crowd: _Crowd) -> None:
    """One message into every conversation, one to every connection."""
    for conversation in crowd.conversations:
        await on.population.say(conversation, "Are you there?")
    await on.guard(crowd.tally.reaching(len(crowd.streams)), "waiting for a message on every connection")


async def _settled(on: Stage) -> Footprint:
    """The footprint when it has stopped moving, or after ten seconds."""
    last = footprint(on.server.pid)
    for _ in range(20):
        await on.guard(asyncio.sleep(0.5), "letting the server settle")
        now = footprint(on.server.pid)
        if abs(now.pss_kib - last.pss_kib) < 128:
            return now
        last = now
    return last
