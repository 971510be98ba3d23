"""Prosody, an XMPP server in Lua: Debian's package ``prosody``.

Configuration: one process with its own storage in files, which it does not sync; rooms (MUC) with an archive (MAM), no
rate limits, no TLS on the loopback. Each sender is alone in a room of his own; a message counts when the room sends it
back, which it does after it has archived it.
"""

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import cast

from bench.alarm import Alarm, BenchmarkError
from bench.load.senders import Receipts, Sender
from bench.peers.content import content, numbers_in
from bench.peers.listeners import itself
from bench.peers.measuring import Sending
from bench.peers.programs import from_path, running
from bench.peers.sizes import SENDERS
from bench.plan import Plan
from tests.databases import free_port

_HOST, _ROOMS, _PASSWORD = "bench.example", "rooms.bench.example", "unused"
_CONFIGURATION = """
run_as_root = true
pidfile = "{home}/prosody.pid"
data_path = "{home}/data"
certificates = "{home}"
log = {{ warn = "*console" }}
modules_enabled = {{ "roster", "saslauth", "disco", "mam" }}
modules_disabled = {{ "s2s", "tls" }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ }}
http_ports = {{ }}
https_ports = {{ }}
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
VirtualHost "{host}"
Component "{rooms}" "muc"
    modules_enabled = {{ "muc_mam" }}
    muc_room_locking = false
    muc_room_default_persistent = true
"""
_OPENING_SECONDS = 30.0


def _opening(name: str) -> list[tuple[str, bytes]]:
    """What is said one after the other until ``name`` is in his room, and what the answer to each holds."""
    stream = f"<stream:stream to='{_HOST}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    plain = base64.b64encode(f"\0{name}\0{_PASSWORD}".encode()).decode()
    bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
    join = "<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x>"
    return [
        (stream, b"</stream:features>"),
        (f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>", b"<success"),
        (stream, b"</stream:features>"),
        (f"<iq type='set' id='b'>{bind}</iq>", b"</iq>"),
        (f"<presence to='{name}@{_ROOMS}/{name}'>{join}</presence>", b"<subject"),
    ]


class _Client(asyncio.Protocol):
    def __init__(self, alarm: Alarm, name: str, receipts: Receipts) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sender = Sender(self._write, [self._call], receipts)
        self._alarm = alarm
        self._room = f"{name}@{_ROOMS}".encode()
        self._steps = _opening(name)
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._write(self._steps[0][0].encode())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._alarm.ring(BenchmarkError(f"Prosody dropped a connection ({exc}): {self._received[-300:]!r}"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._steps:
            self._open()
        elif self._received.endswith(b"</message>"):
            received, self._received = self._received, b""
            if b"type='error'" in received:
                raise BenchmarkError(f"a message was answered {received[:500]!r}")
            for number, _ in numbers_in(received):
                self.sender.answered(str(number), number)

    def _open(self) -> None:
        if self._steps[0][1] not in self._received:
            return
        self._received = b""
        del self._steps[0]
        if self._steps:
            self._write(self._steps[0][0].encode())
        else:
            self.opened.set_result(None)

    def _call(self, number: int) -> bytes:
        head = b"<message type='groupchat' id='%d' to='%b'>" % (number, self._room)
        return head + b"<body>%b</body></message>" % content(number)

    def _write(self, stanza: bytes) -> None:
        assert self._transport is not None
        self._transport.write(stanza)

    def close(self) -> None:
        """Ends the connection from our side."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


@asynccontextmanager
async def sends(plan: Plan) -> AsyncIterator[Sending]:
    """See the module."""
    program = from_path("prosody")
    with tempfile.TemporaryDirectory(prefix="quickim-bench-prosody-") as directory:
        home, port = Path(directory), free_port()
        settings = _CONFIGURATION.format(home=home, port=port, host=_HOST, rooms=_ROOMS)
        (home / "prosody.cfg.lua").write_text(settings)
        accounts = home / "data" / _HOST.replace(".", "%2e") / "accounts"
        accounts.mkdir(parents=True)
        names = [f"user{number}" for number in range(SENDERS)]
        for name in names:
            (accounts / f"{name}.dat").write_text(f'return {{ ["password"] = "{_PASSWORD}"; }};\n')
        command: list[str | Path] = [program, "-F", "--config", home / "prosody.cfg.lua"]
        async with running(plan, command, port, home) as server:
            alarm, receipts, loop = Alarm(), Receipts(), asyncio.get_running_loop()
            clients = [_Client(alarm, name, receipts) for name in names]
            for client in clients:
                await loop.create_connection(partial(itself, client), "127.0.0.1", port)
                await alarm.guard(client.opened, _OPENING_SECONDS, "entering a room")

            async def stored() -> int:
                archives = (home / "data").glob("rooms*/muc_log/*.list")
                return sum(archive.read_bytes().count(b"item({") for archive in archives)

            yield Sending(server, alarm, [client.sender for client in clients], stored)
            for client in clients:
                client.close()
