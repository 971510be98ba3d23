"""A node in the test's own event loop, on the real database: hub, sweep and ledger without a server around them.

The clock of the database is the test's to move, facts can go unheard as they do between processes, and ``settled``
returns when nothing is under way any more, so that no test has to wait.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ParamSpec, TypeVar

import pytest

import gateway.node
from conversations import announcements, services
from gateway import entrance
from gateway.claims import Identity
from gateway.connection import Connection
from gateway.cursor import Cursor
from gateway.hub import Hub
from gateway.node import Node
from gateway.resume import SessionLoad
from gateway.revocation import revocations
from gateway.wire import Farewell, Frame
from messaging.ledger import ledger
from messaging.message import NewMessage, Receipt
from quickim.database import in_database
from quickim.errors import ConversationNotFound
from quickim.rest.callers import Caller

P = ParamSpec("P")
T = TypeVar("T")

_CLOCKS = (
    "quickim.database",
    "gateway.resume",
    "gateway.revocation",
    "gateway.tickets",
    "messaging.services",
    "messaging.retention",
)
_START = 1_767_225_600_000_000
_FAR_FUTURE = 2**40


class Clock:
    """Microseconds since the Unix epoch; it stands still until it is moved."""

    now = _START

    def __call__(self, reading: int | None = None) -> int:
        """What ``database_clock`` answers."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += int(seconds * 1_000_000)


class Reader(Connection):
    """A connection that keeps what it is given."""

    protocol = "reader"

    def __init__(self, session: str) -> None:
        super().__init__(Caller(session, 0), 2**20)
        self.received: list[dict[str, Any]] = []
        self.farewell: Farewell | None = None

    def push(self, frame: Frame) -> None:
        """See Connection."""
        self.received.append(json.loads(frame.body))

    def finish(self, farewell: Farewell) -> None:
        """See Connection."""
        self.farewell = farewell

    @property
    def pending(self) -> int:
        """It takes everything at once."""
        return 0

    async def drained(self) -> bool:
        """See Connection."""
        return not self.ended

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages it was given, in order."""
        return [item for item in self.received if "MsgId" in item]

    @property
    def texts(self) -> list[str]:
        """Their contents."""
        return [message["Content"] for message in self.messages]

    @property
    def events(self) -> list[str]:
        """The names of the notices it was given, in order."""
        return [item["Event"] for item in self.received if "Event" in item]


class InProcess:
    """See the module."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.node = Node()
        self._fact_listener = self.node._on_fact

    @property
    def hub(self) -> Hub:
        """The node's hub."""
        return self.node.hub

    async def start(self) -> None:
        """Listens to facts and makes the first sweep."""
        announcements.subscribe(self._fact_listener)
        await self.sweep()

    async def stop(self) -> None:
        """Ends what runs; the process's ledger lives on."""
        self.stop_listening()
        await self.hub.repairs.close()

    def stop_listening(self) -> None:
        """Facts are unheard from now on."""
        with suppress(ValueError):
            announcements._listeners.remove(self._fact_listener)

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """What is done inside is done in another process, without a layer between the two."""
        self.stop_listening()
        try:
            yield
        finally:
            announcements.subscribe(self._fact_listener)

    @contextmanager
    def held_facts(self) -> Iterator[list[Any]]:
        """Facts are collected instead of heard; ``tell`` them later."""
        facts: list[Any] = []
        announcements.subscribe(facts.append)
        try:
            with self.unheard():
                yield facts
        finally:
            announcements._listeners.remove(facts.append)

    async def tell(self, fact: Any) -> None:
        """The node hears ``fact`` now."""
        self.node._tell(fact)
        await self.settled()

    async def sweep(self) -> None:
        """One sweep, and what follows from it."""
        await self.node.sweep.once()
        await self.settled()

    async def settled(self) -> None:
        """Returns when all that was committed and heard is handed out as far as it can be."""
        await self.announced()
        await self.levelled()

    async def announced(self) -> None:
        """Returns when what the ledger was given before is committed and told."""
        # The writer announces before it takes its next batch.
        with suppress(ConversationNotFound):
            await ledger().send(NewMessage("no conversation", "", 0, 0, ""))

    async def levelled(self) -> None:
        """Returns when all that was heard is handed out as far as it can be."""
        while True:
            for room in list(self.hub.rooms.values()):
                if room.gap_timer is not None:
                    await self.hub.repairs.level(room)
            tasks = self.hub.repairs._tasks
            if not tasks:
                return
            await asyncio.wait(tasks)

    async def connect(self, session: str, cursor: Cursor | None = None) -> Reader:
        """A connected reader, with all that it missed."""
        reader = await self.enter(session, await entrance.load(session, cursor), cursor)
        await self.settled()
        return reader

    async def enter(self, session: str, loaded: SessionLoad, cursor: Cursor | None = None) -> Reader:
        """A reader that was let in with what was ``loaded``; its replay may still be under way."""
        # The doors know one node a process.
        gateway.node._node = self.node
        reader = Reader(session)
        await entrance.enter(reader, Identity(reader.caller, _FAR_FUTURE), loaded, cursor)
        return reader

    async def do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A service or selector, on a database thread."""
        result = await in_database(function, *args, **kwargs)
        await self.settled()
        return result

    async def create(self, *sessions: str, conversation_type: int = 1) -> str:
        """A conversation's id."""
        conversation = await self.do(services.create_conversation, conversation_type, list(sessions))
        return str(conversation.public_id)

    async def send(self, conversation_id: str, session: str, content: str) -> Receipt:
        """Sends, and lets it be delivered."""
        receipt = await ledger().send(NewMessage(conversation_id, session, 0, 0, content))
        await self.settled()
        return receipt


def use_clock(patch: pytest.MonkeyPatch, clock: Clock) -> None:
    """Everybody who asks the database for the time asks ``clock``."""
    for module in _CLOCKS:
        patch.setattr(f"{module}.database_clock", clock)
    # What is learned of this clock is forgotten with it.
    patch.setattr(revocations, "_offset", 0)
