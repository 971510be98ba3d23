"""How every connection gets in, whatever its protocol: credentials, cursor, one load from the database, the hub.

Laws: who comes too often, or has too many connections, is told so before anything is looked up for him. "Now", for a
connection without a cursor, is when its first load was read, before its client learns that it is connected: whatever is
sent after that reaches it.
"""

import dataclasses
import math
import time
from collections.abc import Mapping
from urllib.parse import unquote_plus

from django.conf import settings

from gateway.claims import Identity
from gateway.connection import Connection
from gateway.cursor import BadCursor, Cursor, parse
from gateway.node import node
from gateway.resume import SessionLoad, load_session
from gateway.revocation import revocations
from gateway.tickets import redeem_ticket
from gateway.tokens import bearer_token, verify_token
from gateway.wire import (
    BAD_REQUEST,
    INTERNAL_ERROR,
    INVALID_TOKEN,
    OVERLOADED,
    TOKEN_EXPIRED,
    TOKEN_REVOKED,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_FRAMES,
    Farewell,
)
from messaging import msgid
from quickim.database import MAX_WRITE_SECONDS, in_database
from quickim.errors import (
    InvalidParameter,
    InvalidToken,
    QuickimError,
    RateExceeded,
    TokenRevoked,
    TooManyRequests,
    Unavailable,
    UnsupportedDriver,
)
from quickim.observability import metrics
from quickim.rest.addresses import OWN, Visitor
from quickim.rest.rates import CALLS, Buckets

ATTEMPTS = 20
MOST_QUERY_FIELDS = 100
CROWDED_SECONDS = 10
"""When somebody whose address has too many connections may ask again."""

_FAREWELLS: tuple[tuple[type[QuickimError], Farewell], ...] = (
    (TokenRevoked, TOKEN_REVOKED),
    (InvalidToken, INVALID_TOKEN),
    (UnsupportedDriver, BAD_REQUEST),
    (InvalidParameter, BAD_REQUEST),
    (RateExceeded, TOO_MANY_FRAMES),
    (TooManyRequests, TOO_MANY_CONNECTIONS),
    (Unavailable, OVERLOADED),
)


def farewell_of(error: QuickimError) -> Farewell:
    """How a WebSocket that is refused because of ``error`` ends."""
    for kind, farewell in _FAREWELLS:
        if isinstance(error, kind):
            reason = error.text() if farewell in (BAD_REQUEST, TOO_MANY_FRAMES) else farewell.reason
            wait_ms = math.ceil((error.retry_after_seconds or 0) * 1_000) if farewell.reconnect else 0
            return dataclasses.replace(farewell, reason=reason, retry_after_ms=max(farewell.retry_after_ms, wait_ms))
    return INTERNAL_ERROR


def knock(visitor: Visitor) -> None:
    """Count an attempt to connect of an address, whoever it says it is. Raises RateExceeded."""
    if visitor.limit_key:
        _of_addresses.spend(visitor.limit_key, settings.QUICKIM.address_handshake_rate)


async def turn() -> None:
    """Wait for one's turn to connect: others are served between those of a crowd."""
    await node().turnstile.enter()


def admit(identity: Identity, visitor: Visitor, *, is_poll: bool = False) -> None:
    """Let ``identity`` on to the database; a poll counts as a call, for it comes again and again.

    Raises RateExceeded, or TooManyRequests when its session has as many connections here as it may.
    """
    session = identity.caller.session
    if is_poll:
        CALLS.spend(session, settings.QUICKIM.call_rate)
    else:
        _of_sessions.spend(session, settings.QUICKIM.handshake_rate)
    crowd.refuse_too_many(visitor)
    node().hub.refuse_too_many(session)


class Crowd:
    """The connections of this process by the addresses that limits count."""

    def __init__(self) -> None:
        self._places: dict[Connection, str] = {}
        self._counts: dict[str, int] = {}

    def refuse_too_many(self, visitor: Visitor) -> None:
        """Raises RateExceeded when the address has as many as it may: another time there may be room."""
        if self._counts.get(visitor.limit_key, 0) >= settings.QUICKIM.max_connections_per_address:
            raise RateExceeded(retry_after_seconds=CROWDED_SECONDS)

    def enter(self, connection: Connection, visitor: Visitor) -> None:
        """``connection`` takes a place, until ``leave``. Raises RateExceeded."""
        if visitor.limit_key and connection not in self._places:
            self.refuse_too_many(visitor)
            self._places[connection] = visitor.limit_key
            self._counts[visitor.limit_key] = self._counts.get(visitor.limit_key, 0) + 1

    def leave(self, connection: Connection) -> None:
        """``connection`` is over."""
        key = self._places.pop(connection, None)
        if key is not None:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]


crowd = Crowd()
_of_addresses = Buckets("address handshakes")
_of_sessions = Buckets("handshakes")


def query_of(raw: bytes) -> dict[str, str]:
    """The fields of a query string; of several with one name the last counts. Raises InvalidParameter."""
    try:
        fields = raw.decode().split("&")
    except UnicodeDecodeError:
        raise InvalidParameter.field("url", "is not valid UTF-8") from None
    if len(fields) > MOST_QUERY_FIELDS:
        raise InvalidParameter.field("url", f"has more than {MOST_QUERY_FIELDS} fields")
    query = {}
    for field in fields:
        name, _, value = field.partition("=")
        query[unquote_plus(name)] = unquote_plus(value) if "%" in value or "+" in value else value
    return query


async def identify(authorization: str, query: Mapping[str, str], offered: str = "") -> Identity:
    """Who connects: by header, else by a token ``offered`` as subprotocol, else by ``?token=``, else by ``?ticket=``,
    which is spent. Raises InvalidToken, TokenRevoked, Unavailable, or the database's errors."""
    token = bearer_token(authorization) or offered or query.get("token", "")
    if not token and (ticket := query.get("ticket", "")):
        return await redeem_ticket(ticket)
    return verify_token(token)


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


async def enter(
    connection: Connection, identity: Identity, loaded: SessionLoad, cursor: Cursor | None, visitor: Visitor = OWN
) -> None:
    """Attach ``connection`` from ``loaded`` (read anew when it is outdated), and let it end with its token.

    Raises TooManyRequests, Unavailable, or the database's errors.
    """
    hub, sweep = node().hub, node().sweep
    is_fresh = cursor is None
    crowd.enter(connection, visitor)
    if sweep.is_behind(loaded.at):
        await sweep.once()
    for _ in range(ATTEMPTS):
        hub.refuse_too_many(loaded.session)
        connection.start_from(loaded, cursor)
        if hub.attach(connection, loaded):
            hub.redactions.catch_up(connection, loaded)
            break
        cursor = cursor or _as_cursor(loaded)
        loaded = await load(loaded.session, cursor)
    else:
        raise Unavailable
    outcome = "fresh" if is_fresh else "reset" if loaded.is_reset else "resumed"
    metrics.RESUMES.inc(1, connection.protocol, outcome)
    follow_token(connection, identity)
    if node().is_draining:
        hub.say_goodbye()


def go_on(connection: Connection, identity: Identity, visitor: Visitor) -> None:
    """``connection``, which was kept, goes on for the next poll of its chain, and ends with that one's token. Raises
    RateExceeded."""
    crowd.enter(connection, visitor)
    metrics.RESUMES.inc(1, connection.protocol, "continued")
    follow_token(connection, identity)


def pause(connection: Connection) -> None:
    """``connection`` is kept: nobody's, as far as addresses are counted."""
    crowd.leave(connection)


def leave(connection: Connection) -> None:
    """``connection`` is over."""
    crowd.leave(connection)
    node().hub.detach(connection)


def follow_token(connection: Connection, identity: Identity) -> None:
    """End ``connection`` with its token: when that expires, or when it is revoked, as it may have been meanwhile."""
    now = time.time()
    connection.issued_at = identity.issued_at
    connection.expire_at(identity.ends_at(now), now, TOKEN_EXPIRED)
    if revocations.is_revoked(identity.caller, identity.issued_at):
        connection.end(TOKEN_REVOKED)


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
