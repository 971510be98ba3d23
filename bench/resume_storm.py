"""10,000 WebSockets that come back at once, each to the 20 messages that it has missed, while somebody goes on sending.

Every client is a session of its own, in a conversation of ten. All connect, fifty at a time, which is the plain connect
rate, and receive one message, whose MsgId is the cursor. Then all are gone, 20 messages are sent to each conversation,
and all call at the same moment; who is told that the server is overloaded comes back when he was told to, who is
dropped before he has anything a second later. The storm is over when each has his 20, in order. Meanwhile a client who
stays connected sends, alone in his conversation, one message after the other with a pause between them.
"""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle

import msgspec

from bench.alarm import Alarm
from bench.crowd import SETTINGS, token
from bench.load.http import connect as connect_http
from bench.load.senders import Call, Round, Sender, http_call, http_sender, websocket_call, websocket_sender
from bench.load.streams import MemberStream, Tally, connect
from bench.load.wide import Clock, Mailbox, WideStream
from bench.meter import Meter
from bench.plan import Case, Plan
from bench.sends_stage import BACK_ENDS, MEMBERS, stage_on
from bench.stage import Stage

QUESTION = "How long until 10,000 WebSockets that come back at once have 20 missed messages each (300 bytes)?"

_MISSED = 20
_WRITERS = 64
_OPENED_AT_ONCE = 50
_STORM_SECONDS = 60.0
_PAUSE_SECONDS = 0.02
_AFTERMATH_SECONDS = 0.5
"""In which a message that came twice would be seen."""
_MOST_ROUNDS = 2
_OVERLOADED = 1013
_RETRY_SECONDS = 1.0


class _Bye(msgspec.Struct):
    event: str = msgspec.field(default="", name="Event")
    code: int = msgspec.field(default=0, name="Code")
    retry_after_ms: int = msgspec.field(default=0, name="RetryAfterMs")


_decode_bye = msgspec.json.Decoder(_Bye).decode


async def run(plan: Plan) -> list[Case]:
    """One case for each back end."""
    cases = {back_end: Case(back_end) for back_end in BACK_ENDS}
    for _ in range(min(plan.rounds, _MOST_ROUNDS)):
        for back_end, case in cases.items():
            async with stage_on(back_end, plan, SETTINGS) as on:
                case.rounds.append(await _round(on, plan.connections))
    return list(cases.values())


@dataclass(frozen=True)
class _Group:
    """A conversation of ``MEMBERS``."""

    conversation: str
    tokens: Sequence[str]


async def _round(on: Stage, connections: int) -> dict[str, float]:
    groups = [await _group(on, number) for number in range(connections // MEMBERS)]
    opened_a_second, cursors = await _see_one_message(on, groups)
    await _miss_some(on, groups)
    tally, clock = Tally(), Clock()
    clients = [
        _Client(on, Mailbox(tally, clock), each, group.conversation, since)
        for group, since in cursors
        for each in group.tokens
    ]
    steady = await _steady(on)
    calm = await _sends_beside(on, steady, asyncio.sleep(1.0))
    meter, begin = Meter(on.server, on.backing), time.perf_counter()
    due = tally.reaching(_MISSED * len(clients))
    hard = await _sends_beside(on, steady, asyncio.gather(due, *(client.come_back() for client in clients)))
    storm = meter.cost()
    connected_in = max(client.connected_at for client in clients) - begin
    await on.guard(asyncio.sleep(_AFTERMATH_SECONDS), "looking for repeats")
    await on.guard(tally.reaching(_MISSED * len(clients)), "looking for repeats")
    steady.stream.close()
    for client in clients:
        client.close()
    return {
        "seconds until all have all": storm.wall,
        "seconds until all are connected": connected_in,
        "handshakes/s in the storm": sum(client.tries for client in clients) / connected_in,
        "told to come back": float(sum(client.tries - client.drops - 1 for client in clients)),
        "dropped": float(sum(client.drops for client in clients)),
        "messages resumed/s": _MISSED * len(clients) / storm.wall,
        "plain handshakes/s": opened_a_second,
        "sends meanwhile": float(len(hard)),
        "max send ms": 1000 * max(hard),
        "max send ms before": 1000 * max(calm),
        "server CPU %": 100 * storm.server / storm.wall,
        "generator CPU %": 100 * storm.generator / storm.wall,
        **{f"{name} CPU %": 100 * seconds / storm.wall for name, seconds in storm.backing.items()},
    }


class _Returning(WideStream):
    """A WebSocket that may be told to come back, or dropped. ``first``: with its first message 0, else the seconds to
    wait."""

    def __init__(self, alarm: Alarm, token: str, mailbox: Mailbox, since: str) -> None:
        super().__init__(alarm, token, mailbox, since)
        self.first: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.opened_at = 0.0
        self.was_dropped = False

    def data_received(self, data: bytes) -> None:
        seqs = dict(self.mailbox.seqs)
        super().data_received(data)
        if not self.first.done() and seqs != self.mailbox.seqs:
            self.first.set_result(0.0)

    def text_received(self, payload: bytes) -> None:
        notice = _decode_bye(payload)
        if notice.event == "bye" and notice.code == _OVERLOADED and not self.first.done():
            self.close()
            self.first.set_result(notice.retry_after_ms / 1000)
        else:
            super().text_received(payload)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.first.done():
            super().connection_lost(exc)
        else:
            self._transport, self.was_dropped = None, True
            self.first.set_result(_RETRY_SECONDS)

    def _upgrade(self) -> None:
        super()._upgrade()
        self.opened_at = time.perf_counter()

    def _control_received(self, opcode: int, payload: bytes) -> None:
        if self._transport is not None:
            super()._control_received(opcode, payload)


def _itself(stream: _Returning) -> _Returning:
    return stream


class _Client:
    """Who was connected, and comes back until he is let in."""

    def __init__(self, on: Stage, mailbox: Mailbox, token: str, conversation: str, since: str) -> None:
        self.tries = self.drops = 0
        self.connected_at = 0.0
        self._on = on
        self._mailbox = mailbox
        self._token = token
        self._since = since
        self._stream: _Returning | None = None
        mailbox.seqs[conversation] = 1

    async def come_back(self) -> None:
        """Returns when he has his first message."""
        loop, wait = asyncio.get_running_loop(), -1.0
        while wait:
            await asyncio.sleep(max(0.0, wait))
            self.tries += 1
            self._stream = stream = _Returning(self._on.alarm, self._token, self._mailbox, self._since)
            await loop.create_connection(partial(_itself, stream), "127.0.0.1", self._on.server.port)
            wait = await stream.first
            self.drops += stream.was_dropped
            self.connected_at = stream.opened_at

    def close(self) -> None:
        """Leave."""
        if self._stream is not None:
            self._stream.close()


async def _group(on: Stage, number: int) -> _Group:
    sessions = [f"client-{number}-{member}" for member in range(MEMBERS)]
    return _Group(await on.population.conversation(sessions), [token(session) for session in sessions])


async def _see_one_message(on: Stage, groups: Sequence[_Group]) -> tuple[float, list[tuple[_Group, str]]]:
    """How many connected a second; and for each group the MsgId of what all of it has received."""
    tally, clock = Tally(), Clock()
    streams = [WideStream(on.alarm, each, Mailbox(tally, clock)) for group in groups for each in group.tokens]
    begin = time.perf_counter()
    for start in range(0, len(streams), _OPENED_AT_ONCE):
        opening = asyncio.gather(*(connect(on.server.port, s) for s in streams[start : start + _OPENED_AT_ONCE]))
        await on.guard(opening, "connecting")
    opened_a_second = len(streams) / (time.perf_counter() - begin)
    cursors = [(group, await on.population.say(group.conversation, "0000000000 The first")) for group in groups]
    await on.guard(tally.reaching(len(streams)), "waiting for the first message on every connection")
    for stream in streams:
        stream.close()
    return opened_a_second, cursors


async def _miss_some(on: Stage, groups: Sequence[_Group]) -> None:
    """``_MISSED`` messages into each conversation, by members."""
    senders = []
    for number in range(_WRITERS):
        mine = groups[number::_WRITERS]
        if mine:
            connection = await on.guard(connect_http(on.server.port, on.alarm), "connecting")
            senders.append((http_sender(connection, [_in_turn(mine)], on.receipts), _MISSED * len(mine), connection))
    await on.alarm.guard(
        asyncio.gather(*(_say(sender, count) for sender, count, _ in senders)), 2 * _STORM_SECONDS, "sending"
    )
    for _, _, connection in senders:
        connection.close()


def _in_turn(groups: Sequence[_Group]) -> Call:
    """A call that goes to each group in turn, from its first member."""
    calls = cycle([http_call(group.conversation, group.tokens[0]) for group in groups])

    def call(number: int) -> bytes:
        return next(calls)(number)

    return call


async def _say(sender: Sender, count: int) -> None:
    for _ in range(count):
        sender.start(round_ := Round(0))
        await round_.finished()


@dataclass(frozen=True)
class _Steady:
    """Who stays."""

    stream: MemberStream
    sender: Sender


async def _steady(on: Stage) -> _Steady:
    conversation = await on.population.conversation(["steady"])
    stream = MemberStream(on.alarm, token("steady"), Tally())
    await on.guard(connect(on.server.port, stream), "connecting")
    return _Steady(stream, websocket_sender(stream, [websocket_call(conversation)], on.receipts))


async def _sends_beside(on: Stage, steady: _Steady, work: Awaitable[object]) -> list[float]:
    """How many seconds each send took, until ``work`` was done."""
    seconds: list[float] = []
    working = asyncio.ensure_future(on.alarm.guard(work, _STORM_SECONDS, "coming back"))
    while not working.done():
        steady.sender.start(round_ := Round(0))
        await on.alarm.guard(round_.finished(), _STORM_SECONDS, "waiting for an answer")
        seconds += round_.latencies
        await asyncio.sleep(_PAUSE_SECONDS)
    await working
    return seconds
