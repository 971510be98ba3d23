"""What the model knows: conversations as they must be, and clients that check every item they are given."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from gateway import cursor
from messaging import msgid
from tests.gateway.in_process import InProcess, Reader

JOINED, LEFT = "conversation.joined", "conversation.left"
ARCHIVED, UNARCHIVED = "conversation.archived", "conversation.unarchived"


@dataclass(eq=False)
class ModelRoom:
    """One conversation: who was a member from which Seq to which, and what was said."""

    identifier: str
    log: list[dict[str, Any]] = field(default_factory=list)
    """Its messages as the wire shows them; Seq is the place."""
    stays: dict[str, list[list[int]]] = field(default_factory=lambda: defaultdict(list))
    """By session: [joined_seq, last Seq of the stay or -1 while it lasts]."""
    kicked: set[str] = field(default_factory=set)
    is_archived: bool = False

    @property
    def active(self) -> set[str]:
        """The members now."""
        return {session for session, stays in self.stays.items() if stays and stays[-1][1] < 0}

    def enter(self, session: str) -> None:
        """A membership begins, unless there is one."""
        if session not in self.active:
            self.stays[session].append([len(self.log), -1])
            self.kicked.discard(session)

    def end(self, session: str, *, kicked: bool) -> None:
        """A membership ends, if there is one."""
        if session in self.active:
            self.stays[session][-1][1] = len(self.log)
            if kicked:
                self.kicked.add(session)

    def entitles(self, session: str, seq: int) -> bool:
        """Whether the message was committed while the session was a member."""
        return any(first < seq and (last < 0 or seq <= last) for first, last in self.stays[session])


class Follower:
    """One client of one session, over all its connections: it drops repeats, and resumes where it was."""

    def __init__(self, session: str, platform: int, rooms: dict[str, ModelRoom]) -> None:
        self.session = session
        self.platform = platform
        self.rooms = rooms
        self.node: InProcess | None = None
        self.reader: Reader | None = None
        self.cursor: str | None = None
        self.since: dict[str, int] = {}
        self.seen: dict[str, tuple[str, int]] = {}
        self.beliefs: dict[str, str] = {}
        self._taken = 0
        self._resumed: cursor.Cursor | None = None
        """The MsgId that the present chain of connections began with; polls' cursors only go on with it."""
        self._in_chain: set[str] = set()
        self._highest: dict[str, int] = {}
        self.start_anew()

    def start_anew(self) -> None:
        """Without a cursor, the stream starts now."""
        self.cursor, self.seen = None, {}
        self.since = {identifier: len(room.log) for identifier, room in self.rooms.items()}
        self.beliefs = {identifier: self._truth(room) for identifier, room in self.rooms.items()}

    def connected(self, node: InProcess, reader: Reader | None, resumed: cursor.Cursor | None) -> None:
        """A connection (``reader`` None: a poll) begins, from ``resumed``."""
        self.node, self.reader = node, reader
        if resumed is None or resumed.msg_id:
            self._resumed, self._in_chain = resumed, set()
        self._taken, self._highest = 0, {}

    def disconnected(self) -> None:
        """The connection is over."""
        assert self.node is not None
        assert self.reader is not None
        self.node.hub.detach(self.reader)
        self.reader = None

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
            assert self.reader.farewell is None

    def _take_message(self, message: dict[str, Any], allowed: set[str]) -> None:
        identifier, seq, msg_id = message["ConversationID"], message["Seq"], message["MsgId"]
        room = self.rooms[identifier]
        assert message == room.log[seq - 1], "it differs from what was sent"
        assert identifier in allowed, f"{self.session} is no member, and is given Seq {seq}"
        assert room.entitles(self.session, seq), f"{self.session} was no member at Seq {seq}"
        assert seq > self._highest.get(identifier, 0), f"Seq {seq} after {self._highest[identifier]}"
        self._highest[identifier] = seq
        assert msg_id not in self._in_chain, f"twice without a MsgId to resume from: {message}"
        if msg_id in self.seen:
            self._check_repeat(message)
        self.seen[msg_id] = (identifier, seq)
        self._in_chain.add(msg_id)
        self.cursor = msg_id

    def _check_repeat(self, message: dict[str, Any]) -> None:
        """Only a MsgId that resumes may repeat: not in its own conversation, and ten seconds early in others."""
        resumed = self._resumed
        assert resumed is not None, "a repeat without a reconnect"
        own, _ = self.seen[resumed.msg_id]
        assert message["ConversationID"] != own, "a repeat in the cursor's own conversation"
        assert msgid.tick_of(message["MsgId"]) > resumed.tick, "a repeat from long ago"

    def _take_notice(self, notice: dict[str, Any]) -> None:
        event, identifier = notice["Event"], notice.get("ConversationID", "")
        assert event in (JOINED, LEFT, ARCHIVED, UNARCHIVED), notice
        if event in (JOINED, LEFT) and self.session not in notice["Sessions"]:
            return
        self.beliefs[identifier] = {
            JOINED: "archived" if notice.get("IsArchive") else "open",
            LEFT: "none",
            ARCHIVED: "archived",
            UNARCHIVED: "open",
        }[event]

    def _truth(self, room: ModelRoom) -> str:
        if self.session not in room.active:
            return "none"
        return "archived" if room.is_archived else "open"

    def check_complete(self) -> None:
        """It has everything that it is entitled to since it began, and knows how things stand."""
        for identifier, room in self.rooms.items():
            assert self.beliefs.get(identifier, "none") == self._truth(room), f"{self.session}: {identifier}"
            if self.session in room.active:
                first = max(self.since.get(identifier, 0), room.stays[self.session][-1][0])
                expected = set(range(first + 1, len(room.log) + 1))
                has = {seq for place, seq in self.seen.values() if place == identifier}
                assert expected <= has, f"{self.session} lacks Seq {sorted(expected - has)} of {identifier}"
