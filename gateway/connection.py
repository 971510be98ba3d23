"""One push connection, whatever its protocol: what it has been given, what it still waits for, and its outbox. Pure.

Laws:
- A connection gets each conversation strictly in Seq order. While it replays anything, live messages of *all*
  conversations wait for the replay too (only their Seq is kept, never the message): a client that stops in between
  resumes by the last MsgId it saw, and that must not lie beyond what it has not been given.
- Nobody waits for a slow reader: what it has not taken is bounded, and it is cut when it stays over the bound.
"""

import asyncio
from typing import TYPE_CHECKING

from gateway.cursor import Cursor
from gateway.wire import TOO_SLOW, Bundle, Farewell, Frame
from quickim.observability import metrics
from quickim.rest.callers import Caller

if TYPE_CHECKING:
    from gateway.resume import SessionLoad

GRACE_SECONDS = 0.1
"""How long an outbox may stay over its bound: a burst needs a moment to reach a fast reader's socket."""
HARD_FACTOR = 2
"""An outbox this many times over its bound is cut at once."""


class Connection:
    """What the hub knows of a connection; the transports subclass it."""

    __slots__ = (
        "__weakref__",
        "_expiry",
        "_over_since",
        "attached",
        "behind",
        "caller",
        "ended",
        "floors",
        "issued_at",
        "loop",
        "outbox_bytes",
        "replay",
        "replayed_watermark",
    )
    protocol = ""

    def __init__(self, caller: Caller, outbox_bytes: int) -> None:
        self.caller = caller
        self.outbox_bytes = outbox_bytes
        self.issued_at = 0
        """When (microseconds) its token was issued: revocations ask for it."""
        self.loop = asyncio.get_running_loop()
        self.attached = False
        self.ended = False
        self.behind: dict[int, int] = {}
        """By conversation's number: the Seq up to which a replaying connection was given everything."""
        self.floors: dict[int, int] = {}
        """By conversation's number: the client has this and all below, although the hub has not delivered it yet."""
        self.replay: asyncio.Task[None] | None = None
        self.replayed_watermark = 0
        """The node's watermark when the replay's last page was asked for: what came below it later is not in there."""
        self._expiry: asyncio.TimerHandle | None = None
        self._over_since = 0.0

    @property
    def is_kept(self) -> bool:
        """Whether nobody is at its other end just now (a poll between two questions); it counts as no connection."""
        return False

    def start_from(self, loaded: "SessionLoad", cursor: Cursor | None) -> None:
        """What the hub will attach it with, and the cursor that was read at; called before anything is pushed."""

    def push(self, frame: Frame) -> None:
        """Write ``frame``, or keep it until the reader takes it; returns at once."""
        raise NotImplementedError

    def finish(self, farewell: Farewell) -> None:
        """Say ``farewell`` and end; returns at once."""
        raise NotImplementedError

    @property
    def pending(self) -> int:
        """Bytes that the reader has not taken yet."""
        raise NotImplementedError

    async def drained(self) -> bool:
        """Wait until the reader has taken most of it. False when he does not in reasonable time, or is gone."""
        raise NotImplementedError

    def deliver(self, frame: Frame) -> None:
        """The hub's live message: pushed, unless the client has it or a replay will bring it."""
        if self.ended:
            self._not_given(frame)
            return
        if self.floors:
            floor = self.floors.get(frame.number)
            if floor is not None:
                if frame.seq <= floor:
                    self._not_given(frame)
                    return
                del self.floors[frame.number]
        if self.behind:
            self.behind.setdefault(frame.number, frame.seq - 1)
            self._not_given(frame)
            return
        self.push(frame)

    def push_all(self, bundle: Bundle) -> None:
        """``push`` for each of them."""
        for frame in bundle.frames:
            self.push(frame)

    def deliver_all(self, bundle: Bundle) -> None:
        """``deliver`` for each of them."""
        if self.ended or self.floors or self.behind:
            for frame in bundle.frames:
                self.deliver(frame)
        else:
            self.push_all(bundle)

    def level(self) -> None:
        """A replay brought everything that was missing."""

    def withhold(self, number: int, position: int) -> None:
        """What that deleted conversation holds above the Seq ``position`` comes only when it is restored."""
        self.behind.pop(number, None)

    def forget(self, number: int) -> None:
        """The session is no member of that conversation any more."""
        self.behind.pop(number, None)
        self.floors.pop(number, None)

    def end(self, farewell: Farewell) -> None:
        """End once, whoever asks first."""
        if not self.ended:
            self.ended = True
            if farewell is TOO_SLOW:
                metrics.SLOW_READERS.inc(1, self.protocol)
            self.finish(farewell)

    def expire_at(self, when_unix_seconds: float, now_unix_seconds: float, farewell: Farewell) -> None:
        """End with ``farewell`` at that time; a later call moves it."""
        if self._expiry is not None:
            self._expiry.cancel()
        # A timer of a loop holds at most about a year, and clocks drift apart by then anyway.
        delay = min(max(0.0, when_unix_seconds - now_unix_seconds), 86_400 * 300)
        self._expiry = self.loop.call_later(delay, self.end, farewell)

    def release(self) -> None:
        """Let go of timers; the connection is over."""
        self.ended = True
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def watch_outbox(self) -> None:
        """Called after each push that left something pending: cut the reader who stays over the bound."""
        pending = self.pending
        if pending <= self.outbox_bytes or self.ended:
            return
        if pending > self.outbox_bytes * HARD_FACTOR:
            self.end(TOO_SLOW)
        elif not self._over_since:
            self._over_since = self.loop.time()
            self.loop.call_later(GRACE_SECONDS, self._look_again)

    def _not_given(self, frame: Frame) -> None:
        """Whoever hands ``frame`` out counts all connections at once, in the same turn of the loop."""
        metrics.DELIVERIES.inc(-1, self.protocol)
        metrics.DELIVERED_BYTES.inc(-len(frame.body), self.protocol)

    def _look_again(self) -> None:
        self._over_since = 0.0
        if not self.ended and self.pending > self.outbox_bytes:
            self.end(TOO_SLOW)


class Outbox:
    """Chunks that wait for one reader who takes them in order."""

    __slots__ = ("_chunks", "_low", "_wake", "closed", "size")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._wake: asyncio.Future[None] | None = None
        self._low: asyncio.Future[None] | None = None
        self.closed = False
        self.size = 0

    def put(self, chunk: bytes) -> None:
        """Append ``chunk``; after ``close`` nothing is taken in any more."""
        if not self.closed:
            self._chunks.append(chunk)
            self.size += len(chunk)
            self.wake()

    def close(self, last: bytes, *, drop: bool) -> None:
        """End after ``last``; with ``drop`` without what still waits before it."""
        if self.closed:
            return
        if drop:
            self._chunks.clear()
            self.size = 0
        self.put(last)
        self.closed = True
        self.wake()

    def take(self, max_bytes: int) -> bytes:
        """What waits, joined, about ``max_bytes`` of it; ``b""`` when nothing does."""
        chunks, count, size = self._chunks, 0, 0
        while count < len(chunks) and size < max_bytes:
            size += len(chunks[count])
            count += 1
        taken = chunks[:count]
        del chunks[:count]
        self.size -= size
        if self._low is not None and not chunks and not self._low.done():
            self._low.set_result(None)
        return taken[0] if len(taken) == 1 else b"".join(taken)

    async def wait(self, seconds: float) -> bool:
        """Wait for something to take, or the end; False after ``seconds`` without."""
        if self._chunks or self.closed:
            return True
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_later(seconds, self.wake)
        try:
            await self._wake
        finally:
            timer.cancel()
            self._wake = None
        return bool(self._chunks) or self.closed

    async def emptied(self, seconds: float) -> bool:
        """Wait until everything was taken; False after ``seconds``, or when the outbox is closed."""
        if not self._chunks:
            return not self.closed
        self._low = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._low
        except TimeoutError:
            return False
        finally:
            self._low = None
        return not self.closed

    def wake(self) -> None:
        """Let the reader look."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
