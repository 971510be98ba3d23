"""What may happen to conversations in the model: members come and go, messages are sent, posted, repeated and pruned,
by processes that may die in the midst of it.

Every deed works while others are under way and never waits for a hub: it may be done between a read and its use.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from conversations import services
from messaging.message import NewMessage, Receipt
from messaging.retention import Pruned, Selection, prune, select
from messaging.services import post_message
from quickim.database import in_database, write_transaction
from quickim.errors import ConversationArchived, NotMember, OutcomeUnknown, QuickimError, RemovedFromConversation
from tests.model.air import Way
from tests.model.processes import DEATHS, TROUBLES, Process, Trouble
from tests.model.rooms import ModelRoom, Sent
from tests.model.world import CLOCK, World

T = TypeVar("T")

MAX_ROOMS = 4


class Talk(World):
    """See the module. ``origin`` chooses the process, ``fate`` what becomes of its announcements, or of it."""

    async def commit(self, origin: int, fate: str, deed: Callable[..., T], *args: Any, **options: Any) -> T:
        """A change, by a process that may die between its COMMIT and the announcement."""
        process = self.a_process(origin)
        with process.acting(), self.air.everywhere(_way(fate)):
            if fate == "dies":
                self.lose_process(process, origin % 3)
            try:
                return await in_database(deed, *args, **options)
            finally:
                await process.announced()

    # Conversations

    async def do_create(self, origin: int, fate: str, members: set[str], kind: int) -> None:
        """A new conversation."""
        if len(self.rooms) >= MAX_ROOMS:
            return
        sessions = sorted(self.a_session(name) for name in members)
        row = await self.commit(origin, fate, services.create_conversation, kind, sessions)
        room = self.rooms[str(row.public_id)] = ModelRoom(str(row.public_id), row.pk)
        for session in sessions:
            room.enter(session)

    async def do_join(self, origin: int, fate: str, choice: int, name: str, by_himself: bool) -> None:
        """A session joins, or is let in."""
        room, session = self.a_room(choice), self.a_session(name)
        joining = self.commit(
            origin, fate, services.join_conversation, room.identifier, [session], by_himself=by_himself
        )
        refused: type[QuickimError] | None = None
        if by_himself and session not in room.active:
            if session in room.kicked:
                refused = RemovedFromConversation
            elif room.is_archived:
                refused = ConversationArchived
        if refused is not None:
            with pytest.raises(refused):
                await joining
            return
        await joining
        room.enter(session)

    async def do_leave(self, origin: int, fate: str, choice: int, name: str, kicked: bool) -> None:
        """A session leaves or is kicked."""
        room, session = self.a_room(choice), self.a_session(name)
        if kicked:
            _, failed = await self.commit(origin, fate, services.kick_out, room.identifier, [session])
            assert failed == ([] if session in room.active else [session])
        else:
            await self.commit(origin, fate, services.leave_conversation, room.identifier, session)
        room.end(session, kicked=kicked)
        self._bar(room)

    async def do_archive(self, origin: int, fate: str, choice: int, is_archived: bool) -> None:
        """A conversation is archived, or is no longer."""
        room = self.a_room(choice)
        await self.commit(origin, fate, services.set_archived, [room.identifier], is_archived)
        room.is_archived = is_archived
        self._bar(room)

    def _bar(self, room: ModelRoom) -> None:
        for one in self.sent.values():
            if one.room is room and one.posted_at and _refusal(one) is not None:
                one.was_barred = True

    # Messages

    async def do_say(self, origin: int, fate: str, sends: list[tuple[int, str]]) -> None:
        """Sessions, or (without a name) the system, send one after the other."""
        for choice, name in sends:
            process = self.a_process(origin)
            sent = self.new_message(self.a_room(choice), self.a_session(name) if name else "")
            if fate in TROUBLES:
                await self.send_in_trouble(process, sent, fate)
                return
            with process.acting(), self.air.everywhere(_way(fate)):
                await self.send_all([(process, sent)])
        if fate == "dies":
            self.lose_process(self.a_process(origin), origin % 3)

    def new_message(self, room: ModelRoom, session: str) -> Sent:
        """One that nobody has sent."""
        text = f"text {len(self.sent)}"
        return self.sent.setdefault(text, Sent(room, NewMessage(room.identifier, session, 1, 2, text, text)))

    async def send_all(self, sends: list[tuple[Process, Sent]]) -> None:
        """Sends all of them at once; what is refused is refused to its sender alone."""
        outcomes = await asyncio.gather(
            *(process.ledger.send(one.draft) for process, one in sends), return_exceptions=True
        )
        for process in {process for process, _ in sends}:
            # Until then the air must stay as it is.
            await process.announced()
        await self.read_rows()
        for (_, sent), outcome in zip(sends, outcomes, strict=True):
            self._check_outcome(sent, outcome)

    def _check_outcome(self, sent: Sent, outcome: Receipt | BaseException) -> None:
        refusal = _refusal(sent)
        if sent.row is None and refusal is not None:
            assert type(outcome) is refusal, outcome
            return
        assert isinstance(outcome, Receipt), outcome
        assert sent.row is not None, "acknowledged, and not in the database"
        assert (outcome.msg_id, outcome.send_time) == (sent.row.msg_id, sent.row.send_time)

    async def send_in_trouble(self, process: Process, sent: Sent, trouble: str) -> None:
        """The process dies while it writes, or loses the answer to its COMMIT: the sender does not know."""
        process.trouble = _trouble(trouble)
        sending = self.loop.create_task(process.ledger.send(sent.draft))
        # Nobody tells that a process is dead.
        while not sending.done() and process.is_writing:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        # An answer that was on its way when it died has arrived.
        await asyncio.sleep(0)
        answer: Receipt | BaseException | None = None
        if sending.done():
            (answer,) = await asyncio.gather(sending, return_exceptions=True)
        else:
            sending.cancel()
        process.trouble = None
        if trouble in DEATHS:
            self.lose_process(process, 2)
        await self.read_rows()
        if answer is not None and not isinstance(answer, OutcomeUnknown):
            self._check_outcome(sent, answer)
        # It was committed without a word, if it was.
        self.air.nobody_heard()

    async def do_repeat(self, origin: int, fate: str, choice: int) -> None:
        """A client that did not hear the answer sends the same again, to any process."""
        said = [one for one in self.sent.values() if not one.posted_at]
        if not said:
            return
        sent, process = said[choice % len(said)], self.a_process(origin)
        if sent.is_pruned:
            # Its client_msg_id is forgotten: this is a new send.
            sent = self.new_message(sent.room, sent.draft.session)
        before = sent.row
        with process.acting(), self.air.everywhere(_way(fate)):
            await self.send_all([(process, sent)])
        assert before is None or sent.row is before

    async def do_post(self, origin: int, fate: str, choice: int, name: str) -> None:
        """A product posts within its own transaction, in a process that may die before it appends it."""
        sent = self.new_message(self.a_room(choice), self.a_session(name) if name else "")
        draft = sent.draft
        if choice % 2:
            # Then nothing but the draft itself keeps it from being appended twice.
            draft.client_msg_id = ""

        def post() -> None:
            with write_transaction():
                post_message(
                    draft.conversation_id,
                    draft.content,
                    session=draft.session,
                    type=draft.type,
                    status=draft.status,
                    client_msg_id=draft.client_msg_id,
                )

        sent.posted_at = CLOCK.now
        refusal = _refusal(sent)
        if refusal is not None:
            sent.is_open = False
            with pytest.raises(refusal):
                await self.commit(origin, fate, post)
            return
        await self.commit(origin, fate, post)
        await self.read_rows()
        assert fate == "dies" or sent.row is not None, "a posted message waits for no sweep"

    async def do_prune(self, choice: int, age_seconds: float) -> None:
        """A conversation's old messages are deleted, and so are its drafts that were refused."""
        room = self.a_room(choice)
        await self.look_at_refused(room)

        def work() -> Selection:
            selection = select(int(age_seconds * 1_000_000), room.identifier)
            list(prune(selection, Pruned(), batch=3))
            return selection

        below = (await in_database(work)).below
        gone = sum(message["MsgId"] < below for message in room.log)
        if gone > room.pruned:
            room.pruned = gone
            for node in self.nodes:
                # It may have missed what is no more to be found.
                node.is_blind = node.is_blind or node.is_stale or not node.sweeps_by_itself

    async def in_turn(self, deeds: list[Coroutine[Any, Any, None]]) -> None:
        """One after the other."""
        for deed in deeds:
            await deed


def _refusal(sent: Sent) -> type[QuickimError] | None:
    """Why a message would be refused now."""
    room, session = sent.room, sent.draft.session
    if session and session not in room.active:
        return NotMember
    if session and room.is_archived:
        return ConversationArchived
    return None


def _way(fate: str) -> Way:
    return "lost" if fate == "lost" else "held" if fate == "held" else "open"


def _trouble(fate: str) -> Trouble:
    return next(trouble for trouble in TROUBLES if trouble == fate)
