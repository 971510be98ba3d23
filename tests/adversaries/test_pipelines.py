"""Many requests on one connection, told in bytes: answered in order, so many at a time, and nothing grows with them."""

import asyncio
import re
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.server.limited import MAX_HEAD_BYTES, MOST_WAITING
from tests.clients.listener import WAIT_SECONDS
from tests.servers import Server

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
MOST_GROWTH_BYTES = 40 * 1024 * 1024
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
CODES = re.compile(rb"HTTP/1\.1 (\d{3}) ")


def post(number: int, body: bytes = b"{}", path: str = "/get_joined_conversation") -> bytes:
    """A request whose answer can be told from others."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-Id: number-{number}\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


async def say(server: Server, data: bytes) -> Stream:
    """A connection on which ``data`` was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(data)
    return reader, writer


async def said(stream: Stream) -> bytes:
    """All that comes until the server closes."""
    heard = b""
    async with asyncio.timeout(3 * WAIT_SECONDS):
        # What the server did not read resets the connection in the end.
        with suppress(ConnectionError):
            while piece := await stream[0].read(65_536):
                heard += piece
    stream[1].transport.abort()
    return heard


async def answers(stream: Stream, count: int) -> list[bytes]:
    """The ids of the next answers, in the order in which they come."""
    heard = b""
    async with asyncio.timeout(3 * WAIT_SECONDS):
        while len(found := re.findall(rb"x-request-id: (\S+)\r\n", heard)) < count:
            piece = await stream[0].read(65_536)
            assert piece, heard[-500:]
            heard += piece
    return found


def memory_of(server: Server) -> int:
    """Bytes that the process holds."""
    status = Path(f"/proc/{server.pid}/statm").read_text().split()
    return int(status[1]) * 4_096


@pytest.mark.parametrize("padding", [0, 1_000, 100_000], ids=lambda padding: f"{padding} bytes")
async def test_requests_that_do_not_wait_for_answers_are_answered_in_order(server: Server, padding: int) -> None:
    numbers = range(MOST_WAITING)
    stream = await say(server, b"".join(post(number, b"{}" + b" " * padding) for number in numbers))
    assert await answers(stream, MOST_WAITING) == [b"number-%d" % number for number in numbers]
    # And on it goes.
    stream[1].write(post(99))
    assert await answers(stream, 1) == [b"number-99"]
    stream[1].transport.abort()


async def test_a_refusal_waits_for_the_answers_before_it(server: Server) -> None:
    stream = await say(server, post(0) + post(1) + b"NONSENSE\r\n\r\n")
    heard = await said(stream)
    assert CODES.findall(heard) == [b"401", b"401", b"400"]
    assert heard.index(b"number-0") < heard.index(b"number-1") < heard.index(b'"code":10001')


async def test_a_body_that_is_none_is_refused_behind_the_answers_before_it(server: Server) -> None:
    broken = post(2).replace(b"Content-Length: 2", b"Transfer-Encoding: chunked").removesuffix(b"{}") + b"what?\r\n"
    assert CODES.findall(await said(await say(server, post(0) + post(1) + broken))) == [b"401", b"401", b"400"]
    assert CODES.findall(await said(await say(server, broken))) == [b"400"]


async def test_a_connection_has_so_many_requests_waiting(server: Server) -> None:
    before = memory_of(server)
    stream = await say(server, HEALTH * 100_000)
    heard = CODES.findall(await said(stream))
    assert heard[: MOST_WAITING + 1] == [b"200"] * len(heard[: MOST_WAITING + 1])
    assert heard[MOST_WAITING + 1 :] in ([], [b"429"])
    assert memory_of(server) - before < MOST_GROWTH_BYTES


async def test_requests_whose_answers_nobody_reads_cost_next_to_nothing(server: Server) -> None:
    before = memory_of(server)
    streams = []
    for _ in range(8):
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.setblocking(False)
        data = memoryview(b"GET /docs HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20_000)
        with suppress(BlockingIOError, ConnectionError):
            while data:
                data = data[deaf.send(data) :]
        streams.append(deaf)
    # Answered when all of those were read.
    assert CODES.findall(await said(await say(server, HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))))
    assert memory_of(server) - before < MOST_GROWTH_BYTES
    for deaf in streams:
        deaf.close()


async def test_who_leaves_amid_his_requests_is_no_error(server: Server) -> None:
    mark = server.log_size()
    for _ in range(20):
        stream = await say(server, b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 10 + post(1) * 5)
        await stream[1].drain()
        stream[1].transport.abort()
    stream = await say(server, post(7))
    assert await answers(stream, 1) == [b"number-7"]
    stream[1].transport.abort()
    assert "Exception" not in server.log_text(mark)


@pytest.mark.parametrize(
    ("size", "status"),
    [(MAX_HEAD_BYTES, b"401"), (MAX_HEAD_BYTES + 1, b"400"), (MAX_HEAD_BYTES + 3_000, b"400")],
    ids=["at the limit", "over it", "far over it"],
)
async def test_a_head_is_as_long_as_it_may_be(server: Server, size: int, status: bytes) -> None:
    whole = post(0).replace(b"Content-Length", b"Connection: close\r\nX-Filler: FILLER\r\nContent-Length")
    head = len(whole.removesuffix(b"{}")) - len(b"FILLER")
    whole = whole.replace(b"FILLER", b"x" * (size - head))
    assert CODES.findall(await said(await say(server, whole))) == [status]
    # In pieces, and as the second one of two.
    stream = await say(server, post(1) + whole[:30_000])
    assert await answers(stream, 1) == [b"number-1"]
    stream[1].write(whole[30_000:])
    assert CODES.findall(await said(stream)) == [status]


async def test_what_is_no_request_leaves_no_line_in_the_log(server: Server) -> None:
    mark = server.log_size()
    assert CODES.findall(await said(await say(server, b"HELO example.com\r\n\r\n"))) == [b"400"]
    upgrading = HEALTH.replace(b"\r\n\r\n", b"\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
    stream = await say(server, upgrading + upgrading + post(5))
    assert (await answers(stream, 3))[2] == b"number-5"
    stream[1].transport.abort()
    assert server.log_text(mark) == ""


@pytest.mark.parametrize("path", ["/healthz", "/send_msg", "/notify?protoc=sse", "/nothing"])
async def test_a_request_has_one_host(server: Server, path: str) -> None:
    twice = post(0, path=path).replace(b"Host: 127.0.0.1\r\n", b"Host: 127.0.0.1\r\nX: y\r\nHost: localhost\r\n")
    heard = await said(await say(server, twice))
    assert CODES.findall(heard) == [b"400"]
    assert b'"code":10001' in heard
