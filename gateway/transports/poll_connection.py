"""A poll's connection: what an answer holds, and the cursor after which nothing is missed or repeated, on any worker.

The cursor is worked out at the very moment the answer is closed: what comes from then on belongs to the next poll, so
what the cursor says was given is exactly what the answer holds.
"""

import asyncio

from django.conf import settings

from gateway import entrance
from gateway.claims import Identity
from gateway.connection import Connection
from gateway.cursor import Cursor, cursor_at, fits, microseconds_below, watermark_after
from gateway.hub import Hub
from gateway.kept import KeptPolls
from gateway.resume import Seat, SessionLoad
from gateway.wire import Farewell, Frame
from messaging import msgid
from quickim.observability import metrics

MAX_MESSAGES = 500
MAX_BYTES = 2**20
KEPT_BYTES = 2**16
"""What may gather between two polls without going back to the database."""
CROWDED_SECONDS = 0.5
"""How long an answer waits that can hold nothing because too many conversations moved within the last seconds."""
GATHER_SECONDS, MAX_GATHER_SECONDS = 0.05, 0.15
"""How long an answer that has something waits for more while the node is busy with polls, and when it is very busy."""
_FITS_ANYWAY = 30
"""Positions that always fit a cursor."""
_UNKNOWN = watermark_after(msgid.MAX_TICK)


class Pace:
    """Whether so many polls are answered here that each had better hold more: asking again costs a poller's client and
    this node more than everything else about a message."""

    WINDOW_SECONDS = 0.5
    BUSY_ANSWERS = 1_000
    """In a window."""

    def __init__(self) -> None:
        self._began = self._count = self._before = 0.0

    def delay(self, now: float) -> float:
        """An answer will be given at ``now`` (seconds of the loop), or this much later."""
        elapsed = now - self._began
        if elapsed >= self.WINDOW_SECONDS:
            self._before = self._count if elapsed < 2 * self.WINDOW_SECONDS else 0
            self._began, self._count = now, 0
        self._count += 1
        busy = max(self._before, self._count) / self.BUSY_ANSWERS
        return 0.0 if busy <= 1 else min(MAX_GATHER_SECONDS, GATHER_SECONDS * busy)


_pace = Pace()


class PollConnection(Connection):
    """A connection that lives for one answer, or for a chain of them, kept between each and the next poll.

    ``known``: by conversation's number, the Seq given and the value of its MsgId."""

    __slots__ = (
        "_base",
        "_bytes",
        "_hub",
        "_is_closing",
        "_keeper",
        "_last",
        "_limit",
        "_timed_out",
        "answered",
        "cursor",
        "events",
        "known",
        "messages",
        "told",
    )
    protocol = "poll"

    def __init__(
        self, hub: Hub, identity: Identity, keeper: KeptPolls | None = None, *, is_legacy: bool = False
    ) -> None:
        super().__init__(identity.caller, settings.QUICKIM.outbox_bytes)
        self._hub = hub
        self._keeper = keeper
        self._limit = 1 if is_legacy else MAX_MESSAGES
        self.messages: list[bytes] = []
        self.events: list[bytes] = []
        self.known: dict[int, tuple[int, int]] = {}
        self.told: dict[int, tuple[int, int]] = {}
        self.cursor = ""
        self.answered: asyncio.Future[bytes] | None = None
        """The answer's envelope, to whoever asks."""
        self._base = 0
        self._timed_out = False
        self._bytes = 0
        self._last = 0
        self._is_closing = False

    def start_from(self, loaded: SessionLoad, cursor: Cursor | None) -> None:
        """See Connection: where the client stands before this answer."""
        self.known.clear()
        is_resuming = cursor is not None and not loaded.is_reset
        # A cursor from the future (a made-up MsgId) says no more than "now".
        now = watermark_after(entrance.covered_tick(loaded))
        self._base = min(cursor.watermark, now) if cursor and is_resuming else watermark_after(self._hub.watermark)
        self.told = dict(loaded.told)
        base_tick = self._base >> msgid.LOW_BITS
        for seat in loaded.seats:
            position = seat.position if is_resuming else seat.last_seq
            if position < seat.last_seq:
                if seat.is_exact:
                    self.known[seat.number] = (position, _UNKNOWN)
            elif seat.last_tick >= base_tick and (value := _value_of_head(seat)) >= self._base:
                self.known[seat.number] = (position, value)

    @property
    def is_kept(self) -> bool:
        """See Connection."""
        return self.answered is None

    def ask(self) -> "asyncio.Future[bytes]":
        """A poll, the first of its chain or the next one: its answer, which holds what came meanwhile."""
        answered = self.answered = self.loop.create_future()
        self._timed_out = False
        if self.messages:
            self._close_soon()
        return answered

    def let_go(self) -> None:
        """Be over: nobody asked, or what was kept may not be given any more."""
        self.ended = True
        metrics.DELIVERIES.inc(-len(self.messages), self.protocol)
        metrics.DELIVERED_BYTES.inc(-self._bytes, self.protocol)
        if self._keeper is not None:
            self._keeper.forget(self)
        # Not at once: whoever pushes may be going through all connections.
        self.loop.call_soon(self._hub.detach, self)

    def push(self, frame: Frame) -> None:
        """See Connection."""
        if self.ended:
            return
        if self.is_kept and not self._may_keep(frame):
            # A notice may mean that what was kept is not the poller's to have: the database knows.
            self.let_go()
            if frame.seq:
                self._not_given(frame)
            return
        if not frame.seq:
            self.events.append(frame.body)
            if frame.number:
                self.told[frame.number] = (
                    max(frame.version, self.told.get(frame.number, (-1, 0))[0]),
                    frame.at,
                )
            self._close_soon()
            return
        value = msgid.value_of(frame.msg_id)
        # Also of one that is not taken: all that lies below it was given, so the next answer has room for it.
        self._last = value
        if not self._has_room(frame, value):
            # Not to be kept: this frame is the database's to bring.
            self.ended = True
            self._settle(level=not self.behind)
            return
        self.known[frame.number] = (frame.seq, value)
        self.messages.append(frame.body)
        self._bytes += len(frame.body)
        if len(self.messages) >= self._limit or self._bytes >= MAX_BYTES:
            self._close(level=False)
        else:
            self._close_soon()

    @property
    def pending(self) -> int:
        """Nothing ever waits: an answer that is full is closed."""
        return 0

    async def drained(self) -> bool:
        """See Connection."""
        return not self.ended

    def withhold(self, number: int, position: int) -> None:
        """See Connection. The next poll begins there too, as long as such places fit a cursor."""
        super().withhold(number, position)
        explicit = {known: seq for known, (seq, _) in self.known.items()} | {number: position}
        if len(explicit) <= _FITS_ANYWAY or fits(explicit):
            self.known[number] = (position, _UNKNOWN)

    def level(self) -> None:
        """See Connection."""
        if self.messages or self.events:
            self._close_soon()

    def finish(self, farewell: Farewell) -> None:
        """See Connection."""
        if self.is_kept:
            self.let_go()
            return
        self.events.append(farewell.notice().body)
        self._settle(level=not self.behind)

    def forget(self, number: int) -> None:
        """See Connection."""
        super().forget(number)
        if self.is_kept and not self.ended:
            self.let_go()

    def close_empty_handed(self) -> None:
        """The wait is over."""
        if not self.ended:
            self._timed_out = True
            self._close(level=not self.behind)

    def _body(self) -> bytes:
        return b'{"code":0,"data":{"Msg":[%b],"Event":[%b],"Cursor":"%b"}}' % (
            b",".join(self.messages),
            b",".join(self.events),
            self.cursor.encode(),
        )

    def _may_keep(self, frame: Frame) -> bool:
        if not frame.seq or self._bytes + len(frame.body) > KEPT_BYTES or len(self.messages) + 1 >= self._limit:
            return False
        return self._has_room(frame, msgid.value_of(frame.msg_id))

    def _has_room(self, frame: Frame, value: int) -> bool:
        if self.messages and self._bytes + len(frame.body) > MAX_BYTES:
            return False
        if frame.number in self.known or len(self.known) < _FITS_ANYWAY:
            return True
        watermark = self._watermark(level=not self.behind)
        explicit = {number: seq for number, (seq, at) in self.known.items() if at >= watermark}
        if value >= watermark:
            explicit[frame.number] = frame.seq
        return fits(explicit)

    def _watermark(self, *, level: bool) -> int:
        """Below it everything was given, in all conversations: the node's watermark, since all up to that was handed
        out; while a replay is under way the one that its page was read at, and no further than its last message, as it
        goes in MsgId order."""
        if level:
            return max(self._base, watermark_after(self._hub.watermark))
        return max(self._base, min(watermark_after(self.replayed_watermark), self._last))

    def _close_soon(self) -> None:
        """Once all that comes in this turn of the loop is in, or a little later; a replay in progress fills the answer
        first."""
        if not self._is_closing and not self.behind and not self.is_kept:
            self._is_closing = True
            if delay := _pace.delay(self.loop.time()):
                self.loop.call_later(delay, self._close_if_level)
            else:
                self.loop.call_soon(self._close_if_level)

    def _close_if_level(self) -> None:
        self._is_closing = False
        # The answer that this was for may have been given already.
        if (self.messages or self.events) and not self.ended and not self.behind and not self.is_kept:
            self._close(level=True)

    def _close(self, *, level: bool) -> None:
        if level and self._keeper is not None and self.attached and self._has_something:
            self._answer_and_stay(self._keeper)
        else:
            self.ended = True
            self._settle(level=level)

    def _answer_and_stay(self, keeper: KeptPolls) -> None:
        cursor = self._end_at(level=True)
        self._resolve()
        self.answered = None
        self._base = cursor.watermark
        self.known = {number: place for number, place in self.known.items() if place[1] >= self._base}
        self.told = {number: told for number, told in self.told.items() if told[1] > cursor.microseconds}
        self.messages, self.events, self._bytes = [], [], 0
        keeper.add(self)

    def _settle(self, *, level: bool) -> None:
        self._end_at(level=level)
        if self._has_something:
            self._resolve()
        else:
            self.loop.call_later(CROWDED_SECONDS, self._resolve)

    def _end_at(self, *, level: bool) -> Cursor:
        """Work out the cursor."""
        watermark = self._watermark(level=level)
        positions = {number: seq for number, (seq, value) in self.known.items() if value >= watermark}
        since = microseconds_below(watermark)
        notices = {number: version for number, (version, at) in self.told.items() if at > since}
        cursor = cursor_at(watermark, positions, notices)
        self.cursor = cursor.encode()
        return cursor

    @property
    def _has_something(self) -> bool:
        return bool(self.messages or self.events or self._timed_out)

    def _resolve(self) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_result(self._body())


def _value_of_head(seat: Seat) -> int:
    """Of the MsgId of the conversation's last message; before the first, of none."""
    return seat.last_tick << msgid.LOW_BITS | msgid.low_bits(seat.conversation_type, seat.number)
