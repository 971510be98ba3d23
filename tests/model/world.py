"""The ground of the stateful model: nodes on one database, a clock of the test's, and a check after every step.

Nodes come, drain and die. What one of them commits the others may hear of at once, late, twice or never; then their
sweeps have to find it. Every node sweeps at least every five seconds, unless a step says that it does not.
"""

import asyncio
import io
import itertools
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from django.db.models import Q
from hypothesis.stateful import RuleBasedStateMachine

from messaging import history
from messaging.models import Draft, Message
from quickim.database import in_database
from quickim.errors import NotMember
from quickim.rest.callers import Caller
from tests.gateway.in_process import Clock
from tests.model.air import Air
from tests.model.followers import Follower
from tests.model.gates import GATES
from tests.model.processes import Process, Worker
from tests.model.rooms import ModelRoom, Sent

T = TypeVar("T")

SWEEP_EVERY_SECONDS = 5.0
DRAFT_SWEPT_AFTER_MICROSECONDS = 2_000_000
MAX_NODES = 3
STEP_SECONDS = 60.0
"""By then a step has ended, on the slowest machine, or something waits for ever."""


class RunningClock(Clock):
    """No two readings are the same, as on a real machine; still, thousands of steps share a millisecond."""

    def __call__(self, reading: int | None = None) -> int:
        """What ``database_clock`` answers."""
        self.now += 1
        return self.now


CLOCK = RunningClock()
_examples = itertools.count()


async def _in_time(work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns. Raises AssertionError, with what everybody waits for, when it does not end."""
    task = asyncio.get_running_loop().create_task(work)
    await asyncio.wait({task}, timeout=STEP_SECONDS)
    if not task.done():
        stacks = io.StringIO()
        for one in asyncio.all_tasks():
            one.print_stack(file=stacks)
        task.cancel()
        raise AssertionError(f"a step does not end:\n{stacks.getvalue()}")
    return await task


async def together(*deeds: Coroutine[Any, Any, object]) -> None:
    """All at the same time, each to its end. Raises what the first one that failed did."""
    for outcome in await asyncio.gather(*deeds, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


class World(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.was_gate_passed = False
        self.suffix = next(_examples)
        self.air = Air()
        self.rooms: dict[str, ModelRoom] = {}
        self.followers: list[Follower] = []
        self.nodes: list[Worker] = []
        self.gone: list[tuple[Process, int]] = []
        """Those that are still to be buried, and how much their clients had not processed."""
        self.outside: Process | None = None
        """Commits and serves nobody: a command, a product's own back end."""
        self.since_sweep = 0.0
        self.platforms = itertools.count()
        self.sent: dict[str, Sent] = {}
        """By content, which is of one send alone."""
        self._doubtful: set[Worker] = set()
        GATES.reset()

    # Running a step

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """One step, and then everybody checks what he was given."""
        for room in self.rooms.values():
            room.in_step = room.active
        self._doubtful = {node for node in self.nodes if node.is_stale}
        result = self.loop.run_until_complete(_in_time(work))
        self.loop.run_until_complete(_in_time(self.settle()))
        self.was_gate_passed = not GATES.disarm()
        self.check()
        return result

    async def settle(self) -> None:
        """Returns when nothing is under way any more."""
        for node in self.nodes:
            await node.settled()
        await self.read_rows()
        for process, unprocessed in self.gone:
            if isinstance(process, Worker):
                self._end_clients(process, unprocessed)
                await process.stop()
            else:
                await process.bury()
        self.gone.clear()
        if not self.nodes:
            await self.start_node()
        # A node that comes up sweeps, and may find a draft.
        await self.read_rows()

    def _end_clients(self, node: Worker, unprocessed: int) -> None:
        for follower in self.followers:
            if follower.node is node and follower.reader is not None:
                follower.absorb_stream(self.allowed(follower))
                follower.disconnected(unprocessed)

    def check(self) -> None:
        """Nobody is given what is not his; whoever listens to a node that is up to date has everything."""
        for follower in self.followers:
            follower.absorb_stream(self.allowed(follower))
            if follower.reader is not None:
                self.check_complete(follower)

    def check_complete(self, follower: Follower) -> None:
        """He has everything, if his node is up to date."""
        node = follower.node
        if node is not None and not node.is_stale and not node.is_dead:
            follower.check_complete(node.must_give)

    def allowed(self, follower: Follower) -> set[str]:
        """The conversations of which the session was a member in this step; a node that has not heard of the end may
        still give what was said before."""
        node = follower.node
        if node is not None and (node.is_stale or node in self._doubtful):
            return set(self.rooms)
        return {name for name, room in self.rooms.items() if follower.session in room.in_step | room.active}

    async def read_rows(self) -> None:
        """What is in the database now, and must be something that was sent."""
        new = Q(pk="")
        for room in self.rooms.values():
            new |= Q(conversation_id=room.number, seq__gt=len(room.log))
        for row in await in_database(lambda: list(Message.objects.filter(new).order_by("conversation_id", "seq"))):
            sent = self.sent[row.content]
            # Another reading, at the same time, may have found it.
            if sent.row is None or sent.row.msg_id != row.msg_id:
                sent.store(row)

    # Choices

    def a_session(self, name: str) -> str:
        """A name that no other example uses."""
        return f"{name}-{self.suffix}"

    def a_room(self, choice: int) -> ModelRoom:
        """One of the conversations."""
        return list(self.rooms.values())[choice % len(self.rooms)]

    def a_node(self, choice: int) -> Worker:
        """One of the nodes that live."""
        return self.nodes[choice % len(self.nodes)]

    def a_process(self, choice: int) -> Process:
        """One of the nodes, or seldom the process that serves nobody."""
        assert self.outside is not None
        return self.outside if choice % 4 == 3 or not self.nodes else self.a_node(choice)

    def a_follower(self, choice: int, *, connected: bool) -> Follower | None:
        """One of the clients that are, or are not, connected."""
        found = [one for one in self.followers if (one.reader is not None) == connected]
        return found[choice % len(found)] if found else None

    # Nodes

    def start(self) -> None:
        """Two nodes, and a world that is older than they are."""
        CLOCK.advance(1_000)

        async def begin() -> None:
            self.outside = Process(CLOCK, self.air)
            for _ in range(2):
                await self.start_node()

        self.run(begin())

    async def start_node(self) -> None:
        """A node comes up."""
        node = Worker(CLOCK, self.air)
        await node.start()
        self.nodes.append(node)

    def lose_process(self, process: Process, unprocessed: int = 0) -> None:
        """It is gone at once, with everything that it has not done; its clients have not processed all either."""
        if any(process is one for one, _ in self.gone):
            return
        process.is_dead = True
        self._let_go(process, unprocessed)

    def drain_node(self, node: Worker) -> None:
        """It says ``bye`` to everybody and ends."""
        node.is_draining = True
        node.hub.say_goodbye()
        self._let_go(node, 0)

    def _let_go(self, process: Process, unprocessed: int) -> None:
        self.gone.append((process, unprocessed))
        if isinstance(process, Worker):
            self.nodes.remove(process)
            self.air.leave(process)
        else:
            self.outside = Process(CLOCK, self.air)

    # Sweeping

    async def sweep(self, *nodes: Worker, full: bool = False) -> None:
        """These nodes sweep at the same time, maybe before their time."""
        waiting = [one for one in self.sent.values() if one.posted_at and one.row is None and one.is_open]
        began = CLOCK.now
        await together(*(node.sweep(full=full) for node in nodes))
        # Whom one of them takes, another passes by; and what a dying one held is looked at again only later.
        if waiting and not any(node.is_dead for node in nodes):
            await self.read_rows()
            for one in waiting:
                if one.row is None and one.posted_at < began - DRAFT_SWEPT_AFTER_MICROSECONDS:
                    await self.check_refused(one)

    async def check_refused(self, sent: Sent) -> None:
        """A posted message that a sweep did not bring was refused, and its draft says so."""
        drafts = await in_database(
            lambda: list(Draft.objects.filter(conversation=sent.room.number, content=sent.draft.content))
        )
        assert [bool(draft.refused_code) for draft in drafts] == [True], f"a posted message is lost: {sent.draft}"
        assert sent.was_barred, f"refused without a reason: {sent.draft}"
        sent.is_open = False

    async def look_at_refused(self, room: ModelRoom) -> None:
        """Before they may be pruned: who was refused had to be."""
        refused = Draft.objects.filter(conversation=room.number, refused_code__gt=0).values_list("content", flat=True)
        for content in await in_database(lambda: list(refused)):
            if (one := self.sent[content]).is_open:
                await self.check_refused(one)

    async def sweep_all(self, *, full: bool = False) -> None:
        """All nodes sweep that do, at the same time."""
        if nodes := [node for node in self.nodes if full or node.sweeps_by_itself]:
            await self.sweep(*nodes, full=full)
        self.since_sweep = 0.0

    def pass_time(self, seconds: float) -> None:
        """The clock moves; sweeps come in their time."""
        while seconds > 0:
            step = min(seconds, SWEEP_EVERY_SECONDS - self.since_sweep)
            CLOCK.advance(step)
            seconds -= step
            self.since_sweep += step
            if self.since_sweep >= SWEEP_EVERY_SECONDS:
                self.run(self.sweep_all())

    # The end

    def teardown(self) -> None:
        """In the end everybody has everything."""
        try:
            if self.nodes:
                self.air.heal()
                CLOCK.advance(DRAFT_SWEPT_AFTER_MICROSECONDS / 1_000_000)
                # What a draft became is told by one sweep, and seen by the next.
                for _ in range(2):
                    self.run(self.sweep_all(full=True))
                self.finish()
                for room in self.rooms.values():
                    self.compare_history(room, Caller.SYSTEM)
        finally:
            self.loop.run_until_complete(self.end())
            self.loop.close()

    def finish(self) -> None:
        """What is left to do at the end, when all nodes are up to date."""

    async def end(self) -> None:
        """Nothing is left."""
        GATES.reset()
        for process in [*self.nodes, *(one for one, _ in self.gone), self.outside]:
            if isinstance(process, Worker):
                await process.stop()
            elif process is not None:
                await process.bury()
        await self.loop.shutdown_default_executor()

    def compare_history(self, room: ModelRoom, caller: Caller) -> None:
        """Forwards in one page, backwards in pages of thirty."""

        async def work() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
            page, more = await in_database(history.range_page, caller, room.identifier, "", "", newest_first=False)
            assert not more
            backwards = await in_database(history.last, caller, room.identifier, 30, newest_first=True)
            while backwards and len(backwards) % 30 == 0:
                last = backwards[-1]["MsgId"]
                older = await in_database(history.before, caller, room.identifier, last, newest_first=True)
                if not older:
                    break
                backwards += older
            return page, backwards

        if not caller.is_system and caller.session not in room.active:
            with pytest.raises(NotMember):
                self.run(work())
            return
        page, backwards = self.run(work())
        assert page == room.log[room.pruned :]
        assert backwards == room.log[room.pruned :][::-1]
