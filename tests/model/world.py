"""The ground of the stateful model: two nodes on one database, a clock of the test's, and a check after every step.

A step may be heard by both nodes, by one, or by none (as if done by another process while the layer is away); then
the nodes' sweeps have to find it. Every node sweeps at least every five seconds, as it must.
"""

import asyncio
import itertools
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from messaging import history
from messaging.message import NewMessage, Receipt
from quickim.database import in_database
from quickim.errors import NotMember
from quickim.rest.callers import Caller
from tests.gateway.in_process import Clock, InProcess
from tests.model.followers import Follower, ModelRoom

T = TypeVar("T")

SWEEP_EVERY_SECONDS = 5.0


class RunningClock(Clock):
    """No two readings are the same, as on a real machine; still, thousands of steps share a millisecond."""

    def __call__(self) -> int:
        """What ``database_clock`` answers."""
        self.now += 1
        return self.now


CLOCK = RunningClock()
_examples = itertools.count()


class World(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.suffix = next(_examples)
        self.rooms: dict[str, ModelRoom] = {}
        self.followers: list[Follower] = []
        self.nodes: list[InProcess] = []
        self.stale: set[InProcess] = set()
        """Nodes that did not hear of something since their last sweep."""
        self.since_sweep = 0.0
        self.platforms = itertools.count()
        self.sent: list[tuple[NewMessage, Receipt]] = []

    # Running a step

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """One step, and then everybody checks what he was given."""
        before = {identifier: room.active for identifier, room in self.rooms.items()}
        result = self.loop.run_until_complete(work)
        for node in self.nodes:
            self.loop.run_until_complete(node.settled())
        self.check(before)
        return result

    def check(self, before: dict[str, set[str]]) -> None:
        """Nobody is given what is not his; whoever listens to a node that is up to date has everything."""
        for follower in self.followers:
            follower.absorb_stream(self.allowed(follower.session, before))
            if follower.reader is not None and follower.node not in self.stale:
                follower.check_complete()

    def allowed(self, session: str, before: dict[str, set[str]]) -> set[str]:
        """The conversations of which the session was a member before or after the step."""
        return {
            identifier
            for identifier, room in self.rooms.items()
            if session in room.active or session in before.get(identifier, ())
        }

    @contextmanager
    def heard_by(self, heard: tuple[int, ...]) -> Iterator[None]:
        """Only these nodes hear what is done inside."""
        with ExitStack() as stack:
            for index, node in enumerate(self.nodes):
                if index not in heard:
                    self.stale.add(node)
                    stack.enter_context(node.unheard())
            yield

    def a_session(self, name: str) -> str:
        """A name that no other example uses."""
        return f"{name}-{self.suffix}"

    def a_room(self, choice: int) -> ModelRoom:
        """One of the conversations."""
        return list(self.rooms.values())[choice % len(self.rooms)]

    def a_follower(self, choice: int, *, connected: bool) -> Follower:
        """One of the clients that are, or are not, connected."""
        found = [one for one in self.followers if (one.reader is not None) == connected]
        return found[choice % len(found)]

    def has_follower(self, *, connected: bool) -> bool:
        """Whether there is one."""
        return any((one.reader is not None) == connected for one in self.followers)

    def start(self) -> None:
        """Two nodes, and a world that is older than they are."""
        CLOCK.advance(1_000)

        async def begin() -> None:
            for _ in range(2):
                node = InProcess(CLOCK)
                await node.start()
                self.nodes.append(node)

        self.run(begin())

    def teardown(self) -> None:
        """In the end everybody has everything."""

        async def end() -> None:
            for node in self.nodes:
                await node.stop()

        try:
            if self.nodes:
                self.sweep_all()
                self.finish()
                for room in self.rooms.values():
                    self.compare_history(room, Caller.SYSTEM)
        finally:
            self.loop.run_until_complete(end())
            self.loop.close()

    def finish(self) -> None:
        """What is left to do at the end, when both nodes are up to date."""

    # Time

    @rule(seconds=st.sampled_from([0.0005, 0.01, 0.9, 2.5, 4.0, 9.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        """The clock moves; sweeps come in their time."""
        while seconds > 0:
            step = min(seconds, SWEEP_EVERY_SECONDS - self.since_sweep)
            CLOCK.advance(step)
            seconds -= step
            self.since_sweep += step
            if self.since_sweep >= SWEEP_EVERY_SECONDS:
                self.sweep_all()

    def sweep_all(self) -> None:
        """Both nodes sweep."""
        for index in range(len(self.nodes)):
            self.sweep(index)
        self.since_sweep = 0.0

    @rule(index=st.integers(0, 1))
    def sweep(self, index: int) -> None:
        """One node sweeps, maybe before its time."""
        node = self.nodes[index]
        self.stale.discard(node)
        self.run(node.sweep())

    # History

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
        assert page == room.log
        assert backwards == room.log[::-1]
