"""Server-sent events: a stream of our own on django-eventstream's encoding, without a thread, and on our own server
without a task and anything of its request.

Law: what waits for a slow reader is bounded; when he is cut, what he has not taken is dropped (his cursor brings it),
``bye`` is the last event, and the stream ends.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol, cast

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, StreamingHttpResponse

from gateway import entrance
from gateway.claims import Identity
from gateway.connection import Connection, Outbox
from gateway.cursor import Cursor
from gateway.resume import SessionLoad
from gateway.wire import SSE_KEEP_ALIVE, SSE_OPENING, TOO_SLOW, Bundle, Farewell, Frame
from quickim.errors import QuickimError
from quickim.rest.addresses import Visitor, visitor_of
from quickim.rest.answers import known_error

KEEP_ALIVE_SECONDS = 15.0
DRAIN_SECONDS = 30.0
CHUNK_BYTES = 65_536
LAST_WORD_SECONDS = 75.0
"""How long who was told to go may take nothing of what was written to him."""


class EventWriter(Protocol):
    """A stream's connection, from what a server offers as ``scope["extensions"]["quickim.stream"]``."""

    @property
    def takes(self) -> bool:
        """Whether the socket takes more at once."""

    def write(self, data: bytes) -> None:
        """A piece of the body, at once."""

    def end(self) -> None:
        """That was the last one."""

    def hurry(self, seconds: float) -> None:
        """Drop the connection when nothing is taken for so long."""


class SseConnection(Connection):
    """A connection whose events are written at once while its socket takes them, and wait in an outbox else."""

    __slots__ = ("_quiet_at", "_timer", "_writer", "outbox")
    protocol = "sse"

    def __init__(self, identity: Identity) -> None:
        super().__init__(identity.caller, settings.QUICKIM.outbox_bytes)
        self.outbox = Outbox()
        self._writer: EventWriter | None = None
        self._quiet_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def push(self, frame: Frame) -> None:
        """See Connection."""
        self._give(frame.sse)

    def push_all(self, bundle: Bundle) -> None:
        """See Connection."""
        self._give(bundle.sse)

    @property
    def pending(self) -> int:
        """See Connection."""
        return self.outbox.size

    async def drained(self) -> bool:
        """See Connection."""
        return await self.outbox.emptied(DRAIN_SECONDS)

    def finish(self, farewell: Farewell) -> None:
        """See Connection."""
        self.outbox.close(farewell.notice().sse, drop=farewell is TOO_SLOW)
        if self._writer is not None:
            self._writer.hurry(LAST_WORD_SECONDS)
            self.more()

    def go_on(self, leave_to: Callable[["SseConnection"], EventWriter | None]) -> bool:
        """From now on write by ourselves, without a loop; False where that cannot be."""
        self._writer = leave_to(self)
        if self._writer is None:
            return False
        if self.outbox.closed:
            self._writer.hurry(LAST_WORD_SECONDS)
        self._quiet_at = self.loop.time()
        self._keep_alive()
        self.more()
        return True

    def more(self) -> None:
        """The socket takes more."""
        writer, outbox = self._writer, self.outbox
        if writer is not None:
            while writer.takes and (data := outbox.take(CHUNK_BYTES)):
                self._write(writer, data)
            if outbox.closed and not outbox.size:
                self._writer = None
                writer.end()
                # Not at once: the hub may be amid its connections.
                self.loop.call_soon(self.gone)

    def gone(self) -> None:
        """The stream is over."""
        self._writer = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        entrance.leave(self)

    def _give(self, data: bytes) -> None:
        writer = self._writer
        if writer is not None and writer.takes and not self.outbox.size:
            self._write(writer, data)
        else:
            self.outbox.put(data)
            self.watch_outbox()

    def _write(self, writer: EventWriter, data: bytes) -> None:
        self._quiet_at = self.loop.time()
        writer.write(data)

    def _keep_alive(self) -> None:
        writer = self._writer
        if writer is None:
            return
        remaining = self._quiet_at + KEEP_ALIVE_SECONDS - self.loop.time()
        if remaining <= 0:
            # Who is behind hears enough.
            if writer.takes and not self.outbox.size:
                self._write(writer, SSE_KEEP_ALIVE)
            remaining = KEEP_ALIVE_SECONDS
        self._timer = self.loop.call_later(remaining, self._keep_alive)


async def open_stream(request: HttpRequest, identity: Identity, cursor: Cursor | None) -> StreamingHttpResponse:
    """The stream of ``identity`` from ``cursor``. Raises what refuses it, before anything is sent."""
    scope = cast(ASGIRequest, request).scope
    visitor = visitor_of(scope)
    entrance.admit(identity, visitor)
    loaded = await entrance.load(identity.caller.session, cursor)
    leave_to = (scope.get("extensions") or {}).get("quickim.stream")
    events = _events(identity, loaded, cursor, visitor, leave_to)
    response = StreamingHttpResponse(events, content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    if leave_to is not None:
        response["Connection"] = "close"
    return response


async def _events(
    identity: Identity,
    loaded: SessionLoad,
    cursor: Cursor | None,
    visitor: Visitor,
    leave_to: Callable[[SseConnection], EventWriter | None] | None,
) -> AsyncIterator[bytes]:
    connection = SseConnection(identity)
    goes_on = False
    try:
        try:
            await entrance.enter(connection, identity, loaded, cursor, visitor)
        except (QuickimError, DatabaseError, InterfaceError) as error:
            # Too late for a status: the headers are on their way.
            connection.end(entrance.farewell_of(known_error(error)))
        yield SSE_OPENING
        goes_on = leave_to is not None and connection.go_on(leave_to)
        outbox = connection.outbox
        while not goes_on:
            if not await outbox.wait(KEEP_ALIVE_SECONDS):
                yield SSE_KEEP_ALIVE
                continue
            while chunk := outbox.take(CHUNK_BYTES):
                yield chunk
            if outbox.closed and not outbox.size:
                return
    finally:
        if not goes_on:
            entrance.leave(connection)
