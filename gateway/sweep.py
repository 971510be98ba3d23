"""The sweep: what the database has that this node has not handed out, whatever was lost on the way.

Laws:
- A sweep begun at database time T moves the watermark to T - 3 s, once all it found is handed out: appends and changes
  commit within three seconds of their clock reading, so nothing can appear below that any more. A commit that is
  under way for longer holds the watermark back (``settled_clock``).
- It finds messages by MsgId above the watermark, changes by ``changed_at``; once a minute all heads are compared, and
  the changes of the last minutes looked at again: a product's own transaction may have committed one that late.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from conversations.models import Conversation, Membership
from gateway.hub import MAX_AHEAD_TICKS, Hub
from gateway.redactions import redacted_facts, redactions_since
from gateway.room import Room
from messaging import msgid
from messaging.message import MessagesRedacted
from messaging.models import Message
from messaging.services import sweep_drafts
from quickim.bundles import bundle
from quickim.database import in_database, settled_clock
from quickim.errors import Unavailable
from quickim.observability import metrics

logger = logging.getLogger(__name__)

SECONDS_WITHOUT_LAYER = 0.5
FULL_COMPARISON_SECONDS = 60.0
LOOK_BACK_MICROSECONDS = 180_000_000
HEADS_PER_QUERY = 1_000


@dataclass(frozen=True, slots=True)
class Findings:
    """What a sweep read; ``settled``: the database's clock (microseconds) below which nothing can appear any more."""

    settled: int
    heads: Sequence[tuple[int, int]] = field(default_factory=list)
    """(conversation's number, highest Seq) of new messages."""
    members: Sequence[tuple[int, str, int, int]] = field(default_factory=list)
    """(conversation's number, session, version, state) of changed memberships."""
    states: Sequence[tuple[int, int]] = field(default_factory=list)
    """(conversation's number, member_version) of changed conversations."""
    redactions: Sequence[MessagesRedacted] = field(default_factory=list)


_MESSAGES, _MEMBERSHIPS, _CONVERSATIONS = (model._meta.db_table for model in (Message, Membership, Conversation))
# Grouped by an expression: by the column itself, SQLite would walk the whole index of (conversation, seq) to spare
# itself the sorting.
_HEADS = f"SELECT conversation_id + 0, max(seq) FROM {_MESSAGES} WHERE msg_id > %s GROUP BY conversation_id + 0"  # noqa: S608
_MEMBERS = f"SELECT conversation_id, session, version, state FROM {_MEMBERSHIPS} WHERE changed_at >= %s"  # noqa: S608
_STATES = f"SELECT id, member_version FROM {_CONVERSATIONS} WHERE changed_at >= %s"  # noqa: S608


def read_findings(tick: int, look_back: int = 0) -> Findings:
    """All that is new above ``tick``, and changes of ``look_back`` microseconds before; with 0, only the clock.
    Synchronous."""
    settled = settled_clock()
    if not tick:
        return Findings(settled)
    begin = msgid.milliseconds_of(tick) * 1_000
    since = begin - look_back
    # Querysets would be compiled anew each time, and hold the interpreter for it: messages on their way wait for that.
    heads, members, states, redactions = bundle(
        [
            (_HEADS, (msgid.after_all(tick - 1),)),
            (_MEMBERS, (since,)),
            (_STATES, (since,)),
            redactions_since(begin),
        ],
        prepare=False,
    )
    return Findings(settled, heads, members, states, redacted_facts(redactions))


def read_heads(numbers: Sequence[int]) -> list[tuple[int, int, int]]:
    """(number, last Seq, member_version) of the conversations ``numbers``. Synchronous."""
    return list(Conversation.objects.filter(pk__in=numbers).values_list("id", "last_seq", "member_version"))


class Sweep:
    """The sweep of one node's hub. ``is_layer_up`` decides how often; ``first`` is swept with it, and before it."""

    def __init__(self, hub: Hub, is_layer_up: Callable[[], bool], first: Callable[[], Awaitable[None]]) -> None:
        self._hub = hub
        self._is_layer_up = is_layer_up
        self._first = first
        self._now = asyncio.Event()
        self._compared_at = time.monotonic()

    def at_once(self) -> None:
        """Do not wait for the next turn."""
        self._now.set()

    async def run(self) -> None:
        """Sweep for ever; a database that is away is waited for."""
        while True:
            try:
                await self.once()
            except (Unavailable, DatabaseError, InterfaceError) as error:
                logger.warning(
                    "A sweep was not possible (%s); it is tried again. Check /readyz and the database server.",
                    type(error).__name__,
                )
            seconds = settings.QUICKIM.sweep_seconds
            if not self._is_layer_up():
                seconds = min(seconds, SECONDS_WITHOUT_LAYER)
            try:
                async with asyncio.timeout(seconds):
                    await self._now.wait()
            except TimeoutError:
                continue
            finally:
                self._now.clear()

    async def once(self) -> None:
        """One sweep. Raises the database's errors."""
        await self._first()
        is_full = time.monotonic() - self._compared_at > FULL_COMPARISON_SECONDS
        findings = await in_database(read_findings, self._hub.watermark, LOOK_BACK_MICROSECONDS if is_full else 0)
        repairs = self._hub.repairs
        lagging = self._compare(findings)
        adoptions = self._adopt(findings)
        metrics.SWEEP_FINDINGS.inc(len(adoptions), "members")
        for fact in findings.redactions:
            metrics.SWEEP_FINDINGS.inc(self._hub.redactions.tell(fact), "redactions")
        if is_full:
            lagging += await self._compare_all()
        await asyncio.gather(*(repairs.level(room) for room in lagging), *map(asyncio.shield, adoptions))
        self._hub.moved(self._reached(findings))
        self._hub.journal.prune(time.monotonic())
        await in_database(sweep_drafts)

    def is_behind(self, at: int) -> bool:
        """Whether the watermark is so far below ``at`` (microseconds) that nothing of then may be delivered yet."""
        return msgid.tick_at(at) > self._hub.watermark + MAX_AHEAD_TICKS

    def _compare(self, findings: Findings) -> list[Room]:
        hub = self._hub
        versions = {number: version for number, _, version, _ in findings.members}
        silent = _distinct(hub.compare(number, seq) for number, seq in findings.heads)
        metrics.SWEEP_FINDINGS.inc(len(silent), "messages")
        changed = [hub.compare(number, 0, version) for number, version in versions.items()]
        changed += [hub.compare(number, 0, version) for number, version in findings.states]
        outdated = [room for room in _distinct(changed) if room not in silent]
        metrics.SWEEP_FINDINGS.inc(len(outdated), "members")
        return silent + outdated

    def _adopt(self, findings: Findings) -> list[asyncio.Task[None]]:
        """Memberships of those connected here that no announcement told."""
        hub = self._hub
        adoptions = []
        now = time.monotonic()
        for number, session, version, state in findings.members:
            if hub.is_news(number, session, version, is_active=state == Membership.State.ACTIVE):
                hub.journal.change(number, version, [session], now)
                adoptions.append(hub.repairs.adopt(number, version))
        return adoptions

    async def _compare_all(self) -> list[Room]:
        self._compared_at = time.monotonic()
        numbers = list(self._hub.rooms)
        lagging = []
        for start in range(0, len(numbers), HEADS_PER_QUERY):
            heads = await in_database(read_heads, numbers[start : start + HEADS_PER_QUERY])
            lagging += [self._hub.compare(number, seq, version) for number, seq, version in heads]
        metrics.SWEEP_FINDINGS.inc(len(found := _distinct(lagging)), "heads")
        return found

    def _reached(self, findings: Findings) -> int:
        """The new watermark, not past what is still held back."""
        return min(
            [
                msgid.tick_at(findings.settled) - 1,
                *(tick - 1 for tick in self._hub.held_ticks()),
            ]
        )


def _distinct(rooms: Iterable[Room | None]) -> list[Room]:
    return list({room.number: room for room in rooms if room is not None}.values())
