"""Memory of an idle connection: the server's own before and after 2,000 WebSockets or SSE streams.

Every connection is of a session of its own, in conversations of 100 members. "Before" is a server that has
served 100 connections of that kind and still does, so that what the first ones load is not counted.
Afterwards each of the 2,000 must receive one message, to show that it lived. Each round has a fresh server:
freed memory would be used again. What the kernel keeps for a socket is not in the figures.
"""

import asyncio
from typing import NamedTuple

from bench.load.sse import EventStream
from bench.load.streams import MemberStream, Stream, Tally, connect
from bench.meter import Footprint, Meter, footprint
from bench.plan import Case, Plan
from bench.stage import Stage, stage

QUESTION = "How much memory does an idle connection take (2,000 of them)?"

_STREAMS = {"ws": MemberStream, "sse": EventStream}
_CONNECTIONS = 2000
_WARM_CONNECTIONS = 100
_CONVERSATION_MEMBERS = 100
_OPENED_AT_ONCE = 50
_MOST_ROUNDS = 3


class _Crowd(NamedTuple):
    conversations: list[str]
    streams: list[Stream]
    tally: Tally


async def run(plan: Plan) -> list[Case]:
    """One case for each protocol."""
    cases = {protocol: Case(protocol) for protocol in _STREAMS}
    for _ in range(min(plan.rounds, _MOST_ROUNDS)):
        for protocol, case in cases.items():
            async with stage(plan) as on:
                case.rounds.append(await _round(on, protocol))
    return list(cases.values())


async def _round(on: Stage, protocol: str) -> dict[str, float]:
    warm = await _crowd(on, protocol, "warm", _WARM_CONNECTIONS)
    crowd = await _crowd(on, protocol, "idle", _CONNECTIONS)
    await _open(on, warm)
    await _prove_alive(on, warm)
    before = await _settled(on)
    await _open(on, crowd)
    after = await _settled(on)
    meter = Meter(on.server)
    await on.guard(asyncio.sleep(on.plan.seconds), "being idle")
    idle = meter.cost()
    await _prove_alive(on, crowd)
    for stream in warm.streams + crowd.streams:
        stream.close()
    return {
        "KiB per connection (PSS)": (after.pss_kib - before.pss_kib) / _CONNECTIONS,
        "KiB per connection (RSS)": (after.rss_kib - before.rss_kib) / _CONNECTIONS,
        "server MiB before (PSS)": before.pss_kib / 1024,
        "server MiB after (PSS)": after.pss_kib / 1024,
        "threads added": after.threads - before.threads,
        "server CPU % while idle": 100 * idle.server / idle.wall,
    }


async def _crowd(on: Stage, protocol: str, name: str, count: int) -> _Crowd:
    """Everything but the connections, so that they alone are new between the two readings."""
    sessions = [f"{name}-{number}" for number in range(count)]
    tokens = await on.population.tokens(sessions)
    conversations = [
        await on.population.conversation(sessions[start : start + _CONVERSATION_MEMBERS])
        for start in range(0, count, _CONVERSATION_MEMBERS)
    ]
    tally = Tally()
    return _Crowd(conversations, [_STREAMS[protocol](on.alarm, token, tally) for token in tokens], tally)


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
    last = footprint(on.server)
    for _ in range(20):
        await on.guard(asyncio.sleep(0.5), "letting the server settle")
        now = footprint(on.server)
        if abs(now.pss_kib - last.pss_kib) < 128:
            return now
        last = now
    return last
