"""What tracing costs: 64 senders over HTTP and over WebSocket against four servers that take turns: two without
tracing (what these differ by is the run's own noise), one that samples a call in a hundred, one that samples all.

Spans go to a collector that swallows them, in the generator. All servers live through the whole run and idle while
another one is asked; the ratio is taken within each turn, so a drift of the machine meets all. Many short turns tell
more than a few long ones: ``--rounds 40 --seconds 0.4``.
"""

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from statistics import mean

from bench.load.http import connect as connect_http
from bench.load.senders import Sender, http_call, http_sender, websocket_call, websocket_sender
from bench.load.streams import MemberStream, Tally, connect
from bench.plan import Case, Plan
from bench.stage import WARM_UP_SECONDS, Stage, send_figures, stage

QUESTION = "What do traces cost a durable send (300 bytes, 64 senders, a conversation each)?"

_SENDERS = 64
_RATIO = "sends/CPU-s, of off %"


async def run(plan: Plan) -> list[Case]:
    """Two cases, HTTP and WebSocket, for each way to trace."""
    collector = await asyncio.start_server(_swallow, "127.0.0.1", 0)
    port = collector.sockets[0].getsockname()[1]
    ways: dict[str, Mapping[str, str]] = {
        "off": {},
        "off again": {},
        "1 %": _sampling(port, "0.01"),
        "100 %": _sampling(port, "1"),
    }
    cases = {(protocol, way): Case(f"{protocol}, {way}") for protocol in ("HTTP", "WebSocket") for way in ways}
    async with collector, AsyncExitStack() as servers:
        crowds = {way: _Crowd(await servers.enter_async_context(stage(plan, settings=s))) for way, s in ways.items()}
        for crowd in crowds.values():
            await crowd.gather()
        for protocol in ("HTTP", "WebSocket"):
            for number in range(plan.rounds + 1):
                # In any order: who comes first finds caches cold, and who comes after a server that traces all finds
                # it still exporting.
                order = random.Random(number).sample([*ways], len(ways))
                turn = {
                    way: await crowds[way].send(protocol, plan.seconds if number else WARM_UP_SECONDS) for way in order
                }
                off = mean(turn[way]["sends per server CPU-s"] for way in ("off", "off again"))
                for way, figures in turn.items() if number else ():
                    ratio = 100 * figures["sends per server CPU-s"] / off
                    cases[protocol, way].rounds.append({"sends/s": figures["sends/s"], _RATIO: ratio} | figures)
        for crowd in crowds.values():
            await crowd.compare()
    return list(cases.values())


def _sampling(port: int, ratio: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": ratio,
        "NO_PROXY": "127.0.0.1",
    }


class _Crowd:
    """The senders of one server."""

    def __init__(self, on: Stage) -> None:
        self._on = on
        self._tally = Tally()
        self._tokens: list[str] = []
        self._conversations: list[str] = []
        self._over_websocket: list[Sender] = []

    async def gather(self) -> None:
        """Each in a conversation of his own, with one WebSocket."""
        on = self._on
        sessions = [f"sender-{number}" for number in range(_SENDERS)]
        self._tokens = await on.population.tokens(sessions)
        self._conversations = [await on.population.conversation([session]) for session in sessions]
        for token, conversation in zip(self._tokens, self._conversations, strict=True):
            stream = MemberStream(on.alarm, token, self._tally)
            await on.guard(connect(on.server.port, stream), "connecting")
            self._over_websocket.append(websocket_sender(stream, [websocket_call(conversation)], on.receipts))

    async def send(self, protocol: str, seconds: float) -> dict[str, float]:
        """One round's figures. Every send is delivered to its sender's WebSocket."""
        on = self._on
        if protocol == "WebSocket":
            return send_figures(*await on.send(self._over_websocket, seconds, self._tally, deliveries_per_send=1))
        connections = [await on.guard(connect_http(on.server.port, on.alarm), "connecting") for _ in self._tokens]
        calls = [http_call(*pair) for pair in zip(self._conversations, self._tokens, strict=True)]
        senders = [http_sender(one, [call], on.receipts) for one, call in zip(connections, calls, strict=True)]
        figures = send_figures(*await on.send(senders, seconds, self._tally, deliveries_per_send=1))
        for connection in connections:
            connection.close()
        return figures

    async def compare(self) -> None:
        """History with what was acknowledged."""
        pairs = zip(self._conversations, self._tokens, strict=True)
        await self._on.population.compare(dict(pairs), self._on.receipts)


async def _swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A collector: takes whatever comes, and says so."""
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = dict(line.lower().partition(b":")[::2] for line in head.split(b"\r\n"))
            await reader.readexactly(int(lines[b"content-length"]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
