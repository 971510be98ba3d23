"""The server under test: ``manage.py serve``, on its embedded default unless settings say otherwise, on cores and a
data directory of its own.

Law: nothing of the caller's environment configures it but what stands here, and nothing of it outlives the
block.
"""

import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.alarm import BenchmarkError

_ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_LOG_LINES = 30


@dataclass(frozen=True)
class Server:
    """A server that is ready."""

    port: int
    pid: int
    cores: tuple[int, ...]


@asynccontextmanager
async def serving(cores: Collection[int], settings: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
    """A fresh server pinned to ``cores``, with an empty database and without rate limits; stopped at the end.

    ``settings`` are environment variables on top; a database that they name is migrated first. A failure inside the
    block is raised with the end of the server's log beside it.
    """
    with tempfile.TemporaryDirectory(prefix="quickim-bench-") as directory:
        log = Path(directory) / "server.log"
        port = _free_port()
        environment = _environment(port, Path(directory) / "data") | dict(settings or {})
        if "QUICKIM_DATABASE_URL" in environment:
            await asyncio.to_thread(_migrate, environment)
        process = _start(cores, environment, log)
        try:
            await _ready(process, port)
            yield Server(port, process.pid, tuple(cores))
        except Exception as error:
            lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            error.add_note("\n".join(("The server's log ends:", *lines)))
            raise
        finally:
            await asyncio.to_thread(_stop, process)


def _migrate(environment: dict[str, str]) -> None:
    command = [sys.executable, "manage.py", "migrate", "--noinput", "--verbosity=0"]
    subprocess.run(command, cwd=_ROOT, env=environment, stdin=subprocess.DEVNULL, check=True)


def _start(cores: Collection[int], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output, affinity(cores):
        return subprocess.Popen(
            [sys.executable, "manage.py", "serve"],
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _environment(port: int, data_dir: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not re.match("QUICKIM_|OTEL_|DJANGO_", name)}
    return inherited | {
        "QUICKIM_BIND": f"127.0.0.1:{port}",
        "QUICKIM_DATA_DIR": str(data_dir),
        "QUICKIM_SEND_RATE": "off",
        "QUICKIM_CALL_RATE": "off",
        "QUICKIM_HANDSHAKE_RATE": "off",
        "QUICKIM_FRAME_RATE": "off",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def affinity(cores: Collection[int]) -> Iterator[None]:
    """A child started inside inherits the cores, with every thread and child that it starts itself."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


async def _ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = asyncio.get_running_loop().time() + _START_SECONDS
    while not await _answers(port):
        if process.poll() is not None:
            raise BenchmarkError(f"the server ended at its start with {process.returncode}")
        if asyncio.get_running_loop().time() > deadline:
            raise BenchmarkError(f"the server was not ready after {_START_SECONDS:g} s")
        await asyncio.sleep(0.05)


async def _answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return (await reader.readline()).split(b" ")[1:2] == [b"200"]
    except OSError:
        return False
    finally:
        writer.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"The server did not stop in {_STOP_SECONDS:g} s and was killed.", file=sys.stderr)
        os.killpg(process.pid, 9)
        process.wait()
