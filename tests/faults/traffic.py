"""Traffic over a site while faults strike: senders and receivers on all nodes, and what they saw as one history.

Laws: every receiver has a session of its own, is a member of every conversation from its first message on, and has
received before the first fault, so that its cursor holds everything. ``settled`` ends the traffic and proves that
nothing was lost, doubled or out of order, by the exact rules of ``tests.chaos.invariants``.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from types import TracebackType
from typing import Self, TypeVar

import httpx

from tests.chaos.history import Attempt, Fault, FaultKind, Histories, History, Membership, Reader, Row, digest
from tests.chaos.invariants import RULES
from tests.clients import Api, Person, Protoc, fresh, mint
from tests.databases import holds_within
from tests.faults.place import Place
from tests.faults.receivers import Receiver
from tests.faults.senders import Log, Sender

T = TypeVar("T")

PROTOCOLS: tuple[Protoc, ...] = ("ws", "sse", "poll")
WAIT_SECONDS = 30.0
"""How long anything may take that has to happen in the end."""
MAX_REFUSALS = 10
"""As many connections as a node's pool holds: all of them may have died while nobody asked for one."""


class Traffic:
    """See the module: ``async with Traffic(site) as traffic``.

    ``receivers`` of each protocol start on each node; senders pause for ``pause_seconds`` between two messages. In
    ``quiet`` rooms nobody sends but the test, through ``spares``: one sender at home on each node.
    """

    def __init__(
        self,
        site: Place,
        *,
        senders: int = 6,
        rooms: int = 4,
        receivers: int = 1,
        quiet: int = 0,
        pause_seconds: float = 0.03,
    ) -> None:
        self.site = site
        self.log = Log()
        self.receivers: list[Receiver] = []
        self.senders: list[Sender] = []
        self.spares: list[Sender] = []
        self.rooms: list[str] = []
        """All of them; the last are ``quiet``."""
        self.quiet: list[str] = []
        self.faults: list[Fault] = []
        self._counts = (senders, rooms, receivers, quiet)
        self._pause_seconds = pause_seconds
        self._stopping = asyncio.Event()
        self._refused_reads = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._talks: list[asyncio.Task[None]] = []
        self._exits = AsyncExitStack()
        self.apis: list[Api] = []

    async def __aenter__(self) -> Self:
        # A connection of its own for each request: workers behind one url share them out.
        keep_alive = len(self.site.urls) > 1
        for url in self.site.urls:
            self.apis.append(await self._exits.enter_async_context(Api(url, keep_alive=keep_alive)))
        await self._people()
        self._tasks = [asyncio.create_task(receiver.run()) for receiver in self.receivers]
        await self.within(asyncio.gather(*(receiver.connected.wait() for receiver in self.receivers)))
        await self.send_to_all()
        self._talks = [asyncio.create_task(sender.run(self._stopping, self._pause_seconds)) for sender in self.senders]
        return self

    async def _people(self) -> None:
        """Makes receivers, senders and rooms."""
        senders, rooms, receivers, quiet = self._counts
        urls = self.site.urls
        numbers = count()
        for node in range(len(urls)):
            for protoc in PROTOCOLS * receivers:
                session = fresh(f"{protoc}{node}")
                self.receivers.append(Receiver(session, partial(mint, session), protoc, urls, node, numbers))
        talkers = [fresh(f"sender{number}") for number in range(senders + len(urls))]
        members = talkers + [receiver.session for receiver in self.receivers]
        self.rooms = [await self.apis[0].conversation(*members) for _ in range(rooms + quiet)]
        loud, self.quiet = self.rooms[:rooms], self.rooms[rooms:]
        everybody = [Sender(session, self.apis, number, loud, self.log) for number, session in enumerate(talkers)]
        self.spares, self.senders = everybody[: len(urls)], everybody[len(urls) :]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks + self._talks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, *self._talks, return_exceptions=True)
        await self._exits.aclose()
        for outcome in ended:
            if kind is None and isinstance(outcome, Exception):
                raise outcome

    # While it runs

    @asynccontextmanager
    async def fault(self, name: str, node: int | None = None, kind: FaultKind = "") -> AsyncIterator[Fault]:
        """A fault that lasts for the block. It begins when a send (to ``node``) is under way, and hits that one."""
        while not (hit := self._under_way(node)):  # what was under way may have ended before this task's turn
            await self.within(self.log.wait_until(lambda: bool(self._under_way(node))))
        fault = Fault(name, time.monotonic(), 0.0, len(hit))
        yield fault
        self.faults.append(Fault(name, fault.began, time.monotonic(), fault.in_flight, kind))

    @contextmanager
    def phase(self) -> Iterator[list[Attempt]]:
        """The attempts that begin in the block and have ended by its end."""
        began = time.monotonic()
        found: list[Attempt] = []
        yield found
        found += [attempt for attempt in self.log.attempts if attempt.began >= began]

    async def acknowledges(self, more: int) -> None:
        """Returns when this many more sends are acknowledged."""
        enough = self.log.acknowledged + more
        await self.within(self.log.wait_until(lambda: self.log.acknowledged >= enough))

    def send_from_home(self) -> None:
        """Senders that had to go elsewhere turn to their own node again."""
        for sender in self.senders:
            sender.go_home()

    async def lasts(self, seconds: float) -> None:
        """The fault's own length; fails when the traffic itself broke."""
        done, _ = await asyncio.wait(self._tasks + self._talks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def comes_true(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition holds, asked again and again on a thread; fails when it takes too long."""
        assert await self.within(asyncio.to_thread(holds_within, WAIT_SECONDS - 1, condition))

    async def hang_up(self, protoc: Protoc) -> None:
        """Ends the receivers on this protocol: they are no longer among ``receivers``."""
        for receiver, task in zip(self.receivers[:], self._tasks[:], strict=True):
            if receiver.protoc == protoc:
                self.receivers.remove(receiver)
                self._tasks.remove(task)
                task.cancel()
                await asyncio.wait([task])

    async def send_to_all(self) -> None:
        """One message that every receiver has got when this returns."""
        send = await self.within(self.senders[0].send(self.rooms[0], f"to all {fresh('')}"))
        await self.within(asyncio.gather(*(receiver.wait_for(send.msg_ids[0]) for receiver in self.receivers)))

    async def within(self, work: Awaitable[T], seconds: float = WAIT_SECONDS) -> T:
        """What ``work`` returns; fails when it takes too long, or at once when the traffic itself broke."""
        wanted = asyncio.ensure_future(work)
        try:
            await asyncio.wait(
                [wanted, *self._tasks, *self._talks], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for task in self._tasks + self._talks:
                if task.done():
                    task.result()
            assert wanted.done(), f"not within {seconds} s"
            return wanted.result()
        finally:
            wanted.cancel()
            await asyncio.gather(wanted, return_exceptions=True)

    @property
    def reconnections(self) -> int:
        """How many connections of receivers have ended."""
        return sum(len(receiver.connections) for receiver in self.receivers)

    def _under_way(self, node: int | None) -> list[Attempt]:
        return [attempt for attempt in self.log.under_way.values() if node in (None, attempt.node)]

    # Its end

    async def settled(self) -> History:
        """Stops the senders, waits until all is delivered, and proves that everything is as promised."""
        await self.fall_silent()
        await self.within(self.drained())
        history = await self.history()
        broken = violations(history)
        assert not broken, "\n".join(broken[:20])
        assert all(send.outcome == "ok" for send in history.sends), "a send failed for good"
        return history

    async def fall_silent(self) -> None:
        """Stops the senders; each settles what it has under way."""
        self._stopping.set()
        await asyncio.wait_for(asyncio.gather(*self._talks), WAIT_SECONDS)
        self._talks = []

    async def drained(self) -> None:
        """Returns when every receiver has the last message of each of his conversations."""
        memberships = await asyncio.to_thread(self._memberships)
        last = {row.conversation: row.msg_id for row in await asyncio.to_thread(self._rows)}
        lasting = {(one.session, one.conversation) for one in memberships if one.ended_seq is None}
        await asyncio.gather(
            *(
                receiver.wait_for(msg_id)
                for receiver in self.receivers
                for room, msg_id in last.items()
                if (receiver.session, room) in lasting
            )
        )

    async def history(self) -> History:
        """All that happened, and what the service and its database say about it now."""
        recorded = await self.recorded()
        return replace(recorded, histories=[await self._histories(room) for room in self.rooms])

    async def recorded(self) -> History:
        """All that happened, and what the database says about it now."""
        return History(
            sends=self.log.sends,
            attempts=self.log.attempts,
            deliveries=[delivery for receiver in self.receivers for delivery in receiver.deliveries],
            connections=[
                connection
                for receiver in self.receivers
                for connection in (*receiver.connections, receiver.now)
                if connection is not None
            ],
            memberships=await asyncio.to_thread(self._memberships),
            rows=await asyncio.to_thread(self._rows),
            faults=self.faults,
        )

    def _rows(self) -> list[Row]:
        found = self.site.messages(self.rooms)
        return [
            Row(room, seq, msg_id, session, client_msg_id, digest(content), send_time)
            for room, seq, msg_id, session, client_msg_id, content, send_time in found
        ]

    def _memberships(self) -> list[Membership]:
        return [Membership(*row) for row in self.site.memberships(self.rooms)]

    async def _histories(self, room: str) -> Histories:
        forward, backward = await self._history(room, desc=False), await self._history(room, desc=True)
        return Histories(room, forward, backward)

    async def _history(self, room: str, *, desc: bool) -> tuple[str, ...]:
        """All MsgIds, read page by page from one end."""
        reader, end = Person(self.apis[-1], self.senders[0].session), "end_msg_id" if desc else "start_msg_id"
        read: list[str] = []
        while True:
            bounds = {"start_msg_id": "", "end_msg_id": ""} | {end: read[-1] if read else ""}
            answer = await reader.call("get_conversation_msg_by_range", conversation_id=room, desc=desc, **bounds)
            if answer.status == httpx.codes.SERVICE_UNAVAILABLE and self._refused_reads < MAX_REFUSALS:
                # A connection of the node's that died while it was idle is noticed by whoever uses it first.
                answer.refused(10002, status=httpx.codes.SERVICE_UNAVAILABLE)
                self._refused_reads += 1
                continue
            read += [message["MsgId"] for message in answer.data["Msg"]][bool(read) :]
            if not answer.data["HasMore"]:
                return tuple(read)


def violations(history: History) -> list[str]:
    """All broken rules, in words."""
    return [f"{name}: {what}" for name, rule in RULES.items() for what in rule(history)]


def lateness(history: History) -> dict[tuple[Reader, str], float]:
    """(reader, MsgId) → seconds from the acknowledgement to the first delivery; below zero when that came earlier."""
    return {key: one.at - history.acknowledged_at[one.msg_id] for key, one in history.first_deliveries.items()}


def ok_share(attempts: Sequence[Attempt]) -> float:
    """How many of ``attempts`` were acknowledged, from 0 to 1."""
    assert attempts, "nothing was attempted"
    return sum(attempt.is_ok for attempt in attempts) / len(attempts)
