"""This process's node: hub, layer, sweep and ledger, started together and drained together.

It starts with the first request where the server has no lifespan events (daphne), and lives on one event loop.
"""

import asyncio
import logging
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from conversations.announcements import ConversationChanged, subscribe
from gateway.connection import Connection
from gateway.envelopes import (
    CHANGE,
    MESSAGES,
    REDACTED,
    REVOKED,
    publish_fact,
    unpack_change,
    unpack_messages,
    unpack_redactions,
    unpack_revocations,
)
from gateway.hub import Hub
from gateway.kept import KeptPolls
from gateway.layer import Layer, key_of
from gateway.measures import watch
from gateway.revocation import TokensRevoked, revocations
from gateway.revocation_watch import RevocationWatch
from gateway.shares import Shares
from gateway.sweep import Sweep
from gateway.tokens import jwks_file
from gateway.traces import announced, announcing, arrived, passed_by
from gateway.turnstile import Turnstile
from gateway.watchers import Watchers
from messaging.ledger import ledger
from messaging.message import MessagesCommitted, MessagesRedacted
from quickim.database import in_database
from quickim.errors import Unavailable
from quickim.observability import tracing
from quickim.observability.metrics_sharing import keep_sharing
from quickim.tasks import cancel, spawn

logger = logging.getLogger(__name__)

LOGIN = "login"
DRAIN_SECONDS = 5.0


class Node:
    """See the module."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.hub = Hub()
        self.kept_polls = KeptPolls()
        self.turnstile = Turnstile()
        self.watchers = Watchers()
        self.revocation_watch = RevocationWatch(self.hub)
        self.sweep = Sweep(self.hub, lambda: self.layer.is_up, self.revocation_watch.catch_up)
        self.layer = Layer(self._on_envelope, self.sweep.at_once)
        self.shares = Shares(settings.QUICKIM.redis_urls)
        self.is_draining = False
        self._tasks: list[asyncio.Task[None]] = []
        self._started = asyncio.Event()

    async def start(self) -> None:
        """Begin; returns when connections may come in."""
        tracing.start()
        subscribe(self._on_fact)
        self.hub.tell_login = self._tell_login
        self.layer.start()
        try:
            await self.sweep.once()
        except (Unavailable, DatabaseError, InterfaceError) as error:
            logger.warning(
                "The database did not answer at start (%s); the node waits for it. Check that it runs.",
                type(error).__name__,
            )
        watch(self)
        self._tasks = [spawn(self.sweep.run(), "sweep"), spawn(keep_sharing(), "metrics")]
        if jwks_file is not None:
            self._tasks.append(spawn(jwks_file.run(), "jwks file"))
        if settings.QUICKIM.redis_urls:
            self._tasks.append(spawn(self.shares.run(), "shares"))
        self._started.set()

    async def started(self) -> None:
        """Wait until ``start`` is through."""
        await self._started.wait()

    async def drain(self) -> None:
        """Say ``bye`` to every connection, finish what is queued, stop; within seconds."""
        if self.is_draining:
            return
        self.is_draining = True
        self.hub.say_goodbye()
        self.kept_polls.close()
        self.watchers.end()
        await self.loop.run_in_executor(None, ledger().close, DRAIN_SECONDS)
        await self.layer.close()
        await cancel(self._tasks)
        await self.shares.close()
        await self.hub.repairs.close()
        await self.loop.run_in_executor(None, tracing.stop)

    def _on_fact(self, fact: Any) -> None:
        """Any thread: something was committed in this process."""
        try:
            self.loop.call_soon_threadsafe(self._tell_next, fact)
        except RuntimeError:
            logger.info("A fact came after the node had ended; other nodes sweep it up.")

    def _tell_next(self, fact: Any) -> None:
        # In the loop's next turn, together with the senders' answers: a socket that gets both is written to once.
        self.loop.call_soon(self._tell, fact)

    def _tell(self, fact: Any) -> None:
        traced = announcing(fact.committed) if tracing.spans() and isinstance(fact, MessagesCommitted) else ()
        if isinstance(fact, MessagesCommitted):
            self.hub.receive(fact.committed)
            self.watchers.wake({item.message.number for item in fact.committed})
        elif isinstance(fact, ConversationChanged):
            self.hub.changed(fact)
            self.watchers.wake([fact.number])
        elif isinstance(fact, MessagesRedacted):
            self.hub.redactions.tell(fact)
            self.watchers.wake([fact.number])
        elif isinstance(fact, TokensRevoked):
            self.revocation_watch.hear(fact.revocations)
        publish_fact(self.layer, fact)
        if traced:
            announced(traced)
            passed_by(self.hub.rooms, fact.committed)

    def _tell_login(self, connection: Connection) -> None:
        caller = connection.caller
        self.layer.publish(LOGIN, key_of(caller.session), [caller.session, caller.platform, connection.protocol])

    def _on_envelope(self, kind: str, payload: Any, traces: Any = None) -> None:
        if kind == MESSAGES:
            committed = unpack_messages(payload)
            if traces:
                arrived(committed, traces)
            self.hub.receive(committed)
            if traces:
                passed_by(self.hub.rooms, committed)
            self.watchers.wake({item.message.number for item in committed})
        elif kind == CHANGE:
            fact, is_nameless = unpack_change(payload)
            self.hub.changed(fact, is_nameless=is_nameless)
            self.watchers.wake([fact.number])
        elif kind == REDACTED:
            redacted = unpack_redactions(payload)
            self.hub.redactions.tell(redacted)
            self.watchers.wake([redacted.number])
        elif kind == REVOKED:
            self.revocation_watch.hear(unpack_revocations(payload))
        elif kind == LOGIN:
            self.hub.end_older(*payload)


_node: Node | None = None


async def ensure_node() -> Node:
    """The node of this process, started."""
    global _node
    if _node is None:
        _node = Node()
        try:
            await _node.start()
        except BaseException:
            # The next request tries again, instead of waiting for a start that will not come.
            _node = None
            raise
    await _node.started()
    return _node


def is_node() -> bool:
    """Whether this process serves connections."""
    return _node is not None


def node() -> Node:
    """The node of this process, which the server has started."""
    if _node is None:
        raise Unavailable
    return _node


async def drain_node() -> None:
    """End the node, if there is one."""
    if _node is not None:
        await _node.drain()


async def is_ready() -> dict[str, str]:
    """What does not answer, by name (``database``, ``revocations``, ``ledger``, ``layer``); empty when all is well."""
    missing: dict[str, str] = {}
    try:
        async with asyncio.timeout(2):
            await in_database(_ask_database)
    except (TimeoutError, Unavailable, DatabaseError, InterfaceError):
        missing["database"] = "does not answer"
    if not revocations.is_known:
        missing["revocations"] = "were not read yet"
    if ledger().is_stuck:
        missing["ledger"] = "its writer hung and was replaced"
    if not node().layer.is_up:
        missing["layer"] = "does not answer"
    return missing


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
