"""Socket.IO on Node.js: the npm package ``socket.io``. It stores nothing.

Configuration: one process with NODE_ENV=production and the package's defaults, over its WebSocket transport only, so
without the upgrade from long polling; one room. Spoken here is Engine.IO 4 with Socket.IO 5 inside.
"""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.alarm import Alarm, BenchmarkError
from bench.load.senders import Receipts
from bench.peers.audience import Audience, PacedSender
from bench.peers.content import content
from bench.peers.listeners import WebSocketListener, open_all
from bench.peers.measuring import Delivering
from bench.peers.programs import NODE_MODULES, found, from_path, running
from bench.peers.sizes import LISTENERS, TALKERS
from bench.plan import Plan
from tests.databases import free_port

_PATH = "/socket.io/?EIO=4&transport=websocket"
_SERVER = Path(__file__).with_suffix(".js")


class _Client(WebSocketListener):
    def __init__(self, alarm: Alarm, audience: Audience) -> None:
        super().__init__(alarm, _PATH, "", audience)
        self.sender: PacedSender | None = None

    def other_received(self, payload: bytes) -> None:
        if payload.startswith(b"0{"):  # the session is open: join the default namespace
            self.send(b"40")
        elif payload == b"2":
            self.send(b"3")
        elif payload.startswith(b"43") and self.sender is not None:
            self.sender.acknowledged(payload)
        elif not payload.startswith(b"40{"):
            raise BenchmarkError(f"an unexpected frame: {payload[:200]!r}")


def _call(number: int) -> bytes:
    return b'42%d["say","%b"]' % (number, content(number))


@asynccontextmanager
async def deliveries(plan: Plan) -> AsyncIterator[Delivering]:
    """The last of the clients send over their connections."""
    node, package = from_path("node"), found(NODE_MODULES / "socket.io")
    with tempfile.TemporaryDirectory(prefix="quickim-bench-socketio-") as directory:
        port = free_port()
        environment = {"NODE_ENV": "production", "NODE_PATH": str(package.parent), "PORT": str(port)}
        async with running(plan, [node, _SERVER], port, Path(directory), environment) as server:
            alarm, audience, receipts = Alarm(), Audience(), Receipts()
            clients = [_Client(alarm, audience) for _ in range(LISTENERS)]
            await alarm.guard(open_all(port, clients), 30, "connecting")
            for client in clients[-TALKERS:]:
                client.sender = PacedSender(client.send, [_call], receipts, audience)
            senders = [client.sender for client in clients if client.sender is not None]
            yield Delivering(server, alarm, senders, audience)
            for client in clients:
                client.close()
