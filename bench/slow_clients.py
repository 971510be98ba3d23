"""What one client sees while another address holds slow and silent connections open, all that it can get.

The attacker wants 2,000 connections: a third say nothing, a third stop amid their head, a third amid their body.
Whatever is closed or refused is opened again a second later. The client comes from another address, and each of its
calls reads the database.
"""

import asyncio
import json
import math
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from bench.alarm import BenchmarkError
from bench.plan import Case, Plan
from bench.server import Server, serving

QUESTION = "What do 2,000 slow or silent connections from one address cost another client's calls?"

CONNECTIONS = 2_000
ATTACKER, CLIENT = "127.0.0.2", "127.0.0.1"
SETTINGS = {"QUICKIM_LIMIT_EXEMPT": "192.0.2.0/24", "QUICKIM_ADDRESS_RATE": "off"}
"""Addresses of this machine count, as those of others do."""
MOST_TIMES = 2.0
"""What the 99th percentile may become, else it is told."""
PAUSE_SECONDS = 0.005
_HEAD = b"POST /send_msg HTTP/1.1\r\nHost: 127.0.0.1\r\n"
_OPENINGS = (b"", _HEAD, _HEAD + b"Content-Length: 1000\r\n\r\n{")
_OPENED_AT_ONCE = 50


async def run(plan: Plan) -> list[Case]:
    """One case alone, one beside them."""
    alone, beside = Case("alone"), Case("beside them")
    async with serving({plan.server_core}, SETTINGS) as server:
        call = await _caller(server)
        await _percentiles(call, 1.0)
        for _ in range(plan.rounds):
            calm = await _percentiles(call, plan.seconds)
            async with _attacked(server):
                hard = await _percentiles(call, plan.seconds)
            alone.rounds.append(calm | {"p99 : p99 alone": 1.0})
            beside.rounds.append(hard | {"p99 : p99 alone": hard["p99 ms"] / calm["p99 ms"]})
    times = beside.medians()["p99 : p99 alone"]
    if times > MOST_TIMES:
        raise BenchmarkError(f"p99 is {times:.1f} times what it is alone")
    return [alone, beside]


@asynccontextmanager
async def _attacked(server: Server) -> AsyncIterator[None]:
    """While inside, the attacker is at it; it has all that it can get from the beginning."""
    gate = asyncio.Semaphore(_OPENED_AT_ONCE)
    tried = 0
    everybody_tried = asyncio.Event()

    async def hold(opening: bytes) -> None:
        nonlocal tried
        is_first = True
        while True:
            with suppress(OSError):
                async with gate:
                    reader, writer = await asyncio.open_connection(CLIENT, server.port, local_addr=(ATTACKER, 0))
                    writer.write(opening)
                if is_first:
                    is_first, tried = False, tried + 1
                    if tried == CONNECTIONS:
                        everybody_tried.set()
                try:
                    await reader.read()
                finally:
                    writer.transport.abort()
            await asyncio.sleep(1)

    holding = [asyncio.create_task(hold(_OPENINGS[number % 3])) for number in range(CONNECTIONS)]
    try:
        await everybody_tried.wait()
        yield
    finally:
        for task in holding:
            task.cancel()
        await asyncio.gather(*holding, return_exceptions=True)


async def _percentiles(call: "_Caller", seconds: float) -> dict[str, float]:
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        await call()
        times.append((time.perf_counter() - began) * 1_000)
        await asyncio.sleep(PAUSE_SECONDS)
    times.sort()
    return {
        "p99 ms": times[math.ceil(len(times) * 0.99) - 1],
        "p50 ms": statistics.median(times),
        "calls": float(len(times)),
    }


class _Caller:
    """A connection that is kept, and one request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
        self._reader, self._writer, self._request = reader, writer, request

    async def __call__(self) -> bytes:
        """The body of the answer."""
        self._writer.write(self._request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200 "):
            raise BenchmarkError(head.split(b"\r\n")[0].decode())
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        return await self._reader.readexactly(length)


async def _caller(server: Server) -> _Caller:
    reader, writer = await asyncio.open_connection(CLIENT, server.port)
    body = b'{"session": "alice", "platform": 1}'
    token = json.loads(await _Caller(reader, writer, _request("/inner/get_token", body))())["data"]
    return _Caller(reader, writer, _request("/get_joined_conversation", b"{}", f"Authorization: Bearer {token}\r\n"))


def _request(path: str, body: bytes, header: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
