"""Answers that wait for their client: given up when nothing of them is taken, and only then."""

import asyncio
import socket
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.server import flow
from gateway.server.arrivals import arrivals
from gateway.server.flow import Flow
from gateway.server.limited import LimitedHttp
from gateway.server.limited_websocket import LimitedWebSocket
from tests.clients.listener import WAIT_SECONDS

MANY_BYTES = 32 * 1024 * 1024


class Long:
    """An application whose answer is more than any buffer holds."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer, piece by piece."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(4):
            await send({"type": "http.response.body", "body": b"x" * (MANY_BYTES // 4), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        self.ended.set()


async def test_an_answer_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "BLOCKED_SECONDS", 0.05)
    app, before = Long(), arrivals().total
    config = uvicorn.Config(app, ws=LimitedWebSocket, lifespan="off", log_config=None)
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: LimitedHttp(config, state, {}), "127.0.0.1", 0)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.setblocking(False)
        await loop.sock_connect(deaf, server.sockets[0].getsockname())
        await loop.sock_sendall(deaf, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        async with asyncio.timeout(WAIT_SECONDS):
            await app.ended.wait()
    assert (arrivals().total, state.connections) == (before, set())
    server.close()
    await server.wait_closed()


class Draining:
    """A transport of which something is taken whenever somebody looks."""

    def __init__(self, takes: int) -> None:
        self.pending, self.takes = MANY_BYTES, takes
        self.looks = 0
        self.looked_often, self.aborted = asyncio.Event(), asyncio.Event()

    def get_write_buffer_size(self) -> int:
        """What is left."""
        self.pending -= self.takes
        self.looks += 1
        if self.looks == 20:
            self.looked_often.set()
        return self.pending

    def abort(self) -> None:
        """Given up."""
        self.aborted.set()


async def test_an_answer_that_is_taken_slowly_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "BLOCKED_SECONDS", 0.01)
    transport: Any = Draining(takes=11)
    taken = Flow(transport, ())
    taken.pause_writing()
    async with asyncio.timeout(WAIT_SECONDS):
        await transport.looked_often.wait()
    assert not transport.aborted.is_set()
    transport.takes = 10
    async with asyncio.timeout(WAIT_SECONDS):
        await transport.aborted.wait()
    again: Any = Draining(takes=0)
    done = Flow(again, ())
    done.pause_writing()
    done.resume_writing()
    assert done._look is None
