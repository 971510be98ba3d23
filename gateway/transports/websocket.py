"""WebSocket: a Channels consumer that carries one connection and answers calls.

Laws: a refused socket is accepted first, so that a browser can read why; a bad call is answered and never closes the
connection; calls take effect in the order they were sent (sends may overlap each other, nothing overtakes them).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from channels.consumer import AsyncConsumer
from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.db import DatabaseError, InterfaceError

from gateway import entrance
from gateway.calls import Calls
from gateway.claims import Identity
from gateway.connection import Connection
from gateway.wire import BAD_REQUEST, FRAME_TOO_LARGE, MAX_REASON_BYTES, TOO_MANY_FRAMES, Bundle, Farewell, Frame
from quickim.errors import InvalidParameter, QuickimError, UnknownInterface, UnsupportedDriver
from quickim.observability.logs import request_id, request_id_of
from quickim.rest.addresses import visitor_of
from quickim.rest.answers import known_error
from quickim.rest.callers import Caller
from quickim.rest.hosts import check_host, check_one_host
from quickim.rest.origins import is_own_origin, origin_allowed
from quickim.rest.rates import Bucket
from quickim.tasks import cancel, spawn

SUBPROTOCOL = "quickim"
BEARER_PREFIX = "bearer."
CLOSE_SECONDS = 30.0
"""How long a cut reader has to take what was written before the close frame."""
DRAIN_SECONDS = 30.0

Send = Callable[[dict[str, Any]], Awaitable[None]]


class FrameWriter(Protocol):
    """What a server offers as ``scope["extensions"]["quickim.frames"]``: whole frames, straight to its transport."""

    @property
    def pending(self) -> int:
        """Bytes not yet taken by the socket."""

    @property
    def is_closing(self) -> bool:
        """Whether the server has closed the connection by itself."""

    def write(self, frame: bytes) -> int:
        """Write a whole frame, at once; returns what is pending."""

    async def drained(self) -> None:
        """Wait until the socket took most of it."""

    def abort(self) -> None:
        """Drop the connection."""

    def leave_to(self, listener: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        """The application returns, and ``listener`` takes every event that is still to come."""


class WebSocketConnection(Connection):
    """A connection whose frames go straight to the transport, or through ASGI's ``send`` where that is not offered."""

    __slots__ = ("_queue", "_queued", "_send", "_sender", "closing", "writer")
    protocol = "ws"

    def __init__(self, caller: Caller, outbox_bytes: int, send: Send, writer: FrameWriter | None) -> None:
        super().__init__(caller, outbox_bytes)
        self._send = send
        self.writer = writer
        self._queue: deque[Frame] | None = None
        self._queued = 0
        self._sender: asyncio.Task[None] | None = None
        self.closing: asyncio.Task[None] | None = None

    def push(self, frame: Frame) -> None:
        """See Connection."""
        if self.closing is None and self._write(frame) > self.outbox_bytes:
            self.watch_outbox()

    def push_all(self, bundle: Bundle) -> None:
        """See Connection."""
        if self.writer is None:
            super().push_all(bundle)
        elif self.closing is None and self.writer.write(bundle.websocket) > self.outbox_bytes:
            self.watch_outbox()

    @property
    def pending(self) -> int:
        """See Connection."""
        return self.writer.pending if self.writer is not None else self._queued

    async def drained(self) -> bool:
        """See Connection."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                if self.writer is not None:
                    await self.writer.drained()
                elif self._sender is not None:
                    await asyncio.shield(self._sender)
        except TimeoutError:
            return False
        return not self.ended

    def finish(self, farewell: Farewell) -> None:
        """See Connection."""
        if self.closing is None:
            self._write(farewell.notice())
            self.closing = spawn(self._close(farewell), "websocket close")

    async def over(self) -> None:
        """The socket is gone: end what still writes to it."""
        await cancel([task for task in (self._sender, self.closing) if task is not None])

    def _write(self, frame: Frame) -> int:
        if self.writer is not None:
            return self.writer.write(frame.websocket)
        if self._queue is None:
            self._queue = deque()
        self._queue.append(frame)
        self._queued += len(frame.body)
        if self._sender is None:
            self._sender = spawn(self._send_queued(), "websocket sender")
        return self._queued

    async def _send_queued(self) -> None:
        try:
            while self._queue:
                frame = self._queue.popleft()
                self._queued -= len(frame.body)
                await self._send({"type": "websocket.send", "text": frame.text})
        except OSError:
            # The client is gone; the consumer hears of it by its own event.
            self._queue = None
        finally:
            self._sender = None

    async def _close(self, farewell: Farewell) -> None:
        if self.writer is not None and self.writer.is_closing:
            self.writer.abort()
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                if self._sender is not None:
                    await asyncio.shield(self._sender)
                reason = farewell.reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
                await self._send({"type": "websocket.close", "code": farewell.code, "reason": reason})
        except TimeoutError:
            if self.writer is not None:
                self.writer.abort()
        except OSError:
            return


class NotifyConsumer(AsyncConsumer):
    """One WebSocket at ``/notify``. It has no channel of its own in the layer: the hub has one for the process."""

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        """Serve the socket from connect to disconnect."""
        if (await receive())["type"] != "websocket.connect":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        offered = list(scope.get("subprotocols") or ())
        identifier = request_id_of(headers.get("x-request-id", "").encode("latin-1"))
        request_id.set(identifier)
        accept = {
            "type": "websocket.accept",
            "subprotocol": SUBPROTOCOL if SUBPROTOCOL in offered else None,
            "headers": [(b"x-request-id", identifier.encode())],
        }
        connection: WebSocketConnection | None = None
        identity: Identity | None = None
        try:
            try:
                visitor = visitor_of(scope)
                entrance.knock(visitor)
                await entrance.turn()
                _check_hosts(scope)
                query = entrance.query_of(scope["query_string"])
                identity = await self._identity(headers, offered, query)
                cursor = entrance.parse_cursor(query.get("since"))
                entrance.admit(identity, visitor)
                loaded = await entrance.load(identity.caller.session, cursor)
                connection = self._connection(identity.caller, scope, send)
                await send(accept)
                await entrance.enter(connection, identity, loaded, cursor, visitor)
            except (QuickimError, DatabaseError, InterfaceError, UnicodeDecodeError, SuspiciousOperation) as error:
                known = InvalidParameter() if isinstance(error, UnicodeDecodeError) else known_error(error)
                await self._refuse(entrance.farewell_of(known), connection, accept, scope, receive, send)
                return
            served = Served(connection, Calls(connection, identity, visitor.limit_key), identifier)
            writer, connection = connection.writer, None
            if writer is not None:
                writer.leave_to(served.take)
            else:
                await self._serve(served, receive)
        except OSError:
            # The client went away while something was written to it.
            return
        finally:
            if connection is not None:
                entrance.leave(connection)
                await connection.over()

    async def _identity(self, headers: dict[str, str], offered: list[str], query: Mapping[str, str]) -> Identity:
        if query.get("protoc", "ws") != "ws":
            raise UnsupportedDriver
        origin = headers.get("origin")
        if origin is not None and not origin_allowed(origin) and not is_own_origin(origin, headers.get("host", "")):
            raise InvalidParameter.field("Origin", "is not allowed")
        token = next((item.removeprefix(BEARER_PREFIX) for item in offered if item.startswith(BEARER_PREFIX)), "")
        return await entrance.identify(headers.get("authorization", ""), query, token)

    def _connection(self, caller: Caller, scope: dict[str, Any], send: Send) -> WebSocketConnection:
        writer: FrameWriter | None = (scope.get("extensions") or {}).get("quickim.frames")
        return WebSocketConnection(caller, settings.QUICKIM.outbox_bytes, send, writer)

    async def _refuse(
        self,
        farewell: Farewell,
        connection: WebSocketConnection | None,
        accept: dict[str, Any],
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Send,
    ) -> None:
        if connection is None:
            connection = self._connection(Caller.SYSTEM, scope, send)
            await send(accept)
        connection.end(farewell)
        if connection.closing is not None:
            await connection.closing
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def _serve(self, served: "Served", receive: Callable[[], Awaitable[Any]]) -> None:
        try:
            while (event := await receive())["type"] == "websocket.receive":
                await served.take(event)
        finally:
            await served.end()


class Served:
    """A connection that is in, and what it calls: all that lives as long as an idle socket."""

    __slots__ = ("_bucket", "_calls", "_connection", "_rate", "_request_id")

    def __init__(self, connection: WebSocketConnection, calls: Calls, identifier: str) -> None:
        self._connection = connection
        self._calls = calls
        self._request_id = identifier
        self._rate = settings.QUICKIM.frame_rate
        self._bucket = Bucket(self._rate, connection.loop.time()) if self._rate else None

    async def take(self, event: dict[str, Any]) -> None:
        """What came in; returns when the next may come."""
        request_id.set(self._request_id)
        connection = self._connection
        if event["type"] != "websocket.receive":
            await self.end()
            return
        if connection.ended:
            return
        raw = event.get("text")
        if raw is None:
            raw = event.get("bytes") or b""
        if "quickim.flood" in event:
            # Of frames that ASGI does not tell of, counted by our own server (gateway.server.limited).
            connection.end(TOO_MANY_FRAMES)
        elif self._bucket and self._rate and self._bucket.take(self._rate, connection.loop.time()):
            connection.end(TOO_MANY_FRAMES)
        elif len(raw) > settings.QUICKIM.max_body_bytes:
            connection.end(FRAME_TOO_LARGE)
        else:
            await self._calls.take(raw)

    async def end(self) -> None:
        """The socket is gone."""
        try:
            await self._calls.close()
        finally:
            entrance.leave(self._connection)
            await self._connection.over()


class RefusedPath:
    """A WebSocket at any other path."""

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
        """Accepted, told why, closed."""
        if (await receive())["type"] != "websocket.connect":
            return
        try:
            entrance.knock(visitor_of(scope))
            _check_hosts(scope)
            farewell = replace(BAD_REQUEST, reason=UnknownInterface.text())
        except QuickimError as error:
            farewell = entrance.farewell_of(error)
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": farewell.notice().text})
        await send({"type": "websocket.close", "code": farewell.code, "reason": farewell.reason})


def _check_hosts(scope: dict[str, Any]) -> None:
    """As HTTP does. Raises InvalidParameter."""
    check_one_host(scope["headers"])
    check_host(dict(scope["headers"]).get(b"host", b""))
