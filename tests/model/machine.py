"""All that may happen in the stateful model: conversations change, messages are sent, clients come and go."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

import gateway.node
from conversations import services
from gateway import cursor
from gateway.tokens import Identity
from gateway.transports.poll import answer_poll
from messaging import history
from messaging.ledger import ledger
from messaging.message import NewMessage, Receipt
from quickim.database import in_database
from quickim.errors import ConversationArchived, NotMember, QuickimError, RemovedFromConversation
from quickim.rest.callers import Caller
from tests.gateway.in_process import InProcess
from tests.model.followers import Follower, ModelRoom
from tests.model.world import World

NAMES = ("alice", "bob", "charlie")
MAX_ROOMS, MAX_FOLLOWERS, MAX_POLLS = 4, 6, 60

pick = st.integers(0, 59)
"""Chooses among what there is, modulo its number."""
names = st.sampled_from(NAMES)
listeners = st.sampled_from([(0, 1), (0, 1), (0,), (1,), ()])


class Messenger(World):
    """See the module."""

    @initialize()
    def meet(self) -> None:
        """Two conversations, and two clients who are in both."""
        self.start()
        for _ in range(2):
            self.create(set(NAMES), 7, (0, 1))
        self.connect("alice", 0)
        self.connect("bob", 1)

    def finish(self) -> None:
        """Whoever is away comes back by polling."""
        for _ in range(len(self.followers)):
            if self.has_follower(connected=False):
                self.poll(0, 0)
                self.followers.append(self.followers.pop(self.followers.index(self.a_follower(0, connected=False))))

    # Conversations

    @precondition(lambda self: len(self.rooms) < MAX_ROOMS)
    @rule(members=st.sets(names, min_size=1), kind=st.integers(0, 31), heard=listeners)
    def create(self, members: set[str], kind: int, heard: tuple[int, ...]) -> None:
        """A new conversation."""

        async def work() -> None:
            sessions = sorted(self.a_session(name) for name in members)
            with self.heard_by(heard):
                row = await in_database(services.create_conversation, kind, sessions)
                room = self.rooms[str(row.public_id)] = ModelRoom(str(row.public_id))
            for session in sessions:
                room.enter(session)

        self.run(work())

    @precondition(lambda self: self.rooms)
    @rule(choice=pick, name=names, by_himself=st.booleans(), heard=listeners)
    def join(self, choice: int, name: str, by_himself: bool, heard: tuple[int, ...]) -> None:
        """A session joins, or is let in."""
        room, session = self.a_room(choice), self.a_session(name)
        refused: type[QuickimError] | None = None
        if by_himself and session not in room.active:
            if session in room.kicked:
                refused = RemovedFromConversation
            elif room.is_archived:
                refused = ConversationArchived

        async def work() -> None:
            joining = in_database(services.join_conversation, room.identifier, [session], by_himself=by_himself)
            if refused is not None:
                with pytest.raises(refused):
                    await joining
                return
            with self.heard_by(heard):
                await joining
            room.enter(session)

        self.run(work())

    @precondition(lambda self: self.rooms)
    @rule(choice=pick, name=names, kicked=st.booleans(), heard=listeners)
    def leave(self, choice: int, name: str, kicked: bool, heard: tuple[int, ...]) -> None:
        """A session leaves or is kicked."""
        room, session = self.a_room(choice), self.a_session(name)

        async def work() -> None:
            with self.heard_by(heard):
                if kicked:
                    _, failed = await in_database(services.kick_out, room.identifier, [session])
                    assert failed == ([] if session in room.active else [session])
                else:
                    await in_database(services.leave_conversation, room.identifier, session)
            room.end(session, kicked=kicked)

        self.run(work())

    @precondition(lambda self: self.rooms)
    @rule(choice=pick, name=names, kicked=st.booleans(), heard=listeners, count=st.integers(1, 4))
    def miss_something(self, choice: int, name: str, kicked: bool, heard: tuple[int, ...], count: int) -> None:
        """A session is away for some messages, which are never to be pushed to it."""
        self.leave(choice, name, kicked, heard)
        self.send([(choice, "", heard)] * count)
        self.join(choice, name, False, heard)

    @precondition(lambda self: self.rooms)
    @rule(choice=pick, is_archived=st.booleans(), heard=listeners)
    def archive(self, choice: int, is_archived: bool, heard: tuple[int, ...]) -> None:
        """A conversation is archived, or is no longer."""
        room = self.a_room(choice)

        async def work() -> None:
            with self.heard_by(heard):
                await in_database(services.set_archived, [room.identifier], is_archived)
            room.is_archived = is_archived

        self.run(work())

    # Messages

    @precondition(lambda self: self.rooms)
    @rule(sends=st.lists(st.tuples(pick, st.one_of(names, st.just("")), listeners), min_size=1, max_size=5))
    def send(self, sends: list[tuple[int, str, tuple[int, ...]]]) -> None:
        """Sessions, or the system, send one after the other; not every node hears of each."""
        self.run(self.send_in_turn(sends))

    async def send_in_turn(self, sends: list[tuple[int, str, tuple[int, ...]]]) -> None:
        """(room, sender or nobody, who hears of it), one after the other."""
        for choice, name, heard in sends:
            await self.send_all([(self.a_room(choice), self.a_session(name) if name else "")], heard)

    @precondition(lambda self: self.rooms)
    @rule(senders=st.lists(st.tuples(pick, names), min_size=2, max_size=12), heard=listeners, returning=pick)
    def send_at_once(self, senders: list[tuple[int, str]], heard: tuple[int, ...], returning: int) -> None:
        """Many send at the same time, and meanwhile a client comes back."""
        sends = [(self.a_room(choice), self.a_session(name)) for choice, name in senders]

        async def work() -> None:
            coming = [one for one in self.followers if one.reader is None and one.cursor]
            returns = [self.resume_on(coming[returning % len(coming)], returning)] if coming else []
            await asyncio.gather(self.send_all(sends, heard), *returns)

        self.run(work())

    async def send_all(self, sends: list[tuple[ModelRoom, str]], heard: tuple[int, ...]) -> None:
        """Sends all of them at once; what is refused is refused to its sender alone."""
        drafts = [
            NewMessage(room.identifier, session, 1, 2, f"text {len(self.sent)}.{count}", f"{len(self.sent)}.{count}")
            for count, (room, session) in enumerate(sends)
        ]
        with self.heard_by(heard):
            outcomes = await asyncio.gather(*(ledger().send(one) for one in drafts), return_exceptions=True)
            # Announced is what was committed only when the writer takes the next: before the context ends.
            for node in self.nodes:
                await node.settled()
        stored = []
        for (room, session), draft, outcome in zip(sends, drafts, outcomes, strict=True):
            if session and session not in room.active:
                assert type(outcome) is NotMember
            elif session and room.is_archived:
                assert type(outcome) is ConversationArchived
            else:
                assert isinstance(outcome, Receipt), outcome
                stored.append((outcome.msg_id, room, draft, outcome))
        for msg_id, room, draft, receipt in sorted(stored, key=lambda one: one[0]):
            message = history.msg_object(
                room.identifier, msg_id, draft.session, receipt.send_time, 2, 1, draft.content, len(room.log) + 1
            )
            assert not room.log or room.log[-1]["MsgId"] < msg_id
            assert not room.log or room.log[-1]["SendTime"] <= receipt.send_time
            room.log.append(message)
            self.sent.append((draft, receipt))

    @precondition(lambda self: self.sent)
    @rule(choice=pick, heard=listeners)
    def repeat(self, choice: int, heard: tuple[int, ...]) -> None:
        """A client that did not hear the answer sends the same again."""
        draft, receipt = self.sent[choice % len(self.sent)]

        async def work() -> None:
            with self.heard_by(heard):
                again = await ledger().send(draft)
            assert (again.msg_id, again.send_time) == (receipt.msg_id, receipt.send_time)

        self.run(work())

    @precondition(lambda self: self.rooms)
    @rule(choice=pick, name=names)
    def page(self, choice: int, name: str) -> None:
        """A session reads the history, if it may."""
        self.compare_history(self.a_room(choice), Caller(self.a_session(name), 0))

    # Clients

    @precondition(lambda self: len(self.followers) < MAX_FOLLOWERS)
    @rule(name=names, index=st.integers(0, 1))
    def connect(self, name: str, index: int) -> None:
        """A new client connects, from now on."""
        follower = Follower(self.a_session(name), next(self.platforms), self.rooms)
        self.followers.append(follower)
        self.run(self.connect_on(follower, self.nodes[index], None))

    async def connect_on(self, follower: Follower, node: InProcess, text: str | None) -> None:
        """Connects a client to a node, from the cursor ``text``."""
        resumed = cursor.parse(text) if text else None
        reader = await node.connect(follower.session, resumed)
        follower.connected(node, reader, resumed)

    async def resume_on(self, follower: Follower, index: int) -> None:
        """A client comes back where it was, or starts anew when it has seen nothing."""
        if follower.cursor is None:
            follower.start_anew()
        await self.connect_on(follower, self.nodes[index % 2], follower.cursor)

    @precondition(lambda self: self.has_follower(connected=True))
    @rule(choice=pick)
    def drop(self, choice: int) -> None:
        """A client loses its connection."""
        self.a_follower(choice, connected=True).disconnected()

    @precondition(lambda self: self.has_follower(connected=True))
    @rule(choice=pick, index=st.integers(0, 1))
    def reconnect(self, choice: int, index: int) -> None:
        """A client loses its connection and comes back at once."""
        follower = self.a_follower(choice, connected=True)
        follower.disconnected()
        self.run(self.resume_on(follower, index))

    @precondition(lambda self: self.has_follower(connected=False))
    @rule(choice=pick, index=st.integers(0, 1))
    def resume(self, choice: int, index: int) -> None:
        """A client comes back, maybe to another node."""
        self.run(self.resume_on(self.a_follower(choice, connected=False), index))

    @precondition(lambda self: self.has_follower(connected=False))
    @rule(choice=pick, index=st.integers(0, 1))
    def poll(self, choice: int, index: int) -> None:
        """A client, which sees that there is nothing more when a poll brings nothing."""
        follower, node = self.a_follower(choice, connected=False), self.nodes[index]
        if follower.cursor is None:
            follower.start_anew()
        for _ in range(MAX_POLLS):
            answer = self.run(self.poll_once(follower, node))
            self.take(follower, answer)
            if not answer["Msg"] and not answer["Event"]:
                break
        else:
            raise AssertionError(f"the polls of {follower.session} do not end")
        if node not in self.stale:
            follower.check_complete()

    @precondition(lambda self: self.rooms and self.has_follower(connected=False))
    @rule(choice=pick, index=st.integers(0, 1), sends=st.lists(st.tuples(pick, names, listeners), max_size=4))
    def send_during_a_poll(self, choice: int, index: int, sends: list[tuple[int, str, tuple[int, ...]]]) -> None:
        """A poll waits while others send; what its node did not hear must come with a later one."""
        follower, node = self.a_follower(choice, connected=False), self.nodes[index]
        self.poll(choice, index)

        async def work() -> dict[str, Any]:
            waiting = asyncio.create_task(self.poll_once(follower, node))
            # Nothing tells from outside that a poll has begun to wait.
            while follower.session not in node.hub.sessions and not waiting.done():  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            await self.send_in_turn(sends)
            return await waiting

        self.take(follower, self.run(work()))

    async def poll_once(self, follower: Follower, node: InProcess) -> dict[str, Any]:
        """One poll, and its answer's ``data``."""
        gateway.node._node = node.node
        resumed = cursor.parse(follower.cursor) if follower.cursor else None
        follower.connected(node, None, resumed)
        response = await answer_poll(Identity(Caller(follower.session, follower.platform), 2**40), resumed)
        body = json.loads(response.content)
        assert body["code"] == 0
        answer: dict[str, Any] = body["data"]
        return answer

    def take(self, follower: Follower, answer: dict[str, Any]) -> None:
        """A client checks what a poll brought and keeps its cursor."""
        follower.absorb(answer["Event"] + answer["Msg"], self.allowed(follower.session, {}))
        assert len(answer["Cursor"]) <= cursor.MAX_CHARACTERS
        follower.cursor = answer["Cursor"]
