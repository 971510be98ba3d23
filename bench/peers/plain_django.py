"""What a product would write by itself: plain Channels with the ORM, and plain django-eventstream.

Configuration of both: one uvicorn process (uvloop, httptools, no access log) on the versions that quickim runs on,
PostgreSQL through Django's connection pool and Valkey as they come; Channels on its layer for Redis pub/sub,
django-eventstream on its storage in the database. No tokens and no members: everybody may speak in every room.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.alarm import Alarm, BenchmarkError
from bench.backing import postgresql_and_valkey
from bench.load.http import request
from bench.load.senders import Receipts
from bench.peers.audience import Audience, PacedSender
from bench.peers.calls import acknowledging, call_around
from bench.peers.content import content
from bench.peers.listeners import EventListener, WebSocketListener, open_all
from bench.peers.measuring import Delivering, Sending
from bench.peers.programs import ROOT, running
from bench.peers.sizes import LISTENERS, ROOMS, SENDERS, TALKERS
from bench.plan import Plan
from bench.server import Server
from tests.databases import free_port

_APPLICATION = "bench.peers.plain_channels.asgi:application"
_MESSAGES = "SELECT count(*) FROM plain_channels_message"
_EVENTS = "SELECT count(*) FROM django_eventstream_event WHERE eid > 0"  # it stores one of its own for each channel


@dataclass(frozen=True)
class _App:
    server: Server
    alarm: Alarm
    backing: Mapping[str, int]
    database: str

    def stored(self, query: str) -> Callable[[], Awaitable[int]]:
        async def count() -> int:
            async with await psycopg.AsyncConnection.connect(self.database) as connection:
                row = await (await connection.execute(query.encode())).fetchone()
                return int(row[0]) if row else 0

        return count


class _Client(WebSocketListener):
    def __init__(self, app: _App, room: str, receipts: Receipts, audience: Audience, paced_by: Audience | None) -> None:
        super().__init__(app.alarm, f"/room/{room}", "", audience)
        self.sender = PacedSender(self.send, [_say], receipts, paced_by)

    def other_received(self, payload: bytes) -> None:
        if not payload.startswith(b'{"saved"'):
            raise BenchmarkError(f"an unexpected frame: {payload[:200]!r}")
        self.sender.acknowledged(payload)


def _say(number: int) -> bytes:
    return b'{"text":"%b"}' % content(number)


def _post(room: str) -> Callable[[int], bytes]:
    return lambda number: call_around("POST", f"/say/{room}", content(number), "Content-Type: text/plain\r\n")


@asynccontextmanager
async def channels_sends(plan: Plan) -> AsyncIterator[Sending]:
    """Over WebSocket; every sender is alone in a room of his own, so a send costs an answer and a push."""
    async with _on_postgresql(plan) as app:
        receipts = Receipts()
        clients = [_Client(app, f"room-{number}", receipts, Audience(), None) for number in range(SENDERS)]
        await app.alarm.guard(open_all(app.server.port, clients), 30, "connecting")
        senders = [client.sender for client in clients]
        yield Sending(app.server, app.alarm, senders, app.stored(_MESSAGES), app.backing)
        for client in clients:
            client.close()


@asynccontextmanager
async def channels_deliveries(plan: Plan) -> AsyncIterator[Delivering]:
    """Over WebSocket; the last of those in the room speak."""
    async with _on_postgresql(plan) as app:
        audience, receipts = Audience(), Receipts()
        clients = [_Client(app, "room", receipts, audience, audience) for _ in range(LISTENERS)]
        await app.alarm.guard(open_all(app.server.port, clients), 30, "connecting")
        senders = [client.sender for client in clients[-TALKERS:]]
        yield Delivering(app.server, app.alarm, senders, audience, app.backing)
        for client in clients:
            client.close()


@asynccontextmanager
async def eventstream_sends(plan: Plan) -> AsyncIterator[Sending]:
    """Over HTTP into a few channels, to which nobody listens."""
    async with _on_postgresql(plan) as app:
        calls = [_post(f"room-{number % ROOMS}") for number in range(SENDERS)]
        async with acknowledging(app.server.port, app.alarm, calls, Receipts()) as senders:
            yield Sending(app.server, app.alarm, senders, app.stored(_EVENTS), app.backing)


@asynccontextmanager
async def eventstream_deliveries(plan: Plan) -> AsyncIterator[Delivering]:
    """Over SSE, and on SQLite: every open stream keeps a thread with a database connection of its own, which is more
    than PostgreSQL takes. Sent over HTTP."""
    async with _on_sqlite(plan) as app:
        audience = Audience()
        hear = request("GET", "/hear/room", "", "Accept: text/event-stream\r\n")
        listeners = [EventListener(app.alarm, hear, audience) for _ in range(LISTENERS)]
        await app.alarm.guard(open_all(app.server.port, listeners), 60, "connecting")
        calls = [_post("room")] * TALKERS
        async with acknowledging(app.server.port, app.alarm, calls, Receipts(), audience) as senders:
            yield Delivering(app.server, app.alarm, senders, audience, app.backing)
        for listener in listeners:
            listener.close()


@asynccontextmanager
async def _on_postgresql(plan: Plan) -> AsyncIterator[_App]:
    with postgresql_and_valkey({plan.server_core}) as backing:
        urls = backing.settings["QUICKIM_DATABASE_URL"], backing.settings["QUICKIM_REDIS_URL"]
        async with _app(plan, *urls, backing.pids) as app:
            yield app


@asynccontextmanager
async def _on_sqlite(plan: Plan) -> AsyncIterator[_App]:
    with tempfile.TemporaryDirectory(prefix="quickim-bench-plain-") as directory:
        async with _app(plan, f"sqlite://{directory}/db.sqlite3", "redis://127.0.0.1:1/0", {}) as app:
            yield app


@asynccontextmanager
async def _app(plan: Plan, database: str, redis: str, backing: Mapping[str, int]) -> AsyncIterator[_App]:
    environment = {
        "BENCH_DATABASE_URL": database,
        "BENCH_REDIS_URL": redis,
        "DJANGO_SETTINGS_MODULE": "bench.peers.plain_channels.settings",
        "PYTHONPATH": str(ROOT),
    }
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", _APPLICATION, f"--port={port}", "--no-access-log"]
    with tempfile.TemporaryDirectory(prefix="quickim-bench-plain-") as directory:
        await asyncio.to_thread(_migrate, environment)
        async with running(plan, [*command, "--log-level=warning"], port, Path(directory), environment) as server:
            yield _App(server, Alarm(), backing, database)


def _migrate(environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity=0"]
    subprocess.run(command, cwd=ROOT, env=os.environ | dict(environment), stdin=subprocess.DEVNULL, check=True)
