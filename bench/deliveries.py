"""Deliveries to the members of one conversation, all connected by one protocol: 1 to 2,000 of them, and each message
committed before the first of them has it.

At full speed senders have one call in flight each. With one sender every message is a commit and a write to each
socket; with eight, messages that wait together may be committed and written together; in step, a message is sent when
everybody has the one before. Then an open loop sends half as many messages a second as got through, for the delays:
from the moment at which a message is due to the moment at which the generator has read that member's socket.

Over WebSocket members send by calls, else by ``POST /send_msg``. A poller asks again as soon as he is answered.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.crowd import SETTINGS, token
from bench.load.http import connect as connect_http
from bench.load.pace import Pace
from bench.load.poll import Answers, PollStream
from bench.load.senders import Round, Sender, http_call, http_sender, websocket_call, websocket_sender
from bench.load.streams import Stream, Tally, connect
from bench.load.wide import Clock, Mailbox, WideEvents, WideStream
from bench.meter import Cost, Meter
from bench.plan import Case, Plan
from bench.stage import WARM_UP_SECONDS, Stage, stage

MEMBERS = (1, 10, 100, 500, 2_000)
_MANY_WAYS = 500
"""Members to whom eight senders send as well, and one in step."""
_IN_STEP = 0
_PACE_SENDERS = 16
_OPENED_AT_ONCE = 50


def question(protocol: str) -> str:
    """Of the benchmark for ``protocol``."""
    name = {"ws": "WebSocket", "sse": "SSE", "poll": "long polling"}[protocol]
    return (
        f"How many deliveries a second to a conversation's members over {name} (300 bytes), and how soon at half of it?"
    )


async def run(plan: Plan, protocol: str) -> list[Case]:
    """One case for each number of members, and way to send to them."""
    cases = []
    async with stage(plan, settings=SETTINGS) as on:
        for count in MEMBERS:
            room = await open_room(on, protocol, count)
            cases += [await _case(room, senders) for senders in ((1, 8, _IN_STEP) if count == _MANY_WAYS else (1,))]
            await room.close()
    return cases


@dataclass
class Room:
    """Everybody is connected."""

    on: Stage
    conversation: str
    tokens: Sequence[str]
    streams: Sequence[Stream]
    tally: Tally
    clock: Clock

    @asynccontextmanager
    async def senders(self, count: int) -> AsyncIterator[list[Sender]]:
        """``count`` of them, or all members if they are fewer; HTTP connections are not kept when nobody sends."""
        receipts = self.on.receipts
        # The last ones: a hub that goes through its members in order has then served the others before.
        streams = [stream for stream in self.streams[-count:] if isinstance(stream, WideStream)]
        if streams:
            yield [websocket_sender(stream, [websocket_call(self.conversation)], receipts) for stream in streams]
            return
        connections = [
            await self.on.guard(connect_http(self.on.server.port, self.on.alarm), "connecting") for _ in range(count)
        ]
        call = http_call(self.conversation, self.tokens[-1])
        yield [http_sender(connection, [call], receipts) for connection in connections]
        for connection in connections:
            connection.close()

    def polls(self) -> tuple[int, int]:
        """How many were answered, and how many refused."""
        polls = [stream for stream in self.streams if isinstance(stream, PollStream)]
        return sum(poll.answered for poll in polls), sum(poll.refused for poll in polls)

    async def close(self) -> None:
        """Compare what everybody got with the history, then leave."""
        await self.on.population.compare({self.conversation: self.tokens[0]}, self.on.receipts)
        self.on.receipts.number_of.clear()
        for stream in self.streams:
            stream.close()


async def open_room(on: Stage, protocol: str, count: int, prefix: str = "") -> Room:
    """A new conversation of ``count`` members, whose sessions begin with ``prefix``."""
    sessions = [f"{prefix}{count}-{number}" for number in range(count)]
    tokens = [token(session) for session in sessions]
    # Pollers start behind a message that is older than their conversation.
    since = await on.population.say(await on.population.conversation(["somebody"]), "Before it all")
    conversation = await on.population.conversation(sessions)
    tally, clock, answers = Tally(), Clock(), Answers()
    streams: list[Stream] = []
    for each in tokens:
        if protocol == "ws":
            streams.append(WideStream(on.alarm, each, Mailbox(tally, clock)))
        elif protocol == "sse":
            streams.append(WideEvents(on.alarm, each, Mailbox(tally, clock)))
        else:
            streams.append(PollStream(on.alarm, each, Mailbox(tally, clock), answers, since))
    for start in range(0, count, _OPENED_AT_ONCE):
        opening = asyncio.gather(*(connect(on.server.port, s) for s in streams[start : start + _OPENED_AT_ONCE]))
        await on.guard(opening, "connecting")
    return Room(on, conversation, tokens, streams, tally, clock)


async def _case(room: Room, senders: int) -> Case:
    on, count = room.on, len(room.streams)
    way = f"{senders} sender{'s' * (senders > 1)}" if senders else "in step"
    case = Case(f"{count:,} member{'s' * (count > 1)}, {way}")
    await _full_speed(room, senders, WARM_UP_SECONDS)
    for _ in range(on.plan.rounds):
        answered, refused = room.polls()
        cost, sends = await _full_speed(room, senders, on.plan.seconds)
        figures = cost.rates(count * sends, "deliveries") | {"sends/s": sends / cost.wall}
        polls, refusals = room.polls()
        if polls > answered:
            figures["deliveries per answer"] = count * sends / (polls - answered)
            figures["answers 503"] = float(refusals - refused)
        case.rounds.append(figures | await _half_speed(room, sends / cost.wall / 2))
    return case


async def _full_speed(room: Room, senders: int, seconds: float) -> tuple[Cost, int]:
    async with room.senders(senders or 1) as chosen:
        if senders == _IN_STEP:
            return await _in_step(room, chosen[0], seconds)
        cost, round_ = await room.on.send(chosen, seconds, room.tally, len(room.streams))
        return cost, len(round_.latencies)


async def _in_step(room: Room, sender: Sender, seconds: float) -> tuple[Cost, int]:
    meter, end, sends = Meter(room.on.server), time.perf_counter() + seconds, 0
    while time.perf_counter() < end:
        due = room.tally.received + len(room.streams)
        sender.start(round_ := Round(0))
        await room.on.guard(round_.finished(), "waiting for an answer")
        await room.on.guard(room.tally.reaching(due), "waiting for a message's deliveries")
        sends += 1
    return meter.cost(), sends


async def _half_speed(room: Room, rate: float) -> dict[str, float]:
    on, due = room.on, room.tally.received
    async with room.senders(_PACE_SENDERS) as senders:
        sends = await on.guard(Pace(senders, room.clock).run(rate, on.plan.seconds), "sending at a pace")
        await on.guard(room.tally.reaching(due + sends * len(room.streams)), "waiting for the deliveries")
    figures = {f"p{percent} ms at half": room.clock.percentile_ms(percent) for percent in (50, 99)}
    room.clock.clear()
    return figures
