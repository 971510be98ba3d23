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

Everything here runs on one event loop; nothing here awaits, except the repairs, which are tasks of the hub.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from conversations.announcements import ConversationChanged
from gateway.connection import Connection
from gateway.journal import MAX_LOAD_SECONDS, Journal
from gateway.members import MemberChanges, MemberRow, RoomView, read_room_view
from gateway.replay import replay
from gateway.resume import Seat, SessionLoad, Window, read_window
from gateway.room import Member, Room
from gateway.wire import REPLACED, message_frame, reset_notice, restarting
from messaging import msgid
from messaging.message import Committed
from quickim.database import in_database
from quickim.errors import TooManyRequests, Unavailable
from quickim.tasks import cancel, spawn

GAP_SECONDS = 0.03
MAX_AHEAD_TICKS = msgid.tick_at(10_000_000)
FILL_MESSAGES = 200
RETRY_SECONDS = 0.25
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
        self._held: set[Room] = set()
        self._adopting: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # Connections

    def refuse_too_many(self, session: str) -> None:
        """Raises TooManyRequests when ``session`` has as many connections here as it may."""
        if len(self.sessions.get(session, ())) >= settings.QUICKIM.max_connections_per_session:
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
            self._take_seat(session, seat)
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
            self.rooms[number].audience.pop(connection, None)
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

    async def close(self) -> None:
        """End all repairs and replays."""
        await cancel(list(self._tasks))

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

    def _take_seat(self, session: str, seat: Seat) -> None:
        room = self.rooms.get(seat.number)
        if room is None:
            room = self.rooms[seat.number] = Room(seat.number, seat.conversation_id, seat.conversation_type)
            room.version = seat.member_version
            room.state_changed_at = seat.state_changed_at
            room.delivered = room.announced_seq = max(seat.last_seq, self.journal.head(seat.number))
        # A room that lags behind this snapshot learns of what it missed.
        room.announced_version = max(room.announced_version, seat.member_version)
        room.announced_seq = max(room.announced_seq, seat.last_seq)
        if session not in room.members:
            room.members[session] = Member(seat.joined_seq, seat.version)
            self.rooms_of[session].add(seat.number)
            for connection in self.sessions[session]:
                room.audience[connection] = None
        self.advance(room)

    def _unseat(self, room: Room, session: str) -> None:
        room.members.pop(session, None)
        for connection in self.sessions.get(session, ()):
            room.audience.pop(connection, None)
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
            connection.replay = self._spawn(replay(self, connection), "replay")

    # Messages

    def receive(self, committed: Iterable[Committed]) -> None:
        """Messages were committed, here or on another node."""
        now = time.monotonic()
        for item in committed:
            message, version = item.message, item.version
            self.journal.message(message.number, message.seq, version, now)
            room = self.rooms.get(message.number)
            if room is None or message.seq <= room.delivered:
                continue
            room.announced_version = max(room.announced_version, version)
            room.announced_seq = max(room.announced_seq, message.seq)
            room.keep(message_frame(message))
            self.advance(room)

    def advance(self, room: Room) -> None:
        """Deliver what can be, and see to it that what cannot be yet will be."""
        if self.rooms.get(room.number) is not room:
            return
        if room.is_stale:
            self._repair_soon(room)
            return
        while (frame := room.waiting.get(room.delivered + 1)) is not None:
            if msgid.tick_of(frame.msg_id) > self.watermark + MAX_AHEAD_TICKS:
                self._held.add(room)
                return
            del room.waiting[frame.seq]
            room.delivered, room.delivered_msg_id = frame.seq, frame.msg_id
            for connection in room.audience:
                connection.deliver(frame)
        if not room.has_gap:
            room.waiting.clear()
            room.cancel_gap_timer()
        elif room.gap_timer is None and room.repair is None:
            room.gap_timer = asyncio.get_running_loop().call_later(GAP_SECONDS, self._gap_is_due, room)

    def moved(self, watermark: int) -> None:
        """The sweep saw everything up to ``watermark`` handed out: what was held back may go."""
        self.watermark = max(self.watermark, watermark)
        held, self._held = self._held, set()
        for room in held:
            self.advance(room)

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
        elif self._adopting.get(number, -1) < version:
            self._adopting[number] = version
            self._spawn(self._adopt(number, version), "adoption")

    async def _adopt(self, number: int, version: int) -> None:
        """Learn of a conversation that has members here since ``version``."""
        try:
            view = await self._patiently(read_room_view, number, version - 1)
            if view is not None:
                self._apply(view)
        finally:
            if self._adopting.get(number) == version:
                del self._adopting[number]

    def _apply(self, view: RoomView) -> None:
        """Bring a room's members and state to ``view`` and tell whoever it concerns, once."""
        room = self.rooms.get(view.number)
        is_fresh = room is None
        if room is None:
            room = Room(view.number, view.conversation_id, view.conversation_type)
            room.delivered = room.announced_seq = max(view.last_seq, self.journal.head(view.number))
            room.state_changed_at = view.state_changed_at
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
        if not is_fresh and view.state_changed_at > room.state_changed_at:
            room.state_changed_at = view.state_changed_at
            notice = view.state_notice()
            for connection in list(room.audience):
                connection.push(notice)
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

    # Repairs

    def compare(self, number: int, seq: int, version: int = -1) -> Room | None:
        """The database has ``seq`` (and ``version``) of a conversation: its room, when that is not level with it."""
        self.journal.message(number, seq, version, time.monotonic())
        room = self.rooms.get(number)
        if room is None:
            return None
        room.announced_seq = max(room.announced_seq, seq)
        room.announced_version = max(room.announced_version, version)
        return room if room.has_gap or room.is_stale else None

    async def level(self, room: Room) -> None:
        """Repair ``room`` at once and wait until it is level with what was announced."""
        room.cancel_gap_timer()
        self._repair_soon(room)
        if room.repair is not None:
            await asyncio.shield(room.repair)

    def _gap_is_due(self, room: Room) -> None:
        room.gap_timer = None
        if room.has_gap and self.rooms.get(room.number) is room:
            self._repair_soon(room)

    def _repair_soon(self, room: Room) -> None:
        if room.repair is None:
            room.repair = self._spawn(self._repair(room), "repair")

    async def _repair(self, room: Room) -> None:
        """Members first, then messages, until ``room`` is level, held back, or gone."""
        try:
            while self.rooms.get(room.number) is room and (room.is_stale or room.has_gap):
                if room.is_stale:
                    view = await self._patiently(read_room_view, room.number, room.version)
                    if view is None:
                        return
                    self._apply(view)
                else:
                    await self._fill(room)
                if room in self._held:
                    return
        finally:
            room.repair = None
        self.advance(room)

    async def _fill(self, room: Room) -> None:
        before = room.delivered
        window = Window(room.number, before, room.announced_seq)
        frames, version, _ = await self._patiently(read_window, window, FILL_MESSAGES)
        room.announced_version = max(room.announced_version, version)
        if room.is_stale or room.delivered != before:
            # Read under a newer membership than the room's, or delivered meanwhile: look again.
            return
        for frame in frames:
            room.waiting[frame.seq] = frame
        first = frames[0].seq if frames else window.high + 1
        if first > before + 1:
            # What lies before it is not kept any more: those here can only start anew after it.
            room.delivered = first - 1
            for connection in list(room.audience):
                connection.push(reset_notice())
        self.advance(room)

    async def _patiently(self, read: Callable[..., Any], *args: Any) -> Any:
        """``read`` on a database thread, again and again until the database answers."""
        while True:
            try:
                return await in_database(read, *args)
            except (Unavailable, DatabaseError, InterfaceError):
                await asyncio.sleep(RETRY_SECONDS)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task: asyncio.Task[None] = spawn(work, name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
