"""Calls over a WebSocket: the public endpoints by their names, with the same bodies, checks and errors as over HTTP.

Laws: every frame gets exactly one answer with its ``id``; sends of one connection are appended in the order they were
called; any other call waits for what was called before it, and what comes after waits for it. What runs is bounded.
"""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from django.conf import settings

from conversations.api import PUBLIC as ABOUT_CONVERSATIONS
from gateway.claims import Identity
from gateway.connection import Connection
from gateway.entrance import follow_token
from gateway.tickets import issue_ticket
from gateway.tokens import check_identity, refused, verify_token
from gateway.wire import Frame
from messaging.api import PUBLIC as ABOUT_MESSAGES
from messaging.api import SendMsg
from quickim.errors import InvalidParameter, UnknownInterface
from quickim.observability import logs, tracing
from quickim.rest.answers import failure_object, known_error
from quickim.rest.endpoint import Endpoint
from quickim.rest.rates import spend_of_address
from quickim.rest.strict_json import encode, parse_object, salvage
from quickim.tasks import cancel, spawn

MAX_RUNNING = 64

ENDPOINTS: dict[str, Endpoint] = {kind.name: kind() for kind in (*ABOUT_CONVERSATIONS, *ABOUT_MESSAGES)}


class Calls:
    """The calls of one connection."""

    def __init__(self, connection: Connection, identity: Identity, limit_key: str) -> None:
        self._connection = connection
        self._limit_key = limit_key
        self._identity = identity
        self._running: set[asyncio.Task[None]] = set()

    async def take(self, raw: str | bytes) -> None:
        """One frame; returns when the next may come."""
        call_id: Any = None
        try:
            frame = parse_object(raw)
            call_id = frame.get("id")
            method, params = frame.get("method"), frame.get("params", {})
            if type(method) is not str:
                raise InvalidParameter.field("method", "must be a string")
            if type(params) is not dict:
                raise InvalidParameter.field("params", "must be an object")
        except InvalidParameter as error:
            # Also a call that cannot be read is answered under its id, where that much can be read.
            self._answer(salvage(raw, "id") if call_id is None else call_id, failure_object(error))
            return
        work: Callable[[], Coroutine[Any, Any, None]] = partial(self._run, call_id, method, params)
        traceparent, spans = frame.get("traceparent"), tracing.spans()
        if spans is not None and (traceparent is not None or spans.takes_root()):
            work = partial(spans.call, work, method if method in ENDPOINTS else "other", traceparent)
        if method == SendMsg.name:
            if len(self._running) >= MAX_RUNNING:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            task = spawn(work(), "call")
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            return
        if self._running and method != "ping":
            await asyncio.wait(self._running)
        await work()

    async def close(self) -> None:
        """The connection is over: sends that are under way are committed or not, but nobody hears of it."""
        await cancel(self._running)

    async def _run(self, call_id: Any, method: str, params: dict[str, Any]) -> None:
        logged_id = logs.call_id.set(logs.call_id_of(call_id))
        try:
            outcome = {"code": 0, "data": await self._outcome(method, params)}
        except Exception as error:  # noqa: BLE001  # every call is answered
            known = known_error(error)
            outcome = failure_object(known)
            if known.retry_after_seconds is not None:
                outcome["RetryAfterMs"] = math.ceil(known.retry_after_seconds * 1_000)
            if (spans := tracing.spans()) is not None:
                spans.note("quickim.code", outcome["code"])
        finally:
            logs.call_id.reset(logged_id)
        self._answer(call_id, outcome)

    async def _outcome(self, method: str, params: dict[str, Any]) -> Any:
        if method == "ping":
            return {"Time": time.time_ns() // 1_000}
        if method == "refresh":
            return self._refresh(params)
        if self._limit_key:
            spend_of_address(self._limit_key, settings.QUICKIM.address_rate)
        # Also a call that waited behind others while the token was revoked.
        check_identity(self._identity)
        if method == "ticket":
            return {"Ticket": await issue_ticket(self._identity)}
        endpoint = ENDPOINTS.get(method)
        if endpoint is None:
            raise UnknownInterface
        return await endpoint.run(self._identity.caller, params)

    def _refresh(self, params: dict[str, Any]) -> dict[str, Any]:
        token = params.get("token")
        if type(token) is not str:
            raise InvalidParameter.field("token", "must be a string")
        identity = verify_token(token)
        if identity.caller != self._identity.caller:
            raise refused("claims")
        self._identity = identity
        follow_token(self._connection, identity)
        return {"ExpiresAt": identity.expires_at}

    def _answer(self, call_id: Any, outcome: dict[str, Any]) -> None:
        if not self._connection.ended:
            self._connection.push(Frame(encode({"id": call_id, **outcome}), "answer"))
