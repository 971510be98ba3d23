"""A chain of polls and its connection, against a server of which a test decides when it closes what."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from gateway.client.options import Options
from gateway.client.streams import PollStream, UpTo

BODY = b'{"code": 0, "data": {"Msg": [], "Event": [], "Cursor": "there"}}'


@dataclass
class Polled:
    """A server that answers polls."""

    url: str = ""
    connections: int = 0
    answers: int = 0


@asynccontextmanager
async def polled(answers_each: int, header: bytes = b"") -> AsyncIterator[Polled]:
    """It closes a connection, without a word, when the poll after ``answers_each`` of them comes."""
    server = Polled()
    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        serving.append(asyncio.current_task())
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            for _ in range(answers_each):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /notify?protoc=poll")
                server.answers += 1
                writer.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (header, len(BODY), BODY))
            await reader.readuntil(b"\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        yield server
        # The client is gone, so each finds the end of its connection.
        await asyncio.gather(*(task for task in serving if task is not None))


@pytest.mark.parametrize(
    ("answers_each", "header", "connections"),
    [(100, b"", 1), (4, b"", 3), (1, b"", 12), (100, b"Connection: close\r\n", 12)],
    ids=["a server that keeps it", "one that closes it after four", "after each", "one that says that it closes it"],
)
async def test_a_chain_of_polls_stays_on_its_connection_as_long_as_that_lasts(
    answers_each: int, header: bytes, connections: int
) -> None:
    async with polled(answers_each, header) as server:
        stream = PollStream(server.url, "token", "", Options())
        await stream.open()
        cursors = []
        async for arrival in stream.arrivals():
            assert isinstance(arrival, UpTo)
            cursors.append(arrival.cursor)
            if len(cursors) == 12:
                break
        await stream.close()
        assert cursors == ["there"] * 12
        assert (server.answers, server.connections) == (12, connections)
