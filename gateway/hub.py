"""The hub: hands every committed message to the connections of this process, each conversation strictly by Seq.

Laws:
1. Order: a conversation's messages are delivered by Seq without a gap. A hole waits a moment (workers overtake each
   other), then is filled from the database; one that cannot be filled is passed with a ``reset``.
2. Membership: every announcement carries the conversation's member_version. One that is newer than the room's makes
   the room reload its local members before anything more is delivered; so nobody is given what was committed after he
   was removed, and a member added a moment ago misses nothing, even if the notice was lost.
3. Nobody waits for a reader: ``push`` returns at once, and whoever does not read is cut.
4. Hints only: all that comes in here may get lost. The sweep (gateway.sweep) brings what did.
5. Never ahead: a message more than 10 s above the watermark (up to which everything was handed out) is held back, so
   that a client may resume ten seconds below the last MsgId it saw.

Everything here runs on one event loop and nothing here awaits; what takes a look into the database is a task of
gateway.repair or gateway.replay.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable

from django.conf import settings

from conversations.announcements import ConversationChanged
from gateway.connection import Connection
from gateway.journal import MAX_LOAD_SECONDS, Journal
from gateway.members import MemberChanges, MemberRow, RoomView
from gateway.missed import Window
from gateway.redactions import Redactions
from gateway.repair import Repairs
from gateway.replay import replay
from gateway.resume import Seat, SessionLoad
from gateway.room import Member, Room
from gateway.wire import REPLACED, message_frame, reset_notice, restarting
from messaging import msgid
from messaging.message import Committed
from quickim.errors import TooManyRequests

GAP_SECONDS = 0.03
MAX_AHEAD_TICKS = msgid.tick_at(10_000_000)
DRAIN_SPREAD_MS = (200, 3_000)


class Hub:
    """See the module."""

    def __init__(self) -> None:
        self.rooms: dict[int, Room] = {}
        self.sessions: dict[str, dict[Connection, None]] = {}
        self.rooms_of: dict[str, set[int]] = {}
        self.journal = Journal()
        self.watermark = 0
        """The tick up to which everything was handed to the connections of this node; moved by the sweep."""
        self.tell_login: Callable[[Connection], None] = lambda connection: None
        """Tells the other nodes of a newest login, on platforms with one connection per session."""
        self.repairs = Repairs(self)
        self.redactions = Redactions(self)
        self._held: set[Room] = set()

    # Connections

    def refuse_too_many(self, session: str) -> None:
        """Raises TooManyRequests when ``session`` has as many connections here as it may."""
        most, all_here = settings.QUICKIM.max_connections_per_session, self.sessions.get(session, ())
        if len(all_here) >= most and sum(not connection.is_kept for connection in all_here) >= most:
            raise TooManyRequests(retry_after_seconds=1)

    def attach(self, connection: Connection, load: SessionLoad) -> bool:
        """Let ``connection`` in, starting from ``load``; False when that is outdated and must be read again."""
        session = load.session
        if self._is_outdated(load):
            return False
        self._end_older(connection)
        connection.attached = True
        self.sessions.setdefault(session, {})[connection] = None
        self.rooms_of.setdefault(session, set())
        for seat in load.seats:
            self._take_seat(connection, seat)
        positions = {seat.number: seat.last_seq if load.is_reset else seat.position for seat in load.seats}
        for number in self.rooms_of[session]:
            room = self.rooms[number]
            room.audience[connection] = None
            self._place(connection, room, positions.get(number, room.members[session].joined_seq))
        for notice in load.notices:
            connection.push(notice)
        if load.is_reset:
            connection.push(reset_notice())
        self._replay_soon(connection)
        for seat in load.seats:
            self.advance(self.rooms[seat.number])
        return True

    def detach(self, connection: Connection) -> None:
        """``connection`` is over; its session's rooms go with its last connection."""
        connection.release()
        if connection.replay is not None:
            connection.replay.cancel()
        if not connection.attached:
            return
        connection.attached = False
        session = connection.caller.session
        for number in self.rooms_of[session]:
            self.rooms[number].forget(connection)
        others = self.sessions[session]
        del others[connection]
        if not others:
            del self.sessions[session]
            for number in self.rooms_of.pop(session):
                self._unseat(self.rooms[number], session)

    def windows(self, connection: Connection) -> list[Window]:
        """What ``connection`` still has to be given; what is level is struck off its list."""
        windows = []
        for number, position in list(connection.behind.items()):
            room = self.rooms.get(number)
            if room is None or position >= room.delivered:
                del connection.behind[number]
            else:
                windows.append(Window(number, position, room.delivered))
        return windows

    def connections(self) -> list[Connection]:
        """All of them."""
        return [connection for connections in self.sessions.values() for connection in connections]

    def end_older(self, session: str, platform: int, protocol: str, newest: Connection | None = None) -> None:
        """A newer login took the one place of (session, platform, protocol)."""
        for other in list(self.sessions.get(session, ())):
            if other is not newest and other.caller.platform == platform and other.protocol == protocol:
                other.end(REPLACED)

    def say_goodbye(self) -> None:
        """End all connections, telling each when to come back, spread so that they don't come all at once."""
        for connection in self.connections():
            connection.end(restarting(random.randint(*DRAIN_SPREAD_MS)))  # noqa: S311  # jitter, no secret

    def _end_older(self, newest: Connection) -> None:
        caller = newest.caller
        if caller.platform in settings.QUICKIM.single_login_platforms:
            self.end_older(caller.session, caller.platform, newest.protocol, newest)
            self.tell_login(newest)

    def _is_outdated(self, load: SessionLoad) -> bool:
        """Whether something about the session's memberships was heard of that ``load`` does not know."""
        if time.monotonic() - load.loaded > MAX_LOAD_SECONDS:
            return True
        seats = {seat.number: seat for seat in load.seats}
        if any(number not in seats for number in self.journal.joined_or_left(load.session, load.loaded)):
            return True
        for number, seat in seats.items():
            room = self.rooms.get(number)
            if max(self.journal.version(number), room.version if room else -1) > seat.member_version:
                return True
        return False

    def _take_seat(self, newest: Connection, seat: Seat) -> None:
        session = newest.caller.session
        room = self.rooms.get(seat.number)
        if room is None:
            room = self.rooms[seat.number] = Room(seat.number, seat.conversation_id, seat.conversation_type)
            room.version = seat.member_version
            room.state_version = seat.state_version
            room.delivered = room.announced_seq = max(seat.last_seq, self.journal.head(seat.number))
        # A room that lags behind this snapshot learns of what it missed.
        room.announced_version = max(room.announced_version, seat.member_version)
        room.announced_seq = max(room.announced_seq, seat.last_seq)
        if session not in room.members:
            room.members[session] = Member(seat.joined_seq, seat.version)
            self.rooms_of[session].add(seat.number)
            for connection in self.sessions[session]:
                room.audience[connection] = None
                if connection is not newest:
                    # The load tells what no announcement told: that the session joined while it was connected.
                    self._place(connection, room, seat.joined_seq)
                    connection.push(seat.joined_notice(session))
                    self._replay_soon(connection)

    def _unseat(self, room: Room, session: str) -> None:
        room.members.pop(session, None)
        for connection in self.sessions.get(session, ()):
            room.forget(connection)
            connection.forget(room.number)
        if not room.members:
            room.cancel_gap_timer()
            self._held.discard(room)
            self.rooms.pop(room.number, None)

    def _place(self, connection: Connection, room: Room, position: int) -> None:
        """``connection`` has everything of ``room`` up to ``position``: replay the rest, or skip what it has."""
        if position < room.delivered:
            connection.behind[room.number] = position
        elif position > room.delivered:
            connection.floors[room.number] = position

    def _replay_soon(self, connection: Connection) -> None:
        if connection.behind and connection.replay is None and not connection.ended:
            connection.replay = self.repairs.spawn(replay(self, connection), "replay")

    # Messages

    def receive(self, committed: Iterable[Committed]) -> None:
        """Messages were committed, here or on another node."""
        now = time.monotonic()
        rooms: dict[Room, None] = {}
        for item in committed:
            message, version = item.message, item.version
            self.journal.message(message.number, message.seq, version, now)
            room = self.rooms.get(message.number)
            if room is None or message.seq <= room.delivered:
                continue
            if version > room.announced_version and room in rooms:
                self.advance(room)  # to those who were members until now
            room.announced_version = max(room.announced_version, version)
            room.announced_seq = max(room.announced_seq, message.seq)
            room.keep(self.redactions.current(message_frame(message)))
            rooms[room] = None
        for room in rooms:
            self.advance(room)

    def advance(self, room: Room) -> None:
        """Deliver what can be, and see to it that what cannot be yet will be."""
        if self.rooms.get(room.number) is not room:
            return
        if room.is_stale:
            self.repairs.soon(room)
            return
        room.hand_out(room.take_due(self.watermark + MAX_AHEAD_TICKS))
        if room.delivered + 1 in room.waiting:
            self._held.add(room)
        elif not room.has_gap:
            room.waiting.clear()
            room.cancel_gap_timer()
        elif room.gap_timer is None and room.repair is None:
            room.gap_timer = asyncio.get_running_loop().call_later(GAP_SECONDS, self.repairs.gap_is_due, room)

    def moved(self, watermark: int) -> None:
        """The sweep saw everything up to ``watermark`` handed out: what was held back may go."""
        self.watermark = max(self.watermark, watermark)
        held, self._held = self._held, set()
        for room in held:
            self.advance(room)

    def is_held(self, room: Room) -> bool:
        """Whether ``room`` waits for the watermark."""
        return room in self._held

    def held_ticks(self) -> list[int]:
        """The tick of the first message that each conversation holds back."""
        firsts = (room.waiting.get(room.delivered + 1) for room in self._held)
        return [msgid.tick_of(frame.msg_id) for frame in firsts if frame is not None]

    # Members and state

    def changed(self, fact: ConversationChanged, *, is_nameless: bool = False) -> None:
        """Membership or state changed; ``is_nameless``: the sessions were too many to be told."""
        sessions = None if is_nameless else frozenset(fact.sessions)
        self.journal.change(fact.number, fact.version, sessions, time.monotonic())
        if is_nameless or fact.number in self.rooms or any(name in self.sessions for name in fact.sessions):
            self.look_at(fact.number, fact.version)

    def look_at(self, number: int, version: int) -> None:
        """A conversation reached ``version``, which concerns connections here."""
        room = self.rooms.get(number)
        if room is not None:
            room.announced_version = max(room.announced_version, version)
            self.advance(room)
        else:
            self.repairs.adopt(number, version)

    def apply(self, view: RoomView) -> None:
        """Bring a room's members and state to ``view`` and tell whoever it concerns, once."""
        room = self.rooms.get(view.number)
        is_fresh = room is None
        if room is None:
            room = Room(view.number, view.conversation_id, view.conversation_type)
            room.delivered = room.announced_seq = max(view.last_seq, self.journal.head(view.number))
            room.state_version = view.state_version
        changes = MemberChanges(view)
        for row in view.rows:
            if row.session in self.sessions and self._apply_row(room, row):
                changes.concerns(row)
        room.version = max(room.version, view.version)
        for session, notice in changes.personal_notices():
            for connection in list(self.sessions.get(session, ())):
                connection.push(notice)
        for notice, told in changes.notices_to_others():
            for connection in list(room.audience):
                if connection.caller.session not in told:
                    connection.push(notice)
        if not is_fresh and view.state_version > room.state_version:
            room.state_version = view.state_version
            notice = view.state_notice()
            for connection in [*room.audience, *room.withheld]:
                connection.push(notice)
            if not view.is_deleted:
                room.give_back()
        for connection in room.audience:
            self._replay_soon(connection)
        self.advance(room)

    def _apply_row(self, room: Room, row: MemberRow) -> bool:
        """One session's change; False when it is no news."""
        known = room.members.get(row.session)
        if known is not None and known.version >= row.version:
            return False
        if not row.is_active:
            if known is None:
                return False
            self.rooms_of[row.session].discard(room.number)
            self._unseat(room, row.session)
            return True
        self.rooms.setdefault(room.number, room)
        room.members[row.session] = Member(row.joined_seq, row.version)
        self.rooms_of[row.session].add(room.number)
        for connection in self.sessions[row.session]:
            room.audience[connection] = None
            connection.forget(room.number)
            self._place(connection, room, row.joined_seq)
        return True

    # Sweeping

    def compare(self, number: int, seq: int, version: int = -1) -> Room | None:
        """The database has ``seq`` (and ``version``) of a conversation: its room, when that is not level with it."""
        self.journal.message(number, seq, version, time.monotonic())
        room = self.rooms.get(number)
        if room is None:
            return None
        room.announced_seq = max(room.announced_seq, seq)
        room.announced_version = max(room.announced_version, version)
        return room if room.has_gap or room.is_stale else None

    def is_news(self, number: int, session: str, version: int, *, is_active: bool) -> bool:
        """Whether this membership, as the database has it, concerns a connection here and is not applied yet."""
        if session not in self.sessions:
            return False
        room = self.rooms.get(number)
        known = room.members.get(session) if room is not None else None
        return is_active if known is None else known.version < version
