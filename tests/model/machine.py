"""All that may happen in the stateful model: conversations change, messages are sent, clients come and go."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

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
MAX_ROOMS, MAX_FOLLOWERS, MAX_POLLS = 3, 6, 10

pick = st.integers(0, 59)
"""Chooses among what there is, modulo its number."""
names = st.sampled_from(NAMES)
listeners = st.sampled_from([(0, 1), (0, 1), (0,), (1,), ()])


class Messenger(World):
    """See the module."""

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
    @rule(choice=pick, name=st.one_of(names, st.just("")), count=st.integers(1, 3), heard=listeners)
    def send(self, choice: int, name: str, count: int, heard: tuple[int, ...]) -> None:
        """One session, or the system, sends some messages."""
        room, session = self.a_room(choice), self.a_session(name) if name else ""
        self.run(self.send_all([(room, session)] * count, heard))

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

    @precondition(lambda self: self.has_follower(connected=False))
    @rule(choice=pick, index=st.integers(0, 1))
    def resume(self, choice: int, index: int) -> None:
        """A client comes back, maybe to another node."""
        self.run(self.resume_on(self.a_follower(choice, connected=False), index))

    @precondition(lambda self: self.has_follower(connected=False))
    @rule(choice=pick, index=st.integers(0, 1))
    def poll(self, choice: int, index: int) -> None:
        """A client goes on by polling until there is nothing more."""
        follower, node = self.a_follower(choice, connected=False), self.nodes[index]
        if follower.cursor is None:
            follower.start_anew()
        for _ in range(MAX_POLLS):
            answer = self.run(self.poll_once(follower, node))
            if not answer["Msg"] and not answer["Event"]:
                break
        else:
            raise AssertionError(f"the polls of {follower.session} do not end")
        if node not in self.stale:
            follower.check_complete()

    async def poll_once(self, follower: Follower, node: InProcess) -> dict[str, Any]:
        """One poll; what it brought is checked and its cursor kept."""
        gateway.node._node = node.node
        resumed = cursor.parse(follower.cursor) if follower.cursor else None
        response = await answer_poll(Identity(Caller(follower.session, follower.platform), 2**40), resumed)
        body = json.loads(response.content)
        assert body["code"] == 0
        answer: dict[str, Any] = body["data"]
        follower.connected(node, None, resumed)
        follower.absorb(answer["Event"] + answer["Msg"], self.allowed(follower.session, {}))
        assert len(answer["Cursor"]) <= cursor.MAX_CHARACTERS
        follower.cursor = answer["Cursor"]
        return answer
