"""``manage.py tail`` as a terminal runs it: a process with its lines, its signals and its end."""

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from tests.servers import ROOT

WAIT_SECONDS: Final = 20.0


class TailProcess:
    """One running ``manage.py tail``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, environment: dict[str, str], *arguments: str) -> "TailProcess":
        """Runs it; nothing is known yet of whether it is connected."""
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "manage.py",
                "tail",
                *arguments,
                cwd=ROOT,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        )

    async def line(self) -> dict[str, Any]:
        """The next line of its output, which is a JSON object."""
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_SECONDS):
            line = await self._process.stdout.readline()
        assert line.endswith(b"\n"), f"ended: {(await self.rest())!r}"
        item = json.loads(line)
        assert isinstance(item, dict)
        return item

    async def message(self) -> dict[str, Any]:
        """The next line that is a message."""
        while "MsgId" not in (item := await self.line()):
            pass
        return item

    async def said(self, words: str) -> None:
        """Waits for a line of its stderr with ``words``."""
        assert self._process.stderr is not None
        async with asyncio.timeout(WAIT_SECONDS):
            while words.encode() not in (line := await self._process.stderr.readline()):
                assert line, "its stderr ended"

    def close_pipe(self) -> None:
        """The reader of its output goes away, as ``head`` does."""
        transport: Any = self._process._transport  # type: ignore[attr-defined]  # asyncio offers no other way
        transport.get_pipe_transport(1).close()

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    async def rest(self) -> tuple[int, str, str]:
        """Waits for its end: exit status, what is left of stdout, and of stderr."""
        async with asyncio.timeout(WAIT_SECONDS):
            out, err = await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode, out.decode(), err.decode()

    async def kill(self) -> None:
        """Ends it for good."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.communicate()


Tails = Callable[..., Awaitable[TailProcess]]
