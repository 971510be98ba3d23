"""Keeps a node's picture of the revocations current, and cuts the connections whose token is revoked.

Laws: what an announcement tells at once, the next sweep tells anyway. Until the first reading has come through, nobody
is let in. A connection that comes in meanwhile is asked as it is attached (gateway.entrance), so none slips through.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.db import DatabaseError, InterfaceError

from gateway.revocation import (
    EVERYBODY,
    Revocation,
    forgotten_until,
    prune_revocations,
    read_revocations,
    revocations,
)
from gateway.tickets import prune_tickets
from gateway.wire import TOKEN_REVOKED
from quickim.database import in_database
from quickim.errors import Unavailable

if TYPE_CHECKING:
    from gateway.hub import Hub

logger = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 60.0
LOOK_BACK_MICROSECONDS = 180_000_000
"""With the housekeeping, what was read before is read again: a product's own transaction may commit late."""
CUT_AT_ONCE = 200
"""Connections that are ended in one turn of the event loop."""


class RevocationWatch:
    """See the module. One for a node; it begins with nothing known."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._read_until = 0
        self._kept_at = time.monotonic()
        revocations.clear()

    async def catch_up(self) -> None:
        """Read what is new. Raises Unavailable, or the database's errors."""
        is_due = time.monotonic() - self._kept_at > HOUSEKEEPING_SECONDS
        since = max(0, self._read_until - LOOK_BACK_MICROSECONDS) if is_due else self._read_until
        findings = await in_database(read_revocations, since)
        revocations.set_clock(findings.now)
        self.hear(findings.revocations)
        self._read_until = max(self._read_until, findings.settled)
        revocations.is_known = True
        if is_due:
            self._kept_at = time.monotonic()
            revocations.forget(forgotten_until(findings.settled))
            await self._keep_house(findings.settled)

    def hear(self, heard: Iterable[Revocation]) -> None:
        """Take ``heard`` in and cut whom it concerns; returns at once."""
        for revocation in revocations.add(heard):
            self._cut(revocation)

    def _cut(self, revocation: Revocation) -> None:
        if revocation.session != EVERYBODY:
            self._cut_session(revocation.session)
            return
        self._cut_next(list(self._hub.sessions))

    def _cut_next(self, sessions: list[str]) -> None:
        """Some of ``sessions`` now, the rest in the next turns: thousands of farewells would hold up everybody else's
        messages. Calls are refused already."""
        for session in sessions[:CUT_AT_ONCE]:
            self._cut_session(session)
        if rest := sessions[CUT_AT_ONCE:]:
            asyncio.get_running_loop().call_soon(self._cut_next, rest)

    def _cut_session(self, session: str) -> None:
        for connection in list(self._hub.sessions.get(session, ())):
            if revocations.is_revoked(connection.caller, connection.issued_at):
                connection.end(TOKEN_REVOKED)

    async def _keep_house(self, settled: int) -> None:
        try:
            await in_database(prune_revocations, settled)
            await in_database(prune_tickets)
        except (Unavailable, DatabaseError, InterfaceError) as error:
            logger.info("Old revocations and tickets were not deleted (%s); it is tried again.", type(error).__name__)
