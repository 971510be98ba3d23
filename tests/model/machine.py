"""All that may happen in the stateful model, and how often: see tests.model.talk, clients and troubles for the deeds,
tests.model.world for what is checked after each step."""

from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from quickim.rest.callers import Caller
from tests.model.gates import GATES, PLACES, Place
from tests.model.processes import TROUBLES
from tests.model.talk import MAX_ROOMS
from tests.model.troubles import Troubles
from tests.model.world import MAX_NODES, together

NAMES = ("alice", "bob", "charlie")
MAX_POLLS = 60

Deed = tuple[Any, ...]
"""The name of a deed, and its arguments."""

pick = st.integers(0, 59)
"""Chooses among what there is, modulo its number."""
index = st.integers(0, 3)
"""Chooses a node, or a process."""
names = st.sampled_from(NAMES)
senders = st.sampled_from((*NAMES, ""))
unprocessed = st.integers(0, 3)
fates = st.sampled_from(("", "", "lost", "held", "dies"))
"""What becomes of an announcement, or of the process before it can announce anything."""
fates_of_sends = st.sampled_from(("", "", "", "lost", "lost", "held", "held", *TROUBLES))
ages = st.sampled_from((0.0, 3.0, 8.0, 20.0))


def deed(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Deed]:
    """``do_<name>`` with such arguments."""
    return st.tuples(st.just(name), *arguments)


says = deed("say", index, fates_of_sends, st.lists(st.tuples(pick, senders), min_size=1, max_size=4))
changes = st.one_of(
    deed("join", index, fates, pick, names, st.booleans()),
    deed("leave", index, fates, pick, names, st.booleans()),
    deed("archive", index, fates, pick, st.booleans()),
)
posts = deed("post", index, st.sampled_from(("", "lost", "dies", "dies")), pick, senders)
repeats = deed("repeat", index, st.sampled_from(("", "lost", "held")), pick)
tellings = deed("tell", st.lists(st.tuples(pick, st.booleans()), min_size=1, max_size=4))
prunings = deed("prune", pick, ages)
ends = st.one_of(deed("die", index, unprocessed), deed("drain", index))
troubles = st.one_of(
    deed("deafen", index, index, st.sampled_from(("lost", "held"))),
    deed("lose_layer"),
    deed("heal_layer"),
    deed("heal_layer"),
    deed("stop_sweeping", index, st.booleans()),
)
drops = deed("drop", pick, unprocessed)
deaths = deed("die", index, unprocessed)
sweeps = deed("sweep", index, st.booleans())
returns = st.one_of(
    deed("resume", pick, index), deed("connect", names, index), deed("poll", pick, index, st.booleans())
)

quiet = st.one_of(says, changes, posts, repeats, tellings, prunings, drops, deaths)
"""What never waits for a hub, and so may be done while one is at work."""


class Messenger(Troubles):
    """See the module."""

    @initialize()
    def meet(self) -> None:
        """Two conversations, and clients who are in both."""
        self.start()
        for _ in range(2):
            self.run(self.do_create(0, "", set(NAMES), 7))
        for where, name in enumerate((*NAMES, "alice")):
            self.run(self.do_connect(name, where))

    async def perform(self, what: Deed) -> None:
        """One deed."""
        await getattr(self, f"do_{what[0]}")(*what[1:])

    def finish(self) -> None:
        """Whoever is away comes back by polling."""
        for follower in self.followers:
            if follower.reader is None:
                self.poll_to_the_end(follower, 0)

    # Conversations and messages

    @precondition(lambda self: len(self.rooms) < MAX_ROOMS)
    @rule(origin=index, fate=fates, members=st.sets(names, min_size=1), kind=st.integers(0, 31))
    def create(self, origin: int, fate: str, members: set[str], kind: int) -> None:
        """A new conversation."""
        self.run(self.do_create(origin, fate, members, kind))

    @rule(what=changes)
    def change(self, what: Deed) -> None:
        """A member joins or leaves, a conversation is archived."""
        self.run(self.perform(what))

    @rule(what=says, then=says)
    def say(self, what: Deed, then: Deed) -> None:
        """Messages are sent."""
        self.run(self.perform(what))
        self.run(self.perform(then))

    @rule(what=posts, then=repeats)
    def post_and_repeat(self, what: Deed, then: Deed) -> None:
        """A product's own code posts a message, and a sender repeats what he may have had no answer to."""
        self.run(self.perform(what))
        self.run(self.perform(then))

    @rule(what=prunings, choice=pick, name=names)
    def prune_and_page(self, what: Deed, choice: int, name: str) -> None:
        """Old messages are deleted; a session reads the history, if it may."""
        self.run(self.perform(what))
        self.compare_history(self.a_room(choice), Caller(self.a_session(name), 0))

    @rule(origin=index, fate=fates, choice=pick, name=names, kicked=st.booleans(), count=st.integers(1, 4))
    def miss_something(self, origin: int, fate: str, choice: int, name: str, kicked: bool, count: int) -> None:
        """A session is away for some messages, which are never to be pushed to it."""
        self.run(self.do_leave(origin, fate, choice, name, kicked))
        self.run(self.do_say(origin, fate, [(choice, "")] * count))
        self.run(self.do_join(origin, fate, choice, name, False))

    @rule(
        sends=st.lists(st.tuples(index, pick, names), min_size=2, max_size=12),
        way=st.sampled_from(("", "lost", "held")),
        returning=pick,
    )
    def send_at_once(self, sends: list[tuple[int, int, str]], way: str, returning: int) -> None:
        """Many send at the same time, by all processes, and meanwhile a client comes back."""

        async def work() -> None:
            crowd = [
                (self.a_process(origin), self.new_message(self.a_room(choice), self.a_session(name)))
                for origin, choice, name in sends
            ]
            follower = self.a_follower(returning, connected=False)
            coming = [self.resume_on(follower, self.a_node(returning))] if follower and follower.cursor else []
            with self.air.everywhere("lost" if way == "lost" else "held" if way == "held" else "open"):
                await together(self.send_all(crowd), *coming)

        self.run(work())

    # Clients

    @rule(what=returns)
    def come(self, what: Deed) -> None:
        """A client connects, resumes or polls."""
        self.run(self.perform(what))

    @rule(what=drops, choice=pick, where=st.none() | index)
    def roam(self, what: Deed, choice: int, where: int | None) -> None:
        """A client loses its connection, and one comes back at once, or nobody does."""
        self.run(self.perform(what))
        if where is not None:
            self.run(self.do_resume(choice, where))

    @rule(choice=pick, where=index)
    def poll(self, choice: int, where: int) -> None:
        """A client, which sees that there is nothing more when a poll brings nothing."""
        self.poll_to_the_end(self.a_follower(choice, connected=False), where)

    def poll_to_the_end(self, follower: Any, where: int) -> None:
        """Polls until there is nothing."""
        if follower is None:
            return
        if follower.cursor is None:
            follower.start_anew()
        for _ in range(MAX_POLLS):
            if not self.run(self.poll_on(follower, self.a_node(where))):
                break
        else:
            raise AssertionError(f"the polls of {follower.session} do not end")
        self.check_complete(follower)

    @rule(choice=pick, where=index, what=st.lists(quiet, max_size=3), is_lost=st.booleans())
    def poll_meanwhile(self, choice: int, where: int, what: list[Deed], is_lost: bool) -> None:
        """Something happens while a poll waits; what its node did not hear of must come with a later one."""
        follower, node = self.a_follower(choice, connected=False), self.a_node(where)
        if follower is None:
            return
        self.poll_to_the_end(follower, where)

        async def all_of_it() -> None:
            for one in what:
                await self.perform(one)

        self.run(self.poll_on(follower, node, is_lost=is_lost, meanwhile=all_of_it))

    # Nodes, sweeps, and what nodes hear

    @rule(what=st.one_of(sweeps, tellings))
    def sweep_or_tell(self, what: Deed) -> None:
        """One node sweeps before its time; or announcements that were held back arrive, in any order, also twice."""
        self.run(self.perform(what))

    @rule(what=ends, instead=st.booleans(), taking_over=st.none() | index)
    def end_node(self, what: Deed, instead: bool, taking_over: int | None) -> None:
        """A node is killed or says goodbye; another one comes up in the midst of everything, or does not; a node takes
        over whoever is away."""
        self.run(self.perform(what))
        if instead and len(self.nodes) < MAX_NODES:
            self.run(self.start_node())
        if taking_over is not None:
            while self.a_follower(0, connected=False) is not None:
                self.run(self.do_resume(0, taking_over))

    @rule(what=troubles)
    def trouble(self, what: Deed) -> None:
        """What nodes hear from each other changes, or how they sweep."""
        self.run(self.perform(what))

    @rule(seconds=st.sampled_from((0.0005, 0.01, 0.9, 2.5, 4.0, 9.0, 30.0)))
    def time_passes(self, seconds: float) -> None:
        """The clock moves; sweeps come in their time."""
        self.pass_time(seconds)

    @rule(
        main=st.one_of(returns, sweeps, tellings, says, changes),
        place=st.sampled_from(PLACES),
        reads=st.integers(1, 3),
        inner=quiet,
    )
    def meanwhile(self, main: Deed, place: Place, reads: int, inner: Deed) -> None:
        """Something happens exactly between what a node reads and what it makes of it."""
        GATES.arm(place, reads, partial(self.perform, inner))
        self.run(self.perform(main))
        if not self.was_gate_passed:
            self.run(self.perform(inner))
