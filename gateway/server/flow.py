"""How fast a connection of HTTP goes: what waits in it keeps more from being read, and who does not read is dropped.

Laws: while requests wait behind the one that is being answered, nothing is read, whoever asks for it; an answer that
waits for its client to take it waits as long as it is being taken, slow as that may be.
"""

import asyncio
from collections.abc import Sized

from uvicorn.protocols.http.flow_control import FlowControl

from gateway.server.arrivals import FLOOR_BYTES_PER_SECOND

BLOCKED_SECONDS = 30.0
"""How often it is looked whether such an answer is being taken; the system's own buffers are emptied in leaps."""


class Flow(FlowControl):
    """See the module; ``waiting``: the requests that do."""

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting
        self._look: asyncio.TimerHandle | None = None

    def resume_reading(self) -> None:
        """Read on."""
        if not self._waiting:
            super().resume_reading()

    def pause_writing(self) -> None:
        """The client is behind."""
        super().pause_writing()
        self._look_later()

    def resume_writing(self) -> None:
        """It took most of what was written, or is gone."""
        super().resume_writing()
        self.forget()

    def forget(self) -> None:
        """Whether it takes anything is looked after by somebody else."""
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _look_later(self) -> None:
        self.forget()
        pending = self._transport.get_write_buffer_size()
        self._look = asyncio.get_running_loop().call_later(BLOCKED_SECONDS, self._look_now, pending)

    def _look_now(self, before: int) -> None:
        if before - self._transport.get_write_buffer_size() < BLOCKED_SECONDS * FLOOR_BYTES_PER_SECOND:
            self._transport.abort()
        else:
            self._look_later()
