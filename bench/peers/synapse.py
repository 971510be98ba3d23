"""Synapse, the Matrix homeserver in Python: the PyPI package ``matrix-synapse``.

Configuration: one process on SQLite, its own default, no federation, limits on sending lifted. Each sender is a user
alone in a room of his own, and sends one ``m.room.message`` after the other.
"""

import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from bench.alarm import Alarm
from bench.load.senders import Call, Receipts
from bench.peers.calls import acknowledging, ask, call_around
from bench.peers.content import content
from bench.peers.measuring import Sending
from bench.peers.programs import from_venv, running
from bench.plan import Plan
from tests.databases import free_port

_SENDERS = 8
"""Fewer than elsewhere: at its rate the answers to 64 would take longer than a round."""
_CONFIGURATION = """
server_name: bench.example
pid_file: {home}/synapse.pid
listeners:
  - {{port: {port}, type: http, bind_addresses: [127.0.0.1], resources: [{{names: [client]}}]}}
database: {{name: sqlite3, args: {{database: {home}/synapse.db}}}}
media_store_path: {home}/media
signing_key_path: {home}/signing.key
macaroon_secret_key: a-secret-of-the-benchmarks
registration_shared_secret: another-secret-of-the-benchmarks
enable_registration: true
enable_registration_without_verification: true
report_stats: false
trusted_key_servers: []
log_config: {home}/log.yaml
rc_message: &off {{per_second: 1000000, burst_count: 1000000}}
rc_registration: *off
rc_login: {{address: *off, account: *off, failed_attempts: *off}}
rc_joins: {{local: *off, remote: *off}}
rc_room_creation: *off
"""
_LOGGING = """
version: 1
handlers: {stderr: {class: logging.StreamHandler, level: WARNING}}
root: {level: WARNING, handlers: [stderr]}
"""


@asynccontextmanager
async def sends(plan: Plan) -> AsyncIterator[Sending]:
    """See the module."""
    python = from_venv("synapse_homeserver").with_name("python")
    with tempfile.TemporaryDirectory(prefix="quickim-bench-synapse-") as directory:
        home, port = Path(directory), free_port()
        (home / "homeserver.yaml").write_text(_CONFIGURATION.format(home=home, port=port))
        (home / "log.yaml").write_text(_LOGGING)
        command: list[str | Path] = [
            python,
            "-m",
            "synapse.app.homeserver",
            "-c",
            home / "homeserver.yaml",
            "--generate-keys",
        ]
        _generate_keys(command, home)
        async with running(plan, command[:-1], port, home) as server:
            client = f"http://127.0.0.1:{port}/_matrix/client/v3"
            tokens = [await _register(client, f"user-{number}") for number in range(_SENDERS)]
            rooms = [(await ask("POST", f"{client}/createRoom", {}, token))["room_id"] for token in tokens]

            async def stored() -> int:
                counts = [await _messages(client, *each) for each in zip(rooms, tokens, strict=True)]
                return sum(counts)

            alarm = Alarm()
            calls = [_call(*each) for each in zip(rooms, tokens, strict=True)]
            async with acknowledging(port, alarm, calls, Receipts()) as senders:
                yield Sending(server, alarm, senders, stored)


def _generate_keys(command: list[str | Path], home: Path) -> None:
    subprocess.run(command, cwd=home, check=True, stdin=subprocess.DEVNULL, capture_output=True)


async def _register(client: str, name: str) -> str:
    body = {"username": name, "password": "a-password-of-the-benchmarks", "auth": {"type": "m.login.dummy"}}
    return str((await ask("POST", f"{client}/register", body))["access_token"])


def _call(room: str, token: str) -> Call:
    path = f"/_matrix/client/v3/rooms/{quote(room)}/send/m.room.message/"

    def call(number: int) -> bytes:
        body = b'{"msgtype":"m.text","body":"%b"}' % content(number)
        return call_around("PUT", f"{path}{number}", body, token=token)

    return call


async def _messages(client: str, room: str, token: str) -> int:
    """How many the room's history holds, page by page."""
    count, start = 0, ""
    while True:
        url = f"{client}/rooms/{quote(room)}/messages?dir=b&limit=1000{start}"
        page = await ask("GET", url, None, token)
        count += len([event for event in page["chunk"] if event["type"] == "m.room.message"])
        if not page["chunk"] or "end" not in page:
            return count
        start = f"&from={page['end']}"
