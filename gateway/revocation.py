"""Which tokens are revoked: this process's picture of it, asked on every call, and the one door to revoke some.

Laws: a token is revoked when it was issued no later than a revocation of its session (of all, or of its platform), or
of everybody; one that does not tell when counts as the oldest. As long as the picture was not read from the database,
nobody is let in. Announcements and sweeps only ever add to it, so their order is of no account. A revocation is
forgotten when every token that it can concern has ended.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.db import connection, transaction

from conversations.announcements import announce
from gateway.models import TokenRevocation
from quickim.bundles import bundle
from quickim.database import (
    CLOCK_STATEMENTS,
    database_clock,
    settled_clock,
    timely,
    write_transaction,
)
from quickim.errors import InvalidParameter, TokenRevoked, Unavailable
from quickim.rest.callers import Caller

EVERYBODY = ""
ANY_PLATFORM = -1
NEVER = -1
MAX_AHEAD_MICROSECONDS = 5_000_000
"""How far ahead the clock of whoever names a time may be."""
SLACK_MICROSECONDS = 3_600_000_000
"""A revocation outlives the tokens by so much: clocks differ."""
_PRUNED_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class Revocation:
    """Tokens of ``session`` (EVERYBODY: of all) on ``platform`` (or ANY_PLATFORM), issued at ``before`` or earlier,
    are revoked; revoked ``at``. Both in microseconds."""

    session: str
    platform: int
    before: int
    at: int


@dataclass(frozen=True, slots=True)
class TokensRevoked:
    """The fact that is announced."""

    revocations: tuple[Revocation, ...]


class Revocations:
    """See the module. Lives on the node's event loop."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Know nothing, and let nobody in."""
        self.is_known = False
        """Whether the database was read."""
        self._everybody = Revocation(EVERYBODY, ANY_PLATFORM, NEVER, NEVER)
        self._sessions: dict[str, int] = {}
        """By session: until when its tokens of all platforms are revoked."""
        self._platforms: dict[str, dict[int, int]] = {}
        """By session, and by platform: the same for that platform alone."""
        self._latest: dict[str, int] = {}
        """By session: when it was last revoked, the oldest first."""
        self._offset = 0

    def now(self) -> int:
        """The database's clock, as far as known, in microseconds; never ahead of it, so that a token issued before a
        revocation cannot seem to be later than that, whatever the clock of this node says."""
        return time.time_ns() // 1_000 + self._offset

    def set_clock(self, database_now: int) -> None:
        """The database's clock stood there a moment ago."""
        self._offset = database_now - time.time_ns() // 1_000

    def check(self, caller: Caller, issued_at: int) -> None:
        """Raises TokenRevoked when a token of ``caller`` from then (microseconds) is revoked, and Unavailable before
        that is known."""
        if self.is_revoked(caller, issued_at):
            raise TokenRevoked
        if not self.is_known:
            raise Unavailable({"revocations": "were not read yet"})

    def is_revoked(self, caller: Caller, issued_at: int) -> bool:
        """Whether a token of ``caller`` from then (microseconds) is revoked, as far as known."""
        if issued_at <= self._everybody.before:
            return True
        session = caller.session
        if issued_at <= self._sessions.get(session, NEVER):
            return True
        platforms = self._platforms.get(session)
        return platforms is not None and issued_at <= platforms.get(caller.platform, NEVER)

    def revoked_before(self, caller: Caller) -> int:
        """The latest time (microseconds) at which a token of ``caller`` would be revoked, as far as known; -1: none."""
        on_platform = self._platforms.get(caller.session, {}).get(caller.platform, NEVER)
        return max(self._everybody.before, self._sessions.get(caller.session, NEVER), on_platform)

    def add(self, heard: Iterable[Revocation]) -> list[Revocation]:
        """Take ``heard`` in; returns what of it was new."""
        return [revocation for revocation in heard if self._add(revocation)]

    def forget(self, until: int) -> None:
        """Drop what was revoked before ``until`` (microseconds): no token is left that it concerns."""
        while self._latest and self._latest[session := next(iter(self._latest))] < until:
            del self._latest[session]
            self._sessions.pop(session, None)
            self._platforms.pop(session, None)
        if self._everybody.at < until:
            self._everybody = Revocation(EVERYBODY, ANY_PLATFORM, NEVER, NEVER)

    def _add(self, revocation: Revocation) -> bool:
        session, platform = revocation.session, revocation.platform
        if session == EVERYBODY:
            is_news = revocation.before > self._everybody.before
            if is_news:
                self._everybody = revocation
            return is_news
        self._latest[session] = max(self._latest.pop(session, NEVER), revocation.at)
        if platform == ANY_PLATFORM:
            is_news = revocation.before > self._sessions.get(session, NEVER)
            if is_news:
                self._sessions[session] = revocation.before
            return is_news
        platforms = self._platforms.setdefault(session, {})
        is_news = revocation.before > platforms.get(platform, NEVER)
        if is_news:
            platforms[platform] = revocation.before
        return is_news


revocations = Revocations()
"""Those that this process knows of."""


def revoke(session: str, platform: int | None, before: int | None) -> Revocation:
    """Revoke the tokens of ``session`` (EVERYBODY: of all), on ``platform`` or all of them, issued at ``before``
    (microseconds) or earlier, by default until now. Synchronous. Raises InvalidParameter for a time to come, and the
    database's errors."""
    with write_transaction():
        now = database_clock()
        if before is not None and before > now + MAX_AHEAD_MICROSECONDS:
            raise InvalidParameter.field("before", "must not lie in the future")
        before = now if before is None else before
        platform = ANY_PLATFORM if platform is None else platform
        with timely() as at:
            row = TokenRevocation.objects.create(session=session, platform=platform, before=before, at=at)
            # What this one covers need not be kept; strictly, or two of the same time would delete each other.
            TokenRevocation.objects.filter(session=session, platform=platform, before__lt=before).exclude(
                pk=row.pk
            ).delete()
        revocation = Revocation(session, platform, before, at)
        transaction.on_commit(partial(announce, TokensRevoked((revocation,))))
    return revocation


@dataclass(frozen=True, slots=True)
class Findings:
    """Revocations, the oldest first; until when (``settled``) none can be missing, and the database's clock, last read.
    Both in microseconds."""

    revocations: list[Revocation]
    settled: int
    now: int


_SINCE = f"SELECT session, platform, before, at FROM {TokenRevocation._meta.db_table} WHERE at >= %s ORDER BY at, id"  # noqa: S608


def read_revocations(since: int) -> Findings:
    """Those that were made ``since`` (microseconds) and are not to be forgotten. Synchronous."""
    settled = settled_clock()
    since = max(since, forgotten_until(settled))
    rows, *clock = bundle([(_SINCE, (since,)), *CLOCK_STATEMENTS[connection.vendor]], prepare=False)
    now = database_clock(*(int(reading) for ((reading,),) in clock))
    return Findings([Revocation(*row) for row in rows], settled, now)


def forgotten_until(now: int) -> int:
    """At ``now``, what was revoked before then concerns no token any more; microseconds."""
    return now - settings.QUICKIM.token_max_life_seconds * 1_000_000 - SLACK_MICROSECONDS


def prune_revocations(now: int) -> None:
    """Delete what is to be forgotten at ``now`` (microseconds). Synchronous."""
    old = TokenRevocation.objects.filter(at__lt=forgotten_until(now))
    if not old.exists():
        return
    with write_transaction():
        # Nodes that do this at the same time share it out.
        some = old.order_by("at").select_for_update(skip_locked=True).values_list("pk", flat=True)[:_PRUNED_AT_ONCE]
        TokenRevocation.objects.filter(pk__in=list(some)).delete()
