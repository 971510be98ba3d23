"""Connections that an application leaves to a listener or a source: no task while idle, every event in order, and an
end that is told once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway.server import streams
from gateway.server.arrivals import arrivals
from gateway.server.limited import LimitedHttp
from gateway.server.limited_websocket import LimitedWebSocket
from gateway.server.streams import MOST_STRAY_BYTES, Stream
from gateway.server.waiting import Events, Gate
from gateway.wire import websocket_frame
from tests.adversaries.wire import TEXT, Piece, closing
from tests.clients.listener import WAIT_SECONDS

Asgi = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def served(app: Asgi) -> AsyncIterator[tuple[ServerState, asyncio.StreamReader, asyncio.StreamWriter]]:
    """``app`` on our protocols, with one connection to it."""
    config = uvicorn.Config(app, ws=LimitedWebSocket, ws_per_message_deflate=False, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: LimitedHttp(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            yield state, reader, writer
    finally:
        writer.transport.abort()
        server.close()
        await server.wait_closed()


async def until(condition: Callable[[], bool]) -> None:
    """Returns when ``condition`` holds."""
    while not condition():  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.01)


class Listening:
    """A WebSocket application that leaves; what its listener hears is kept, and echoed."""

    def __init__(self, failing: str = "") -> None:
        self.heard: list[Any] = []
        self.ended = asyncio.Event()
        self.failing = failing
        self.frames: Any = None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Accept, and go."""
        await receive()
        await send({"type": "websocket.accept"})
        self.frames = scope["extensions"]["quickim.frames"]
        self.frames.leave_to(self.listen)

    async def listen(self, event: dict[str, Any]) -> None:
        """One event."""
        if event["type"] == "websocket.disconnect":
            self.ended.set()
            self.heard.append(event["type"])
            return
        await asyncio.sleep(0)
        if event["text"] == self.failing:
            raise ValueError(event["text"])
        self.heard.append(event["text"])
        self.frames.write(websocket_frame(event["text"].encode()))


async def test_a_listener_hears_everything_in_order_and_an_idle_socket_has_no_task() -> None:
    app = Listening()
    async with served(app) as (state, reader, writer):
        # The first comes before the application has left.
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"".join(Piece(TEXT, b"%d" % number).encode() for number in range(50)))
        await until(lambda: len(app.heard) == 50)
        await until(lambda: not state.tasks)
        writer.write(Piece(TEXT, b"50").encode())
        writer.write(closing(1000).encode())
        await app.ended.wait()
        await until(lambda: not state.tasks and not state.connections)
    assert app.heard == [*map(str, range(51)), "websocket.disconnect"]


async def test_a_listener_is_told_once_that_the_client_vanished() -> None:
    app = Listening()
    async with served(app) as (state, reader, writer):
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        await app.ended.wait()
        await until(lambda: not state.tasks and not state.connections)
    assert app.heard == ["websocket.disconnect"]


async def test_a_listener_that_fails_is_told_the_end_and_its_connection_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Listening(failing="bad")
    async with served(app) as (state, reader, writer):
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"".join(Piece(TEXT, text).encode() for text in (b"good", b"bad", b"late")))
        await app.ended.wait()
        await reader.read()
        await until(lambda: not state.tasks and not state.connections)
    assert app.heard == ["good", "websocket.disconnect"]
    assert "Exception in ASGI application" in caplog.text


class Streaming:
    """An HTTP application whose answer goes on from a source: itself."""

    def __init__(self, *, close: bool = True) -> None:
        self.headers = [(b"connection", b"close")] if close else []
        self.stream: Stream | None = None
        self.has_left = asyncio.Event()
        self.told: list[str] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Begin an answer, and go."""
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        self.stream = scope["extensions"]["quickim.stream"](self)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        self.has_left.set()

    def more(self) -> None:
        """See Source."""
        self.told.append("more")

    def gone(self) -> None:
        """See Source."""
        self.told.append("gone")


async def test_an_answer_goes_on_without_a_task_until_its_source_ends_it() -> None:
    app, before = Streaming(), arrivals().total
    async with served(app) as (state, reader, writer):
        writer.write(GET)
        await app.has_left.wait()
        await until(lambda: not state.tasks)
        assert app.stream is not None
        assert app.stream.takes
        assert arrivals().total == before + 1
        for piece in (b"second", b"second", b"third"):
            app.stream.write(piece)
        app.stream.end()
        answer = await reader.read()
        await until(lambda: not state.connections)
    assert answer.endswith(b"\r\n\r\n5\r\nfirst\r\n6\r\nsecond\r\n6\r\nsecond\r\n5\r\nthird\r\n0\r\n\r\n")
    assert app.told == []
    assert arrivals().total == before


async def test_a_source_is_told_that_its_client_vanished() -> None:
    app, before = Streaming(), arrivals().total
    async with served(app) as (state, _, writer):
        writer.write(GET)
        await app.has_left.wait()
        writer.transport.abort()
        await until(lambda: not state.connections)
    assert app.told == ["gone"]
    assert app.stream is not None
    assert not app.stream.takes
    assert arrivals().total == before


async def test_a_source_waits_for_a_socket_that_is_behind() -> None:
    app = Streaming()
    async with served(app) as (_, reader, writer):
        writer.write(GET)
        await app.has_left.wait()
        assert app.stream is not None
        written = 0
        while app.stream.takes:
            app.stream.write(b"." * 100_000)
            written += 1
        assert app.told == []
        head = await reader.readuntil(b"first\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        for _ in range(written):
            await reader.readexactly(len(b"186a0\r\n") + 100_000 + 2)
        await until(lambda: app.told == ["more"])
        assert app.stream.takes


async def test_who_sends_without_end_while_he_is_answered_is_dropped() -> None:
    app = Streaming()
    async with served(app) as (state, _, writer):
        writer.write(GET)
        await app.has_left.wait()
        writer.write(b"x" * (MOST_STRAY_BYTES + 1))
        await until(lambda: not state.connections)
    assert app.told == ["gone"]


async def test_who_takes_nothing_of_the_end_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "UNTAKEN_SECONDS", 0.05)
    app = Streaming()
    async with served(app) as (state, _, writer):
        writer.write(GET)
        await app.has_left.wait()
        assert app.stream is not None
        while app.stream.takes:
            app.stream.write(b"." * 1_000_000)
        for _ in range(20):
            app.stream.write(b"." * 1_000_000)
        app.stream.hurry(0.0)
        await until(lambda: not state.connections)
    assert app.told == ["gone"]


@pytest.mark.parametrize("begun", [b"GET", GET])
async def test_who_has_asked_for_more_keeps_the_loop_that_answers_him(begun: bytes) -> None:
    app = Streaming()
    async with served(app) as (_, reader, writer):
        writer.write(GET + begun)
        await app.has_left.wait()
        assert (await reader.read()).endswith(b"first\r\n0\r\n\r\n")
    assert app.stream is None


async def test_an_answer_that_did_not_say_it_closes_stays_with_its_loop() -> None:
    app = Streaming(close=False)
    async with served(app) as (_, reader, writer):
        writer.write(GET)
        await app.has_left.wait()
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"first\r\n0\r\n\r\n")
    assert app.stream is None


async def test_events_come_in_order_to_whoever_waits_or_comes_later() -> None:
    events, told = Events(), []
    events.came = lambda: told.append(events.empty())
    first = asyncio.ensure_future(events.get())
    await asyncio.sleep(0)
    for number in range(3):
        events.put_nowait(number)
    assert [await first, await events.get(), await events.get()] == [0, 1, 2]
    assert events.empty()
    assert told == []
    events.put_nowait(3)
    assert told == [False]


async def test_an_event_is_not_lost_with_him_who_waited_for_it() -> None:
    events = Events()
    waiting = asyncio.ensure_future(events.get())
    await asyncio.sleep(0)
    events.put_nowait(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await events.get() == 1


async def test_a_gate_lets_all_pass_once_it_opens() -> None:
    gate = Gate()
    await gate.wait()
    gate.clear()
    gate.clear()
    waiting = [asyncio.ensure_future(gate.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    gate.set()
    await asyncio.gather(*waiting)
    await gate.wait()
