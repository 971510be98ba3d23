"""A peer's program: where it is installed, its life on the server's core, and its set-up calls.

Law: a program is looked for in the places where ``script/bench-peers`` puts it, and nothing of it outlives the block.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from bench.alarm import BenchmarkError
from bench.plan import Plan
from bench.server import Server, affinity

ROOT = Path(__file__).resolve().parent.parent.parent
NODE_MODULES = ROOT / "var" / "peers" / "node_modules"
_VENV = ROOT / ".venv-peers" / "bin"
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_LOG_LINES = 20


class NotInstalledError(Exception):
    """A peer's program is not on this machine; ``script/bench-peers`` installs it."""


def found(*candidates: Path) -> Path:
    """The first that exists; raises NotInstalledError."""
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise NotInstalledError(str(candidates[0]))


def from_venv(name: str) -> Path:
    """A program of the peers' own virtual environment."""
    return found(_VENV / name)


def from_path(name: str) -> Path:
    """A program of the system, those for root included."""
    return found(Path(shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or name))


@asynccontextmanager
async def running(
    plan: Plan,
    command: Sequence[str | Path],
    port: int,
    home: Path,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Server]:
    """The program on the server's core, from when it takes connections on ``port`` until it is terminated.

    ``home`` is its working directory and holds its log, whose end is told beside a failure inside the block.
    """
    log = home / "peer.log"
    process = _start(command, plan.server_core, home, environment or {}, log)
    try:
        await _listening(process, port)
        yield Server(port, process.pid, (plan.server_core,))
    except Exception as error:
        lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        error.add_note("\n".join(("The peer's log ends:", *lines)))
        raise
    finally:
        await asyncio.to_thread(_stop, process)


def _start(
    command: Sequence[str | Path], core: int, home: Path, environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output, affinity({core}):
        return subprocess.Popen(
            list(map(str, command)),
            cwd=home,
            env=os.environ | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


async def _listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = asyncio.get_running_loop().time() + _START_SECONDS
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        if process.poll() is not None:
            raise BenchmarkError(f"the peer ended at its start with {process.returncode}")
        if asyncio.get_running_loop().time() > deadline:
            raise BenchmarkError(f"the peer was not ready after {_START_SECONDS:g} s")
        await asyncio.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with suppress(ProcessLookupError):  # the group: its workers, should the first process have left them behind
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
