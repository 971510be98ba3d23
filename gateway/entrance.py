"""How every connection gets in, whatever its protocol: credentials, cursor, one load from the database, the hub.

Law: "now", for a connection without a cursor, is when its first load was read, before its client learns that it is
connected: whatever is sent after that reaches it.
"""

import dataclasses
import time

from django.http import QueryDict

from gateway.connection import Connection
from gateway.cursor import BadCursor, Cursor, parse
from gateway.node import node
from gateway.resume import SessionLoad, load_session
from gateway.tokens import Identity, bearer_token, verify_token
from gateway.wire import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    INVALID_TOKEN,
    OVERLOADED,
    TOKEN_EXPIRED,
    TOO_MANY_CONNECTIONS,
    Farewell,
)
from messaging import msgid
from quickim.database import MAX_WRITE_SECONDS, in_database
from quickim.errors import (
    InvalidParameter,
    InvalidToken,
    QuickimError,
    TooManyRequests,
    Unavailable,
    UnsupportedDriver,
)

ATTEMPTS = 20

_FAREWELLS: tuple[tuple[type[QuickimError], Farewell], ...] = (
    (InvalidToken, INVALID_TOKEN),
    (UnsupportedDriver, BAD_REQUEST),
    (InvalidParameter, BAD_REQUEST),
    (TooManyRequests, TOO_MANY_CONNECTIONS),
    (Unavailable, OVERLOADED),
)


def farewell_of(error: QuickimError) -> Farewell:
    """How a WebSocket that is refused because of ``error`` ends."""
    for kind, farewell in _FAREWELLS:
        if isinstance(error, kind):
            return dataclasses.replace(farewell, reason=error.text() if farewell is BAD_REQUEST else farewell.reason)
    return INTERNAL_ERROR


def identify(authorization: str, query: QueryDict, offered: str = "") -> Identity:
    """Who connects: by header, else by a token ``offered`` as subprotocol, else by ``?token=``. Raises InvalidToken."""
    return verify_token(bearer_token(authorization) or offered or query.get("token", ""))


def parse_cursor(text: str | None) -> Cursor | None:
    """The cursor a client gave; None for none. Raises InvalidParameter."""
    if not text:
        return None
    try:
        return parse(text)
    except BadCursor:
        raise InvalidParameter.field("since", "is no cursor") from None


async def load(session: str, cursor: Cursor | None) -> SessionLoad:
    """Where ``session`` stands. Raises Unavailable, or the database's errors."""
    return await in_database(load_session, session, cursor)


async def enter(connection: Connection, identity: Identity, loaded: SessionLoad, cursor: Cursor | None) -> None:
    """Attach ``connection`` from ``loaded`` (read anew when it is outdated), and let it end with its token.

    Raises TooManyRequests, Unavailable, or the database's errors.
    """
    hub, sweep = node().hub, node().sweep
    if sweep.is_behind(loaded.at):
        await sweep.once()
    for _ in range(ATTEMPTS):
        hub.refuse_too_many(loaded.session)
        connection.start_from(loaded, cursor)
        if hub.attach(connection, loaded):
            break
        cursor = cursor or _as_cursor(loaded)
        loaded = await load(loaded.session, cursor)
    else:
        raise Unavailable
    arm_expiry(connection, identity)
    if node().is_draining:
        hub.say_goodbye()


def arm_expiry(connection: Connection, identity: Identity) -> None:
    """End ``connection`` with its token."""
    now = time.time()
    connection.expire_at(identity.ends_at(now), now, TOKEN_EXPIRED)


def covered_tick(loaded: SessionLoad) -> int:
    """The tick up to which the load shows everything: appends commit within three seconds of their clock reading."""
    return msgid.tick_at(loaded.at - int(MAX_WRITE_SECONDS * 1_000_000)) - 1


def _as_cursor(loaded: SessionLoad) -> Cursor:
    """The place that ``loaded`` describes, to read it again from there."""
    return Cursor(
        covered_tick(loaded),
        positions={seat.number: seat.position for seat in loaded.seats},
        notices={seat.number: seat.member_version for seat in loaded.seats},
    )
