"""Long-polling: a request asks its session's connection, where the last answer ended, for the next one."""

import time
from collections import OrderedDict

from django.conf import settings
from django.http import HttpResponse

from gateway import entrance
from gateway.claims import Identity
from gateway.cursor import Cursor
from gateway.node import node
from gateway.transports.poll_connection import PollConnection
from quickim.rest.addresses import OWN, Visitor
from quickim.rest.answers import Answer

REMEMBERED_SECONDS = 120.0
REMEMBERED_POLLERS = 10_000


class _Pollers:
    """Where the last answer to a simple poller ended, who sends no cursor."""

    def __init__(self) -> None:
        self._ends: OrderedDict[tuple[str, int], tuple[float, str]] = OrderedDict()

    def resume(self, identity: Identity) -> Cursor | None:
        """His last answer's cursor, if it is recent."""
        at, cursor = self._ends.get(self._key(identity), (float("-inf"), ""))
        return entrance.parse_cursor(cursor) if time.monotonic() - at < REMEMBERED_SECONDS else None

    def remember(self, identity: Identity, cursor: str) -> None:
        """An answer ended at ``cursor``."""
        key = self._key(identity)
        self._ends[key] = (time.monotonic(), cursor)
        self._ends.move_to_end(key)
        if len(self._ends) > REMEMBERED_POLLERS:
            self._ends.popitem(last=False)

    def _key(self, identity: Identity) -> tuple[str, int]:
        return identity.caller.session, identity.caller.platform


_pollers = _Pollers()


async def answer_poll(identity: Identity, cursor: Cursor | None, visitor: Visitor = OWN) -> HttpResponse:
    """Wait for something after ``cursor`` and answer with it. Raises what refuses the poll."""
    entrance.admit(identity, visitor, is_poll=True)
    configuration = settings.QUICKIM
    legacy = configuration.legacy and cursor is None
    cursor = cursor or _pollers.resume(identity)
    kept = None if legacy or cursor is None else node().kept_polls.take(identity.caller, cursor.text)
    connection = kept or _connection(identity, is_legacy=legacy)
    answered = connection.ask()
    try:
        if kept is not None:
            entrance.go_on(connection, identity, visitor)
        else:
            loaded = await entrance.load(identity.caller.session, cursor)
            await entrance.enter(connection, identity, loaded, cursor, visitor)
        timer = connection.loop.call_later(configuration.poll_wait_seconds, connection.close_empty_handed)
        try:
            body = await answered
        finally:
            timer.cancel()
    finally:
        if connection.is_kept:
            entrance.pause(connection)
        else:
            entrance.leave(connection)
    _pollers.remember(identity, connection.cursor)
    if legacy:
        if not connection.messages:
            return HttpResponse(status=204, headers=_HEADERS)
        return _json(connection.messages[0])
    return _json(body)


def _connection(identity: Identity, *, is_legacy: bool) -> PollConnection:
    hub, keeper = node().hub, node().kept_polls
    if is_legacy or identity.caller.platform in settings.QUICKIM.single_login_platforms:
        # One message an answer; only the newest may be there.
        return PollConnection(hub, identity, is_legacy=is_legacy)
    return PollConnection(hub, identity, keeper)


_HEADERS = {"X-Accel-Buffering": "no"}


def _json(body: bytes) -> HttpResponse:
    return Answer(body, 200, _HEADERS)
