"""Sends wait here until each has its outcome: one after the other in a conversation, again and again with the same
client_msg_id, so that each takes effect once, in the order in which they were given.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gateway.client.backoff import Backoff
from gateway.client.errors import CallFailed, ClientError, QueueFull
from gateway.client.options import Options
from quickim.tasks import cancel, spawn

MOST_CRASHES = 5
"""A crash of the server (500, unlike 503) may be this very message's fault: it must not hold up others for ever."""
_CRASHED = 500

Attempt = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass(slots=True, eq=False)
class _Send:
    params: dict[str, Any]
    deadline: float
    outcome: "asyncio.Future[dict[str, Any]]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Sends:
    """See the module. ``attempt`` raises CallFailed, or what the token callback raises."""

    def __init__(self, attempt: Attempt, options: Options) -> None:
        self._attempt, self._options = attempt, options
        self._lanes: dict[str, deque[_Send]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connected = asyncio.Event()
        self._over: ClientError | None = None

    @property
    def pending(self) -> list[dict[str, Any]]:
        """The parameters of those without an outcome, oldest first in each conversation."""
        return [dict(send.params) for lane in self._lanes.values() for send in lane]

    async def send(self, params: dict[str, Any]) -> dict[str, Any]:
        """The receipt. Raises CallFailed with what it was refused with, QueueFull, or what ``end`` was given."""
        if self._over is not None:
            raise self._over
        if sum(map(len, self._lanes.values())) >= self._options.max_pending:
            raise QueueFull(f"{self._options.max_pending} sends wait already")
        send = _Send(params, time.monotonic() + self._options.send_seconds)
        conversation = params["conversation_id"]
        if conversation in self._lanes:
            self._lanes[conversation].append(send)
        else:
            self._lanes[conversation] = deque([send])
            task = spawn(self._run(conversation), "send")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        # Whoever stops waiting has not taken his message back.
        return await asyncio.shield(send.outcome)

    def wake(self) -> None:
        """There is a connection (again): whoever waits tries at once."""
        self._connected.set()
        self._connected = asyncio.Event()

    async def end(self, error: ClientError) -> None:
        """No further attempts; what waits fails with ``error``."""
        self._over = error
        await cancel(list(self._tasks))
        for lane in self._lanes.values():
            for send in lane:
                _fail(send, error)
        self._lanes.clear()

    async def _run(self, conversation: str) -> None:
        lane = self._lanes[conversation]
        while lane:
            send = lane[0]
            try:
                receipt = await self._receipt(send)
                if not send.outcome.done():
                    send.outcome.set_result(receipt)
            except Exception as error:  # noqa: BLE001  # the app's token callback may raise anything
                _fail(send, error)
            lane.popleft()
        del self._lanes[conversation]

    async def _receipt(self, send: _Send) -> dict[str, Any]:
        backoff = Backoff(self._options.first_pause_seconds, self._options.longest_pause_seconds)
        crashes = 0
        while True:
            connected = self._connected
            try:
                return await self._attempt(send.params)
            except CallFailed as error:
                crashes += error.status == _CRASHED
                pause = backoff.next(error.retry_after_seconds)
                is_over = time.monotonic() + pause > send.deadline
                if not error.is_temporary or crashes >= MOST_CRASHES or is_over:
                    raise
                # Who was told when to come back is not woken earlier.
                waiting = asyncio.sleep(pause) if error.retry_after_seconds else connected.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await waiting


def _fail(send: _Send, error: Exception) -> None:
    if not send.outcome.done():
        send.outcome.set_exception(error)
        # Its sender may have gone; nobody else is to be told.
        send.outcome.exception()
