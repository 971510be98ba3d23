"""One slow reader harms nobody: its buffer is bounded; when it is full he is cut off and told to resume."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.clients import Api, Person, Protoc
from tests.clients.event_stream import EventStreamParser
from tests.contract.test_connecting import check_bye
from tests.servers import Server

pytestmark = [pytest.mark.settings(QUICKIM_OUTBOX_BYTES="262144"), pytest.mark.slow]

FLOOD_MESSAGES = 240
CONTENT = "x" * 60_000


@pytest.fixture
def narrow(server: Server) -> Iterator[socket.socket]:
    """A connection to the server whose receive buffer is small from the start."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", server.port))
    narrow.setblocking(False)
    yield narrow
    narrow.close()


async def flood(alice: Person, witness_of: Person, room: str, protoc: Protoc) -> None:
    """Sends 14 MB and checks that a reader who reads gets each message promptly."""
    witness = await witness_of.listen(protoc)
    slowest = 0.0
    for number in range(FLOOD_MESSAGES):
        await alice.send(room, f"{number} {CONTENT}")
        acknowledged = time.monotonic()
        await witness.messages_in(room, number + 1)
        slowest = max(slowest, time.monotonic() - acknowledged)
    assert slowest < 1.0, f"the slowest delivery to one who reads took {slowest:.2f} s"
    assert [message["Seq"] for message in witness.of(room)] == list(range(1, FLOOD_MESSAGES + 1))


async def test_a_websocket_that_stops_reading_is_cut_with_4003_and_resumes(
    alice: Person, bob: Person, room: str, narrow: socket.socket
) -> None:
    stalled = await bob.listen_ws(sock=narrow, max_queue=1)
    stalled.pause()
    await flood(alice, bob, room, "ws")
    stalled.go_on()
    ending = await stalled.ended(20)
    assert ending.code == 4003
    check_bye(ending.bye, 4003, reconnect=True)
    received = [message["Seq"] for message in stalled.of(room)]
    assert received == list(range(1, len(received) + 1))
    assert len(received) < FLOOD_MESSAGES
    resumed = await bob.listen("ws", since=stalled.cursor) if received else await bob.listen("ws")
    await resumed.messages_in(room, FLOOD_MESSAGES - len(received), 20)
    assert [one["Seq"] for one in resumed.of(room)] == list(range(len(received) + 1, FLOOD_MESSAGES + 1))


async def test_an_event_stream_that_stops_reading_is_cut_and_told(
    api: Api, alice: Person, bob: Person, room: str, narrow: socket.socket
) -> None:
    query = httpx.QueryParams({"protoc": "sse", "token": bob.token})
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(narrow, f"GET /notify?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    head = await loop.sock_recv(narrow, 1024)
    assert head.startswith(b"HTTP/1.1 200"), head
    await flood(alice, bob, room, "sse")
    rest = bytearray(head)
    async with asyncio.timeout(20):
        while not rest.endswith(b"\r\n0\r\n\r\n") and (chunk := await loop.sock_recv(narrow, 65536)):
            rest += chunk
    stream = _without_chunking(bytes(rest))
    events = [event for event in EventStreamParser().feed(stream) if event.name != "keep-alive"]
    check_bye(json.loads(events[-1].data), 4003, reconnect=True)
    received = [json.loads(event.data)["Seq"] for event in events if event.name == "message"]
    assert received == list(range(1, len(received) + 1))
    assert len(received) < FLOOD_MESSAGES


def _without_chunking(response: bytes) -> bytes:
    """The body of a response whose end may be the end of the connection."""
    head, _, body = response.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    whole = bytearray()
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size or b"0", 16)
        whole += body[:length]
        body = body[length + 2 :]
    return bytes(whole)
