"""Clients that check every item they are given: whose it is, in which order, with what before it, and how often."""

from collections import deque
from collections.abc import Callable
from typing import Any

from gateway import cursor
from messaging import msgid
from tests.gateway.in_process import Reader
from tests.model.processes import Worker
from tests.model.rooms import ModelRoom

JOINED, LEFT = "conversation.joined", "conversation.left"
ARCHIVED, UNARCHIVED = "conversation.archived", "conversation.unarchived"
RESET, BYE = "reset", "bye"

MAX_UNPROCESSED = 4


class Follower:
    """One client of one session, over all its connections: it drops repeats, and resumes where it was."""

    def __init__(self, session: str, platform: int, rooms: dict[str, ModelRoom]) -> None:
        self.session = session
        self.platform = platform
        self.rooms = rooms
        self.node: Worker | None = None
        self.reader: Reader | None = None
        self.cursor: str | None = None
        self.since: dict[str, int] = {}
        """By conversation: from where on it must have everything."""
        self.seen: dict[str, tuple[str, int]] = {}
        self.beliefs: dict[str, str] = {}
        self._taken = 0
        self._resumed: cursor.Cursor | None = None
        """The MsgId that the present chain of connections began with; polls' cursors only go on with it."""
        self.lost_an_answer = False
        """To a poll without a cursor a node may answer from where the one that was lost ended."""
        self._in_chain: set[str] = set()
        self._highest: dict[str, int] = {}
        self._undo: deque[Callable[[], object]] = deque(maxlen=MAX_UNPROCESSED)
        """Takes back the last items, one each."""
        self.start_anew()

    def start_anew(self) -> None:
        """Without a cursor, the stream starts now."""
        self.cursor, self.seen = None, {}
        self._start_now()
        self.beliefs = {identifier: room.state_for(self.session) for identifier, room in self.rooms.items()}

    def connected(self, node: Worker, reader: Reader | None, resumed: cursor.Cursor | None) -> None:
        """A connection (``reader`` None: a poll) begins, from ``resumed``."""
        self.node, self.reader = node, reader
        if resumed is None or resumed.msg_id:
            self._resumed, self._in_chain = resumed, set()
        self._taken, self._highest = 0, {}
        self._undo.clear()

    def disconnected(self, unprocessed: int = 0) -> None:
        """The connection is over, and what it brought last was never processed."""
        assert self.node is not None
        assert self.reader is not None
        if not self.node.is_dead:
            self.node.hub.detach(self.reader)
        self.reader = None
        for _ in range(min(unprocessed, len(self._undo))):
            self._undo.pop()()

    def absorb(self, items: list[dict[str, Any]], allowed: set[str]) -> None:
        """Takes what a connection was given; messages may only be of conversations in ``allowed``."""
        for item in items:
            if "MsgId" in item:
                self._take_message(item, allowed)
            else:
                self._take_notice(item)

    def absorb_stream(self, allowed: set[str]) -> None:
        """The same for what came over the stream since the last time."""
        if self.reader is not None:
            items = self.reader.received[self._taken :]
            self._taken += len(items)
            self.absorb(items, allowed)
            assert self.node is not None
            assert self.reader.farewell is None or self.node.is_draining

    def _take_message(self, message: dict[str, Any], allowed: set[str]) -> None:
        identifier, seq, msg_id = message["ConversationID"], message["Seq"], message["MsgId"]
        room = self.rooms[identifier]
        assert seq <= len(room.log), "it was never stored"
        assert message == room.log[seq - 1], "it differs from what was sent"
        assert identifier in allowed, f"{self.session} is no member, and is given Seq {seq}"
        stay = room.stay_at(self.session, seq)
        assert stay is not None, f"{self.session} was no member at Seq {seq}"
        assert self.node is not None
        assert msgid.tick_of(msg_id) <= self.node.may_give, "it runs ahead of the watermark"
        assert seq > self._highest.get(identifier, 0), f"Seq {seq} after {self._highest[identifier]}"
        assert msg_id not in self._in_chain, f"twice without a MsgId to resume from: {message}"
        missing = self._missing(room, stay[0], seq - 1)
        assert not missing, f"{self.session} is given Seq {seq} before {missing} of {identifier}"
        if msg_id in self.seen:
            self._check_repeat(message)
        self._remember_cursor(msg_id)
        self._highest[identifier] = seq
        self.seen[msg_id] = (identifier, seq)
        self._in_chain.add(msg_id)
        self.cursor = msg_id

    def _remember_cursor(self, msg_id: str) -> None:
        before, was_seen = self.cursor, msg_id in self.seen

        def undo() -> None:
            self.cursor = before
            self._in_chain.discard(msg_id)
            if not was_seen:
                del self.seen[msg_id]

        self._undo.append(undo)

    def _check_repeat(self, message: dict[str, Any]) -> None:
        """Only a MsgId that resumes may repeat: what comes after it in its own conversation (that a client saw more
        means that the MsgId was a repeat itself), and from ten seconds early in others."""
        resumed = self._resumed
        assert resumed is not None, "a repeat without a reconnect"
        own, seq = self.seen[resumed.msg_id]
        assert message["ConversationID"] != own or message["Seq"] > seq, "a repeat in the cursor's own conversation"
        assert msgid.tick_of(message["MsgId"]) > resumed.tick, "a repeat from long ago"

    def _take_notice(self, notice: dict[str, Any]) -> None:
        event, identifier = notice["Event"], notice.get("ConversationID", "")
        before, since = dict(self.beliefs), dict(self.since)
        if event == RESET:
            assert self._may_be_reset(), f"{self.session} missed nothing, and is told to start anew"
            self._start_now()
        elif event != BYE:
            assert event in (JOINED, LEFT, ARCHIVED, UNARCHIVED), notice
            if event not in (JOINED, LEFT) or self.session in notice["Sessions"]:
                self.beliefs[identifier] = {
                    JOINED: "archived" if notice.get("IsArchive") else "open",
                    LEFT: "none",
                    ARCHIVED: "archived",
                    UNARCHIVED: "open",
                }[event]

        def undo() -> None:
            self.beliefs, self.since = before, since

        self._undo.append(undo)

    def _start_now(self) -> None:
        self.since = {identifier: len(room.log) for identifier, room in self.rooms.items()}

    def _may_be_reset(self) -> bool:
        """Whether something is not kept any more that it lacks, or that its cursor cannot tell from what it lacks."""
        for room in self.rooms.values():
            stay = room.stays[self.session][-1:]
            if not stay or not room.pruned:
                continue
            if self._missing(room, stay[0][0], room.pruned):
                return True
            if self._resumed is None and self.lost_an_answer:
                return True
            pruned = msgid.tick_of(room.log[room.pruned - 1]["MsgId"])
            if self._resumed is not None and pruned > self._resumed.tick:
                return True
        return False

    def _missing(self, room: ModelRoom, joined: int, last: int) -> list[int]:
        """The Seqs up to ``last`` that it should have and has not."""
        first = max(self.since.get(room.identifier, 0), joined)
        return [seq for seq in range(first + 1, last + 1) if room.log[seq - 1]["MsgId"] not in self.seen]

    def check_complete(self, highest_tick: int) -> None:
        """It has everything that it is entitled to since it began, up to a tick, and knows how things stand."""
        for identifier, room in self.rooms.items():
            belief, truth = self.beliefs.get(identifier, "none"), room.state_for(self.session)
            assert belief == truth, f"{self.session} believes {belief} of {identifier}, and it is {truth}"
            if truth != "none":
                missing = [
                    seq
                    for seq in self._missing(room, room.stays[self.session][-1][0], len(room.log))
                    if msgid.tick_of(room.log[seq - 1]["MsgId"]) <= highest_tick
                ]
                assert not missing, f"{self.session} lacks Seq {missing} of {identifier}"
