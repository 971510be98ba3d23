"""Calls to a peer over HTTP: one at a time for its set-up, and in a closed loop for its load.

Law: every answer's status is checked; one that is not of the 200s is a failure.
"""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bench.alarm import Alarm, BenchmarkError
from bench.load.http import HttpConnection, request
from bench.load.senders import Call, Receipts
from bench.peers.audience import Audience, PacedSender

_ANSWER_SECONDS = 30.0


async def ask(method: str, url: str, body: Mapping[str, object] | None = None, token: str = "") -> Any:
    """The decoded JSON answer to one call; raises OSError when the peer refuses it."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    encoded = None if body is None else json.dumps(body).encode()
    call = urllib.request.Request(url, encoded, headers, method=method)  # noqa: S310  # a peer's, on the loopback
    return await asyncio.to_thread(_answer, call)


def _answer(call: urllib.request.Request) -> Any:
    with urllib.request.urlopen(call, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310  # see above
        return json.load(answer)


def call_around(method: str, path: str, body: bytes, headers: str = "", token: str = "") -> bytes:
    """A whole request with ``body``."""
    kind = "" if "Content-Type" in headers else "Content-Type: application/json\r\n"
    return request(method, path, token, f"{kind}{headers}Content-Length: {len(body)}\r\n") + body


class PeerConnection(HttpConnection):
    """A keep-alive connection whose answers may have any status of the 200s; a body in chunks stays in them."""

    def _whole_body(self) -> bytes | None:
        received = self._received
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = received[:end].lower()
        place = head.find(b"\r\ncontent-length:")
        is_chunked = b"\r\ntransfer-encoding: chunked" in head
        if not self._waiting or (place < 0) is not is_chunked or received[9:10] != b"2":
            raise BenchmarkError(f"unexpected answer: {received[:500].decode('utf-8', 'replace')}")
        if is_chunked:
            return received[end + 4 :] if received.endswith(b"\r\n0\r\n\r\n") else None
        line_end = head.find(b"\r\n", place + 2)
        size = int(head[place + 17 : line_end if line_end > 0 else None])
        return received[end + 4 :] if len(received) == end + 4 + size else None


async def connect(port: int, alarm: Alarm) -> PeerConnection:
    """A new connection to the peer on ``port`` of the loopback."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: PeerConnection(alarm), "127.0.0.1", port)
    return connection


@asynccontextmanager
async def acknowledging(
    port: int, alarm: Alarm, calls: Sequence[Call], receipts: Receipts, audience: Audience | None = None
) -> AsyncIterator[list[PacedSender]]:
    """A sender for each of ``calls``, on a connection of its own, whom any answer of the 200s acknowledges."""
    connections, senders = [], []
    for call in calls:
        connection = await connect(port, alarm)
        sender = PacedSender(connection.send, [call], receipts, audience)
        connection.on_body = sender.acknowledged
        connections.append(connection)
        senders.append(sender)
    yield senders
    for connection in connections:
        connection.close()
