"""Clients that do not get to the point: they are closed, counted and answered, and nobody else notices."""

import asyncio
import resource
from contextlib import suppress

import pytest

from gateway.server.arrivals import FEWEST_ARRIVING, HEAD_SECONDS
from gateway.server.limited import MAX_HEAD_BYTES
from tests.clients import Api, Person
from tests.clients.listener import WAIT_SECONDS
from tests.servers import Server

EMBEDDED = pytest.mark.parametrize("server", ["embedded"], indirect=True)
loopback_counts = pytest.mark.settings(QUICKIM_LIMIT_EXEMPT="192.0.2.0/24")
few = pytest.mark.settings(QUICKIM_LIMIT_EXEMPT="192.0.2.0/24", QUICKIM_MAX_CONNECTIONS_PER_ADDRESS="100")
full = pytest.mark.settings(QUICKIM_MAX_CONNECTIONS="40")
HEAD = b"POST /send_msg HTTP/1.1\r\nHost: 127.0.0.1\r\n"
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(server: Server, first: bytes = b"", source: str = "127.0.0.1") -> Stream:
    """A connection on which ``first`` was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(source, 0))
    writer.write(first)
    return reader, writer


async def rest(stream: Stream) -> bytes:
    """All that the server says until it closes; fails when it does not."""
    async with asyncio.timeout(HEAD_SECONDS + 3 * WAIT_SECONDS):
        try:
            return await stream[0].read()
        except ConnectionResetError:
            return b""


async def close(*streams: Stream) -> None:
    """Without ceremony."""
    for _, writer in streams:
        writer.transport.abort()


@EMBEDDED
@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"POST /send_msg HT",
        HEAD,
        HEAD + b"Content-Length: 100\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + HEAD + b"Content-Length: 100\r\n\r\n{",
    ],
    ids=["silent", "begun", "headers", "body", "chunk", "second request"],
)
async def test_who_does_not_finish_a_request_is_closed(server: Server, first: bytes) -> None:
    stream = await connect(server, first)
    answered = await rest(stream)
    assert answered.count(b"HTTP/1.1 ") == first.count(b"/healthz")
    await close(stream)


@EMBEDDED
@pytest.mark.slow
async def test_a_body_that_trickles_is_closed_and_one_that_flows_is_read(server: Server) -> None:
    trickling = await connect(server, HEAD + b"Content-Length: 100000\r\n\r\n{")
    flowing = await connect(server, HEAD + b"Content-Length: 60000\r\n\r\n{")

    async def flow() -> None:
        for _ in range(12):
            flowing[1].write(b" " * 4_999)
            await asyncio.sleep(1)
        flowing[1].write(b" " * 10 + b"}")

    async def trickle() -> None:
        while not trickling[1].is_closing():
            trickling[1].write(b" ")
            await asyncio.sleep(0.2)

    pouring, dripping = asyncio.create_task(flow()), asyncio.create_task(trickle())
    assert await rest(trickling) == b""
    async with asyncio.timeout(60):
        assert (await flowing[0].readline()).startswith(b"HTTP/1.1 401")
    for task in (pouring, dripping):
        task.cancel()
    await asyncio.gather(pouring, dripping, return_exceptions=True)
    await close(trickling, flowing)


@EMBEDDED
async def test_an_endless_head_is_cut_off_with_the_envelope(server: Server) -> None:
    stream = await connect(server, HEAD)
    # What is still on its way when the server closes resets the connection, and may take the answer with it.
    with suppress(ConnectionError):
        for number in range(MAX_HEAD_BYTES // 50 * 6):
            stream[1].write(b"X-Filler-%d: %s\r\n" % (number, b"x" * 40))
            if number % 100 == 0:
                await stream[1].drain()
        said = await rest(stream)
        assert not said or (said.startswith(b"HTTP/1.1 400 ") and b'"code":10001' in said and b"x-request-id" in said)
    await close(stream)


@EMBEDDED
async def test_what_is_no_http_is_answered_with_the_envelope(server: Server) -> None:
    stream = await connect(server, b"HELO mail.example.com\r\n\r\n")
    said = await rest(stream)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b'"code":10001' in said
    await close(stream)


@few
@EMBEDDED
async def test_an_address_has_so_many_connections_amid_a_request(server: Server) -> None:
    waiting = [await connect(server, HEAD) for _ in range(FEWEST_ARRIVING)]
    # Told when it has been accepted, and that is seen when the next is refused.
    while not (said := await _said_at_once(server)):
        waiting.append(await connect(server, HEAD))
    assert said.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: " in said
    assert b'"code":10007' in said
    await close(*waiting)
    async with asyncio.timeout(30):
        while await _said_at_once(server):
            pass


async def _said_at_once(server: Server) -> bytes:
    """What a new connection is told before it has asked for anything, if it is refused."""
    reader, writer = await connect(server, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    try:
        said = await reader.read()
    except ConnectionResetError:
        said = b'HTTP/1.1 429 reset \r\nretry-after: \r\n"code":10007'
    writer.close()
    return b"" if said.startswith(b"HTTP/1.1 200 ") else said


@full
@EMBEDDED
async def test_a_full_process_makes_room_at_the_cost_of_who_arrives_longest(server: Server, alice: Person) -> None:
    idle = [await connect(server) for _ in range(60)]
    (await alice.call("get_joined_conversation")).succeeded()
    assert await rest(idle[0]) == b""
    await close(*idle)


SERVED = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
REFUSED = (
    b"GET /notify HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@full
@EMBEDDED
@pytest.mark.parametrize(
    ("first", "answered"), [(SERVED, b'"ok"'), (REFUSED, b'"RetryAfterMs"')], ids=["served once", "refused"]
)
async def test_a_full_process_makes_room_at_the_cost_of_who_is_idle_longest(
    server: Server, alice: Person, first: bytes, answered: bytes
) -> None:
    idle = []
    for _ in range(100):
        stream = await connect(server, first)
        # Each is let in, though none of those before it has left.
        await stream[0].readuntil(answered)
        idle.append(stream)
    (await alice.call("get_joined_conversation")).succeeded()
    await rest(idle[0])
    await close(*idle)


@full
@EMBEDDED
async def test_who_is_being_served_makes_no_room(server: Server, alice: Person) -> None:
    listener = await alice.listen_ws()
    idle = [await connect(server, SERVED) for _ in range(100)]
    assert (await (await alice.listen_ws()).call("ping"))["code"] == 0
    assert (await listener.call("ping"))["code"] == 0
    await close(*idle)


@EMBEDDED
@pytest.mark.slow
async def test_ends_of_lines_keep_no_connection(server: Server) -> None:
    stream = await connect(server, SERVED)
    await stream[0].readuntil(b'"ok"')
    stream[1].write(b"\r\n")
    await rest(stream)
    await close(stream)


@loopback_counts
@EMBEDDED
@pytest.mark.slow
async def test_two_thousand_slow_connections_leave_others_working(
    server: Server, api: Api, alice: Person, bob: Person, room: str
) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    listener = await bob.listen("ws")
    openings = [b"", HEAD, HEAD + b"Content-Length: 1000\r\n\r\n{"]
    streams: list[Stream] = []
    for number in range(2_000):
        try:
            streams.append(await connect(server, openings[number % 3], "127.0.0.2"))
        except ConnectionError:  # refused before it was up
            continue
        if number % 100 == 0:
            await alice.send(room, f"message {number}")
    await listener.messages_in(room, 20)
    assert listener.texts(room) == [f"message {number}" for number in range(0, 2_000, 100)]
    ended = await asyncio.gather(*(rest(stream) for stream in streams))
    assert all(said == b"" or said.startswith(b"HTTP/1.1 429 ") for said in ended)
    await alice.send(room, "afterwards")
    await listener.messages_in(room, 21)
    await close(*streams)
