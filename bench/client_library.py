"""The Python client, ``gateway.client``: 50 members of a conversation, each a client, receive what other clients send.

Who receives and who sends are a process each, so that the CPU time of the two is told apart; memory is that of further
clients in a process of their own, which wait. A message is sent at a fixed pace, by the client's own ``send`` with its
``client_msg_id`` and retries; its delay counts from the moment at which it was due to the one at which the app has it.
In the same round the generator's own streams receive at the same pace in another conversation, for the ratio. They
decode what all members get only once, and are not what an app could do: they show what the server could feed.

Everybody but the server shares the generator's core: a round's delays are those of clients that compete with their
senders.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.alarm import BenchmarkError
from bench.crowd import SETTINGS, token
from bench.deliveries import open_room
from bench.load.clients import LINE_BYTES
from bench.meter import Meter, footprint
from bench.plan import Case, Plan
from bench.stage import WARM_UP_SECONDS, Stage, stage

QUESTION = "What does a message cost who receives or sends it by the Python client (50 clients, 300 bytes)?"

MEMBERS = 50
IDLE_CLIENTS = 300
SENDS_PER_SECOND = 30.0
"""So few that the server need not hold back polls (see bench.deliveries): each message costs a poller a poll."""
_SENDERS = 8
_WARM_CLIENTS = 20
_SETTLE_SECONDS = 1.0
_ROOT = Path(__file__).resolve().parent.parent


async def run(plan: Plan) -> list[Case]:
    """One case for each protocol."""
    cases = {protocol: Case(protocol) for protocol in ("ws", "sse", "poll")}
    async with stage(plan, settings=SETTINGS) as on:
        for protocol, case in cases.items():
            case.rounds += [await _round(on, protocol, f"{protocol}-{number}-") for number in range(plan.rounds)]
    return list(cases.values())


async def _round(on: Stage, protocol: str, prefix: str) -> dict[str, float]:
    """``prefix``: of sessions that nobody had yet. A MsgId as a cursor reaches back into other conversations."""
    async with _process(on) as waiting:
        memory = await _idle_memory(on, waiting, protocol)
    async with _process(on) as receivers, _process(on) as senders:
        figures = await _received(on, receivers, senders, protocol, prefix)
        raw = await _received_raw(on, senders, protocol, prefix)
    ratio = {"raw received per CPU-s": raw, "raw : client": raw / figures["received per CPU-s"]}
    return figures | ratio | memory


class _Process:
    """See ``bench.load.clients``, whose commands these are."""

    def __init__(self, on: Stage, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._on, self.pid = on, process.pid
        self._input, self._output = process.stdin, process.stdout

    async def ask(self, name: str, **params: Any) -> Any:
        """The answer to a command."""
        self._input.write(json.dumps([name, params]).encode() + b"\n")
        line = await self._on.guard(self._output.readline(), f"waiting for the clients to {name}")
        if not line:
            raise BenchmarkError(f"the clients' process ended at {name}")
        return json.loads(line)


@asynccontextmanager
async def _process(on: Stage) -> AsyncIterator[_Process]:
    """On the generator's core, as it is started from there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.load.clients", f"http://127.0.0.1:{on.server.port}"),
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    try:
        yield _Process(on, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _idle_memory(on: Stage, clients: _Process, protocol: str) -> dict[str, float]:
    """Of a client that is connected and has received nothing yet. The first ones pay for what all share."""
    await clients.ask("open", protocol=protocol, tokens=[token(f"warm-{number}") for number in range(_WARM_CLIENTS)])
    await on.guard(asyncio.sleep(_SETTLE_SECONDS), "letting the clients settle")
    before = footprint(clients.pid).pss_kib
    await clients.ask("open", protocol=protocol, tokens=[token(f"idle-{number}") for number in range(IDLE_CLIENTS)])
    await on.guard(asyncio.sleep(_SETTLE_SECONDS), "letting the clients settle")
    after = footprint(clients.pid).pss_kib
    return {"KiB per idle client (PSS)": (after - before) / IDLE_CLIENTS}


async def _received(on: Stage, receivers: _Process, senders: _Process, protocol: str, prefix: str) -> dict[str, float]:
    """What clients received, and what that cost them and those who sent."""
    sessions = [f"{prefix}{number}" for number in range(MEMBERS)]
    tokens = [token(session) for session in sessions]
    conversation = await on.population.conversation(sessions)
    await receivers.ask("open", protocol=protocol, tokens=tokens)
    await _turn(on, receivers, senders, conversation, tokens, WARM_UP_SECONDS)
    figures = await _turn(on, receivers, senders, conversation, tokens, on.plan.seconds)
    # Each client compared what it got with the others; here that is compared with what was acknowledged.
    received, acknowledged = set((await receivers.ask("received"))[conversation]), set(on.receipts.number_of)
    if received != acknowledged:
        raise BenchmarkError(f"{len(acknowledged - received)} acknowledged messages reached no client")
    await on.population.compare({conversation: tokens[0]}, on.receipts)
    on.receipts.number_of.clear()
    await receivers.ask("close")
    return figures


async def _turn(
    on: Stage, receivers: _Process, senders: _Process, conversation: str, tokens: Sequence[str], seconds: float
) -> dict[str, float]:
    await receivers.ask("begin")
    meter = Meter(on.server)
    count, sending = await _send(on, senders, conversation, tokens, seconds)
    got = await receivers.ask("end", deliveries=count * MEMBERS)
    cost = meter.cost()
    return {
        "received per CPU-s": count * MEMBERS / got["cpu"],
        "sends per CPU-s": count / sending,
        **got["delays"],
        "received/s": count * MEMBERS / cost.wall,
        "receivers CPU %": 100 * got["cpu"] / cost.wall,
        "senders CPU %": 100 * sending / cost.wall,
        "server CPU %": 100 * cost.server / cost.wall,
        "breaks": got["breaks"],
    }


async def _received_raw(on: Stage, senders: _Process, protocol: str, prefix: str) -> float:
    """What the generator received for each of its CPU seconds, from the same senders at the same pace."""
    room = await open_room(on, protocol, MEMBERS, f"{prefix}raw-")
    received = 0.0
    for seconds in (WARM_UP_SECONDS, on.plan.seconds):
        due, meter = room.tally.received, Meter(on.server)
        count, _ = await _send(on, senders, room.conversation, room.tokens, seconds)
        await on.guard(room.tally.reaching(due + count * MEMBERS), "waiting for the deliveries")
        received = count * MEMBERS / meter.cost().generator
    await room.close()
    return received


async def _send(
    on: Stage, senders: _Process, conversation: str, tokens: Sequence[str], seconds: float
) -> tuple[int, float]:
    """How many messages were sent, and the CPU seconds of that; what was acknowledged is among the receipts."""
    numbers = [next(on.receipts.numbers) for _ in range(max(1, round(SENDS_PER_SECOND * seconds)))]
    some = list(tokens[:_SENDERS])
    sent = await senders.ask("send", conversation=conversation, tokens=some, numbers=numbers, rate=SENDS_PER_SECOND)
    for msg_id, number in zip(sent["acknowledged"], numbers, strict=True):
        on.receipts.add(msg_id, number)
    return len(numbers), sent["cpu"]
