"""Server-sent events: a stream loop of our own on django-eventstream's encoding, without a thread or a timer a stream.

Law: what waits for a slow reader is bounded; when he is cut, what he has not taken is dropped (his cursor brings it),
``bye`` is the last event, and the stream ends.
"""

from collections.abc import AsyncIterator
from typing import cast

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


class SseConnection(Connection):
    """A connection whose events wait in an outbox for the stream loop."""

    __slots__ = ("outbox",)
    protocol = "sse"

    def __init__(self, identity: Identity) -> None:
        super().__init__(identity.caller, settings.QUICKIM.outbox_bytes)
        self.outbox = Outbox()

    def push(self, frame: Frame) -> None:
        """See Connection."""
        self.outbox.put(frame.sse)
        self.watch_outbox()

    def push_all(self, bundle: Bundle) -> None:
        """See Connection."""
        self.outbox.put(bundle.sse)
        self.watch_outbox()

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


async def open_stream(request: HttpRequest, identity: Identity, cursor: Cursor | None) -> StreamingHttpResponse:
    """The stream of ``identity`` from ``cursor``. Raises what refuses it, before anything is sent."""
    visitor = visitor_of(cast(ASGIRequest, request).scope)
    entrance.admit(identity, visitor)
    loaded = await entrance.load(identity.caller.session, cursor)
    response = StreamingHttpResponse(_events(identity, loaded, cursor, visitor), content_type="text/event-stream")
    response["Cache-Control"] = "no-store"
    return response


async def _events(
    identity: Identity, loaded: SessionLoad, cursor: Cursor | None, visitor: Visitor
) -> AsyncIterator[bytes]:
    connection = SseConnection(identity)
    try:
        try:
            await entrance.enter(connection, identity, loaded, cursor, visitor)
        except (QuickimError, DatabaseError, InterfaceError) as error:
            # Too late for a status: the headers are on their way.
            connection.end(entrance.farewell_of(known_error(error)))
        yield SSE_OPENING
        outbox = connection.outbox
        while True:
            if not await outbox.wait(KEEP_ALIVE_SECONDS):
                yield SSE_KEEP_ALIVE
                continue
            while chunk := outbox.take(CHUNK_BYTES):
                yield chunk
            if outbox.closed and not outbox.size:
                return
    finally:
        entrance.leave(connection)
