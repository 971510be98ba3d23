"""Long-polling: one answer with what there is, and a cursor after which nothing is missed or repeated, on any worker.

The cursor is worked out at the very moment the answer is closed: from then on the connection takes nothing more, so
what it says was given is exactly what the answer holds.
"""

import asyncio
import dataclasses
import time
from collections import OrderedDict

from django.conf import settings
from django.http import HttpResponse

from gateway import entrance
from gateway.claims import Identity
from gateway.connection import Connection
from gateway.cursor import Cursor, cursor_at, fits, watermark_after
from gateway.hub import Hub
from gateway.node import node
from gateway.resume import Seat, SessionLoad
from gateway.wire import Farewell, Frame
from messaging import msgid
from quickim.rest.addresses import OWN, Visitor

MAX_MESSAGES = 500
MAX_BYTES = 2**20
CROWDED_SECONDS = 0.5
"""How long an answer waits that can hold nothing because too many conversations moved within the last seconds."""
REMEMBERED_SECONDS = 120.0
REMEMBERED_POLLERS = 10_000
_FITS_ANYWAY = 30
"""Positions that always fit a cursor."""
_UNKNOWN = watermark_after(msgid.MAX_TICK)


class PollConnection(Connection):
    """A connection that lives for one answer. ``known``: by conversation's number, the Seq given and the value of
    its MsgId."""

    __slots__ = (
        "_base",
        "_bytes",
        "_hub",
        "_is_closing",
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

    def __init__(self, hub: Hub, identity: Identity, limit: int = MAX_MESSAGES) -> None:
        super().__init__(identity.caller, settings.QUICKIM.outbox_bytes)
        self._hub = hub
        self._limit = limit
        self.messages: list[bytes] = []
        self.events: list[bytes] = []
        self.known: dict[int, tuple[int, int]] = {}
        self.told: dict[int, tuple[int, int]] = {}
        self.cursor = ""
        self.answered: asyncio.Future[None] = self.loop.create_future()
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

    def push(self, frame: Frame) -> None:
        """See Connection."""
        if self.ended:
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
            self._close(level=not self.behind)
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
        self.events.append(farewell.notice().body)
        self._settle(level=not self.behind)

    def close_empty_handed(self) -> None:
        """The wait is over."""
        if not self.ended:
            self._timed_out = True
            self._close(level=not self.behind)

    def body(self) -> bytes:
        """The answer's envelope."""
        return b'{"code":0,"data":{"Msg":[%b],"Event":[%b],"Cursor":"%b"}}' % (
            b",".join(self.messages),
            b",".join(self.events),
            self.cursor.encode(),
        )

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
        """Once all that comes in this turn of the loop is in; a replay in progress fills the answer first."""
        if not self._is_closing and not self.behind:
            self._is_closing = True
            self.loop.call_soon(self._close_if_level)

    def _close_if_level(self) -> None:
        self._is_closing = False
        if not self.ended and not self.behind:
            self._close(level=True)

    def _close(self, *, level: bool) -> None:
        self.ended = True
        self._settle(level=level)

    def _settle(self, *, level: bool) -> None:
        cursor = cursor_at(self._watermark(level=level), {}, {})
        positions = {number: seq for number, (seq, value) in self.known.items() if value >= cursor.watermark}
        notices = {number: version for number, (version, at) in self.told.items() if at > cursor.microseconds}
        self.cursor = dataclasses.replace(cursor, positions=positions, notices=notices).encode()
        if self.messages or self.events or self._timed_out:
            self._resolve()
        else:
            self.loop.call_later(CROWDED_SECONDS, self._resolve)

    def _resolve(self) -> None:
        if not self.answered.done():
            self.answered.set_result(None)


def _value_of_head(seat: Seat) -> int:
    """Of the MsgId of the conversation's last message; before the first, of none."""
    return seat.last_tick << msgid.LOW_BITS | msgid.low_bits(seat.conversation_type, seat.number)


class _Pollers:
    """Where the last answer to a simple poller ended, who sends no cursor."""

    def __init__(self) -> None:
        self._ends: OrderedDict[tuple[str, int], tuple[float, str]] = OrderedDict()

    def resume(self, identity: Identity) -> Cursor | None:
        """His last answer's cursor, if it is recent."""
        at, cursor = self._ends.get(self._key(identity), (float("-inf"), ""))
        return entrance.parse_cursor(cursor) if time.monotonic() - at < REMEMBERED_SECONDS else None

    def remember(self, identity: Identity, cursor: str) -> None:
        """An answer ended at ``cursor``."""
        key = self._key(identity)
        self._ends[key] = (time.monotonic(), cursor)
        self._ends.move_to_end(key)
        if len(self._ends) > REMEMBERED_POLLERS:
            self._ends.popitem(last=False)

    def _key(self, identity: Identity) -> tuple[str, int]:
        return identity.caller.session, identity.caller.platform


_pollers = _Pollers()


async def answer_poll(identity: Identity, cursor: Cursor | None, visitor: Visitor = OWN) -> HttpResponse:
    """Wait for something after ``cursor`` and answer with it. Raises what refuses the poll."""
    hub = node().hub
    entrance.admit(identity, visitor, is_poll=True)
    legacy = settings.QUICKIM.legacy and cursor is None
    cursor = cursor or _pollers.resume(identity)
    loaded = await entrance.load(identity.caller.session, cursor)
    connection = PollConnection(hub, identity, limit=1 if legacy else MAX_MESSAGES)
    try:
        await entrance.enter(connection, identity, loaded, cursor, visitor)
        timer = connection.loop.call_later(settings.QUICKIM.poll_wait_seconds, connection.close_empty_handed)
        try:
            await connection.answered
        finally:
            timer.cancel()
    finally:
        entrance.leave(connection)
    _pollers.remember(identity, connection.cursor)
    if legacy:
        if not connection.messages:
            return HttpResponse(status=204)
        return _json(connection.messages[0])
    return _json(connection.body())


_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def _json(body: bytes) -> HttpResponse:
    return HttpResponse(body, headers=_HEADERS)
