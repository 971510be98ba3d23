"""uvicorn's WebSocket with our frames: who answers no ping is gone soon, however much waits for him."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.server import frames
from gateway.transports.websocket import WebSocketConnection
from gateway.wire import TOO_SLOW, Frame
from quickim.rest.callers import Caller
from tests.clients.protocols import WsListener

FRAME = Frame(json.dumps({"Event": "x", "Fill": "." * 60_000}).encode(), "x")
FRAMES = 200
PING_SECONDS = 0.1

Asgi = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class Flood:
    """An application that writes much to whoever connects, and ends the connection once the server gave it up."""

    def __init__(self) -> None:
        self.disconnected = asyncio.Event()
        self.errors: list[BaseException] = []

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """One socket."""
        await receive()
        writer = scope["extensions"]["quickim.frames"]
        connection = WebSocketConnection(Caller.SYSTEM, 1_000_000_000, send, writer)
        await send({"type": "websocket.accept"})
        for _ in range(FRAMES):
            connection.push(FRAME)
        while not writer.is_closing:  # noqa: ASYNC110 - the protocol tells nobody
            await asyncio.sleep(PING_SECONDS)
        connection.finish(TOO_SLOW)
        assert connection.closing is not None
        try:
            await connection.closing
        except RuntimeError as error:
            self.errors.append(error)
        while (await receive())["type"] != "websocket.disconnect":
            pass
        self.disconnected.set()


@pytest_asyncio.fixture
async def flood() -> AsyncIterator[tuple[Flood, int]]:
    """The application and the port that it is served on."""
    flood = Flood()
    config = uvicorn.Config(
        flood,
        ws=frames.FramesProtocol,
        ws_per_message_deflate=False,
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        lifespan="off",
        log_config=None,
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: HttpToolsProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    yield flood, server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def test_who_reads_nothing_and_answers_no_ping_is_gone_soon(
    flood: tuple[Flood, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "LINGER_SECONDS", PING_SECONDS)
    app, port = flood
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", port))
    narrow.setblocking(False)
    stalled = WsListener(f"http://127.0.0.1:{port}", "", sock=narrow, max_queue=1)
    await stalled.connect()
    stalled.pause()
    try:
        async with asyncio.timeout(10):
            await app.disconnected.wait()
    finally:
        await stalled.close()
    assert app.errors == []
