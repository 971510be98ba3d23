"""An idle stream costs a socket and a little memory, never a thread."""

import asyncio

import httpx
import pytest

from tests.clients import Api, Person, fresh, mint
from tests.servers import Server

STREAMS, SESSIONS = 1000, 50


@pytest.mark.slow
async def test_1000_idle_event_streams_add_no_threads_and_all_receive(server: Server, api: Api) -> None:
    people = [Person(api, fresh(f"person{number}")) for number in range(SESSIONS)]
    room = await api.conversation(*(who.session for who in people))
    await asyncio.gather(*(who.send(room, "warm") for who in people), *(who.history(room) for who in people))
    before = server.threads()
    readers, writers = [], []
    for number in range(STREAMS):
        query = httpx.QueryParams({"protoc": "sse", "token": mint(people[number % SESSIONS].session)})
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET /notify?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        readers.append(reader)
        writers.append(writer)
        if number % 50 == 49:  # as clients come in: not a thousand handshakes in one instant
            for waiting in readers[-50:]:
                head = await asyncio.wait_for(waiting.readuntil(b"\r\n\r\n"), 20)
                assert head.startswith(b"HTTP/1.1 200"), head
    try:
        assert server.threads() <= before + 4, "a stream holds a thread"
        await people[0].send(room, "to all the thousand")
        async with asyncio.timeout(20):
            await asyncio.gather(*(reader.readuntil(b"to all the thousand") for reader in readers))
    finally:
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
