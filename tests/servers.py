"""Starts and stops the real quickim server processes that the black-box tests talk to.

Law: every process is a child of the test run, owns its data directory, its database and its port, and is gone with
its own children when the fixture that started it ends. Nothing here imports the server's code: its sockets are all it
sees.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import httpx

from tests.clients.protocols import PLAIN
from tests.clients.tokens import JWT_KEYS
from tests.databases import DidNotStartError, Postgres, Valkey, free_port, holds_within

ROOT: Final = Path(__file__).resolve().parent.parent

Flavour = Literal["embedded", "daphne", "cluster", "nodes", "workers", "daphne nodes"]
"""embedded: uvicorn, SQLite, in-memory layer. daphne: runserver on these. The others: PostgreSQL and Valkey, with one
process (cluster), with two nodes (nodes; daphne nodes) or with two workers behind one port (workers)."""

EVERYWHERE: Final[tuple[Flavour, ...]] = ("embedded", "nodes", "workers")
"""Where a scenario of delivery runs: ``nodes`` is ``cluster`` twice. Some run on daphne as well."""

ANYWHERE: Final[tuple[Flavour, ...]] = ("embedded",)
"""Where a case runs that no back end and no topology can change: the answer is found before either is asked."""

SETTINGS: Final[Mapping[str, str]] = {
    "QUICKIM_SEND_RATE": "off",
    "QUICKIM_CALL_RATE": "off",
    "QUICKIM_HANDSHAKE_RATE": "off",
    "QUICKIM_FRAME_RATE": "off",
    # A poll that finds nothing is an exact "now" for its poller: short, so that tests connect quickly.
    "QUICKIM_POLL_WAIT_SECONDS": "1",
    "QUICKIM_JWT_KEYS": ",".join(f"{kid}:{key}" for kid, key in JWT_KEYS.items()),
}


NO_LAYER: Final = "redis://127.0.0.1:1/0"
"""To migrate, none is needed."""

MAX_SHARED: Final = 12
"""Shared servers that run at a time. Idle ones sweep too: all that a run ever needs would leave it little CPU."""


class Server:
    """One quickim server on a port and data directory of its own; both survive kill9 and restart.

    ``settings`` are environment variables laid over ``SETTINGS``. ``log`` collects all that its lives print. ``beside``
    are the other nodes of its deployment, if its flavour has any.
    """

    def __init__(self, home: Path, flavour: Flavour, settings: Mapping[str, str], data: Path | None = None) -> None:
        self.flavour: Flavour = flavour
        self.settings = dict(settings)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = data or home / "data"
        self.log = home / "server.log"
        home.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(parents=True, exist_ok=True)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("QUICKIM_", "OTEL_", "DJANGO_"))}
        self.environment = inherited | {
            **SETTINGS,
            "QUICKIM_BIND": f"127.0.0.1:{self.port}",
            "QUICKIM_DATA_DIR": str(self.data),
            "PYTHONUNBUFFERED": "1",
            **settings,
        }
        self.beside: list[Server] = []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def nodes(self) -> "list[Server]":
        """This one and those beside it."""
        return [self, *self.beside]

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, seconds: float = 45.0, *, is_migrated: bool = False) -> "Server":
        """Runs the server; returns when /readyz answers 200, else raises DidNotStartError with its log."""
        address = f"127.0.0.1:{self.port}"
        arguments = ["serve"]
        if self.flavour in ("daphne", "daphne nodes"):
            arguments = ["runserver", "--noreload", address]
        if self.flavour == "daphne" and not is_migrated:
            self.manage("migrate", "--noinput")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that kill9 reaches its children too
            )
        self._wait_until_ready(seconds)
        return self

    def _wait_until_ready(self, seconds: float) -> None:
        assert self._process is not None
        with httpx.Client(trust_env=False, verify=PLAIN, timeout=5.0) as http:

            def is_ready() -> bool:
                assert self._process is not None
                if self._process.poll() is not None:
                    raise DidNotStartError(f"ended with {self._process.returncode}\n{self.log_text()[-8000:]}")
                try:
                    return http.get(f"{self.url}/readyz").status_code == httpx.codes.OK
                except httpx.TransportError:
                    return False

            if not holds_within(seconds, is_ready):
                self.kill9()
                raise DidNotStartError(f"not ready after {seconds} s\n{self.log_text()[-8000:]}")

    def kill9(self) -> None:
        """Kills the process and its children as a power cut would, without a last word."""
        if self._process is None:
            return
        while alive := self.processes():
            for pid in alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def ask_to_stop(self) -> None:
        """Sends SIGTERM and returns at once."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds: float = 15.0) -> int:
        """Waits for the process to end by itself and returns its exit status. Fails when a child outlives it."""
        assert self._process is not None
        status = self._process.wait(seconds)
        assert holds_within(5.0, lambda: not self.processes()), f"it left {self.processes()} behind"
        self._process = None
        return status

    def terminate(self, seconds: float = 15.0) -> int:
        """SIGTERM, then waits; a server that does not end in time is killed and the test fails."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self.ask_to_stop()
        try:
            return self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise

    def restart(self) -> "Server":
        """Starts again on the same port and data directory after kill9 or terminate."""
        assert self._process is None
        return self.start(is_migrated=True)

    def manage(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Runs a management command in this server's environment, in a process of its own."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def processes(self) -> dict[int, int]:
        """The server and its children that live now: process id → number of threads."""
        found = {}
        mark = f"\0QUICKIM_BIND=127.0.0.1:{self.port}\0".encode()  # its number alone may be somebody else's by now
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended while we looked
                state, _, group, *fields = stat.read_text().rpartition(")")[2].split()
                if int(group) == self.pid and state != "Z" and mark in b"\0" + (stat.parent / "environ").read_bytes():
                    found[int(stat.parent.name)] = int(fields[14])
        return found

    def threads(self) -> int:
        """How many threads the server and its child processes have now."""
        return sum(self.processes().values())

    def log_text(self, start: int = 0) -> str:
        """What the server has printed since the byte ``start`` of its log."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(start)
            return log.read().decode(errors="replace")

    def log_size(self) -> int:
        """Where the log ends now, for ``log_text``."""
        return self.log.stat().st_size if self.log.exists() else 0


class Fleet:
    """All the servers of one test run: shared ones by flavour and settings, others for one test alone.

    ``marks`` remembers where each server's log stood when the running test first touched it.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.marks: dict[Server, int] = {}
        self._shared: dict[tuple[str, frozenset[tuple[str, str]]], Server] = {}
        self._running: list[Server] = []
        self._valkeys: list[Valkey] = []
        self._postgres: Postgres | None = None
        self._migrated = ""
        """The url of the database that each server gets a copy of."""

    def shared(self, flavour: Flavour = "embedded", **settings: str) -> Server:
        """The running server of this flavour and these settings; the first who asks for it starts it."""
        key = (flavour, frozenset(settings.items()))
        server = self._shared.pop(key, None) or self.start(flavour, **settings)
        self._shared[key] = server  # the last is the latest used
        if len(self._shared) > MAX_SHARED:
            self._kill(self._shared.pop(next(iter(self._shared))))
        for node in server.nodes:
            self._mark(node)
        return server

    def start(self, flavour: Flavour = "embedded", **settings: str) -> Server:
        """A server of the caller's own, with an empty database, and with an empty Valkey where it has one."""
        if flavour == "workers":
            settings = {"QUICKIM_WORKERS": "2"} | settings
        if flavour not in ("embedded", "daphne"):
            settings = self._cluster() | settings
        server = self._run(Server(self._next_home(), flavour, settings))
        if flavour in ("nodes", "daphne nodes"):
            server.beside.append(self.start_beside(server))
        return server

    def start_beside(self, server: Server, **settings: str) -> Server:
        """Another node with the same database, layer and settings as ``server``."""
        node = Server(self._next_home(), server.flavour, server.settings | settings, data=server.data)
        return self._run(node)

    def _run(self, server: Server) -> Server:
        self._running.append(server)
        self._mark(server)
        return server.start()

    def _kill(self, server: Server) -> None:
        for node in server.nodes:
            node.kill9()

    def _next_home(self) -> Path:
        return self.home / f"server-{len(self._running)}"

    def _cluster(self) -> dict[str, str]:
        if self._postgres is None:
            self._postgres = Postgres().start()
            self._migrated = self._postgres.new_database()
            addresses = {"QUICKIM_DATABASE_URL": self._migrated, "QUICKIM_REDIS_URL": NO_LAYER}
            Server(self.home / "migrating", "cluster", addresses).manage("migrate", "--noinput")
        # A Valkey for each: publishing knows no database numbers, two clusters on one would hear each other.
        valkey = Valkey()
        self._valkeys.append(valkey)
        return {
            "QUICKIM_DATABASE_URL": self._postgres.new_database(self._migrated),
            "QUICKIM_REDIS_URL": valkey.start(),
        }

    def _mark(self, server: Server) -> None:
        self.marks.setdefault(server, server.log_size())

    def stop(self) -> None:
        """Kills everything; how a server ends when asked to is a test of its own."""
        for server in self._running:
            server.kill9()
        for valkey in self._valkeys:
            valkey.stop()
        if self._postgres is not None:
            self._postgres.stop()
