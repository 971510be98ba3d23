"""The ledger: every message of this process goes through here, in batches, by one writer thread.

Laws:
- A draft gets exactly one outcome: committed, a first send's receipt, an error, or "unknown" when its commit's end
  could not be learned. An acknowledgement means: committed.
- Batches form by themselves: while one commits, and its senders are told, the next gathers. No timer delays a lone
  draft.
- A draft waits ``MAX_WAIT_SECONDS`` at most: withdrawn (Unavailable) while in line, OutcomeUnknown once taken.
- A writer that hangs is replaced; its connection is shut so that it ends, and what it held is "unknown".
- After a commit the senders learn their outcome, then the fact is announced.
"""

import asyncio
import logging
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from django.db import DatabaseError, connections

from conversations.announcements import announce
from messaging.measures import count_batch, count_outcomes, count_refusal
from messaging.message import Again, Committed, MessagesCommitted, NewMessage, Outcome, Receipt
from messaging.queue import DraftQueue, Entry
from messaging.retries import append_with_retries
from messaging.traces import given_up, record
from quickim.errors import OutcomeUnknown, QuickimError, Unavailable
from quickim.observability import tracing
from quickim.observability.tracing import Trace

logger = logging.getLogger(__name__)

MAX_WAIT_SECONDS = 3.0
STUCK_SECONDS = 5.0
"""How long one batch may take before its writer is given up."""
TURNS = 3
"""Turns of the event loop between a batch and the next: in these the senders are told, their answers go out, and what
they send upon that comes in. A batch costs two round trips and a commit, whatever its size."""
TURNS_SECONDS = 0.02
"""A loop that takes longer is not waited for."""
IDLE_SECONDS = 0.5
"""How long a writer without work keeps its database connection."""
_WATCH_SECONDS = 0.1
_IDLE_WATCH_SECONDS = 0.5


class Waiter:
    """A sender on an event loop; its future is resolved there."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Receipt] = self.loop.create_future()

    def settle(self, outcome: Outcome) -> None:
        """On the loop: hand ``outcome`` over, unless the sender is gone."""
        if self.future.done():
            return
        if isinstance(outcome, Committed):
            self.future.set_result(outcome.receipt)
        elif isinstance(outcome, Receipt):
            self.future.set_result(outcome)
        else:
            self.future.set_exception(outcome)


class _Writer(threading.Thread):
    """One writer thread with its own database connection; ``abandoned`` once it was replaced."""

    def __init__(self, ledger: "Ledger") -> None:
        super().__init__(name="ledger writer", daemon=True)
        self.ledger = ledger
        self.abandoned = False
        self.batch: list[Entry] = []
        self.busy_since = 0.0
        self.is_connected = False
        self.turned = threading.Event()
        """The event loops came round after the last batch."""
        self.shut_connection: Callable[[], None] = lambda: None

    def run(self) -> None:
        connection = connections["default"]
        # Shutting the socket is the one thing that wakes a statement on a blackholed connection.
        self.shut_connection = lambda: _shut(connection.connection)
        try:
            while self.ledger.write_next(self):
                pass
        finally:
            connections.close_all()


class Ledger:
    """See the module. One per process; thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue = DraftQueue()
        self._writer: _Writer | None = None
        self._watcher: threading.Thread | None = None
        self._closing = False
        self._is_idle = False
        self._stuck_until = 0.0

    async def send(self, draft: NewMessage) -> Receipt:
        """Commit ``draft``; returns when it is. Raises what refused it, Unavailable or OutcomeUnknown.

        Calls made one after another on one event loop are appended in that order, inside a conversation.
        """
        waiter = Waiter()
        self._put(Entry(draft, time.monotonic() + MAX_WAIT_SECONDS, waiter))
        return await waiter.future

    def post(self, draft: NewMessage) -> None:
        """Put ``draft`` in line without waiting for it (drafts stored in the database, which outlive this process).
        Raises Unavailable."""
        self._put(Entry(draft, time.monotonic() + MAX_WAIT_SECONDS))

    @property
    def is_stuck(self) -> bool:
        """Whether a writer had to be given up a moment ago: the node is not ready."""
        return time.monotonic() < self._stuck_until

    @property
    def depth(self) -> int:
        """How many drafts are in line."""
        return len(self._queue)

    def close(self, within_seconds: float) -> None:
        """Finish what is in line, then end the threads; afterwards every send is Unavailable."""
        end = time.monotonic() + within_seconds
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            writer, watcher = self._writer, self._watcher
        for thread in (writer, watcher):
            if thread is not None:
                thread.join(max(0.0, end - time.monotonic()))

    def _put(self, entry: Entry) -> None:
        if (spans := tracing.spans()) is not None and (context := spans.current()) is not None:
            entry.draft.trace = Trace(context)
        with self._changed:
            if self._closing or not self._queue.put(entry):
                count_refusal(refusal := Unavailable())
                raise refusal
            if self._writer is None:
                self._writer = _Writer(self)
                self._writer.start()
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="ledger watcher", daemon=True)
                self._watcher.start()
            if self._is_idle:
                # Waking threads costs more than a send; a writer at work looks at the line by itself.
                self._is_idle = False
                self._changed.notify_all()

    def write_next(self, writer: _Writer) -> bool:
        """On the writer's thread: one batch. False when the thread is to end."""
        with self._changed:
            batch = self._wait_for_batch(writer)
            if batch is None:
                return False
            if batch:
                writer.batch, writer.busy_since = batch, time.monotonic()
        writer.is_connected = bool(batch)
        if not batch:
            _hand_back()
            return True
        drafts, deadline = [entry.draft for entry in batch], min(entry.deadline for entry in batch)
        recording = record(drafts)
        outcomes = append_with_retries(drafts, deadline) if recording is None else recording.append(deadline)
        count_batch(len(batch), time.monotonic() - writer.busy_since)
        with self._changed:
            if writer.abandoned:
                # The senders were told "unknown"; what did get stored is found by the sweep.
                return False
            writer.batch, writer.busy_since = [], 0.0
            again = [entry for entry, outcome in zip(batch, outcomes, strict=True) if isinstance(outcome, Again)]
            self._queue.park(again, time.monotonic())
        writer.turned.clear()
        is_told = _settle(batch, outcomes, writer.turned)
        if recording is not None:
            recording.tell(outcomes)
        if is_told:
            writer.turned.wait(TURNS_SECONDS)
        return True

    def _wait_for_batch(self, writer: _Writer) -> list[Entry] | None:
        """The next batch; None: the thread is to end; empty: there was nothing for a while."""
        while True:
            if writer.abandoned or (self._closing and not len(self._queue)):
                return None
            now = time.monotonic()
            if batch := self._queue.take(now):
                return batch
            retry = self._queue.next_retry()
            self._is_idle = True
            if retry is not None:
                self._changed.wait(max(0.001, retry - now))
            elif not writer.is_connected:
                self._changed.wait()
            elif not self._changed.wait(IDLE_SECONDS):
                return []

    def _watch(self) -> None:
        """On the watcher's thread: end waits that last too long, give up a writer that hangs."""
        while True:
            with self._changed:
                writer = self._writer
                while not self._closing and not len(self._queue) and not (writer and writer.busy_since):
                    # Not every draft wakes it (see _put): it looks by itself now and then.
                    self._changed.wait(_IDLE_WATCH_SECONDS)
                    writer = self._writer
                if self._closing and not len(self._queue) and not (writer and writer.busy_since):
                    return
                now = time.monotonic()
                expired = self._queue.expire(now)
                overdue = [entry for entry in writer.batch if entry.deadline <= now] if writer else []
                stuck = writer if writer and writer.busy_since and now - writer.busy_since > STUCK_SECONDS else None
                if stuck:
                    stuck.abandoned = True
                    self._stuck_until = now + STUCK_SECONDS
                    self._writer = _Writer(self)
                    self._writer.start()
            _settle(expired, [Unavailable()] * len(expired))
            _settle(overdue, [OutcomeUnknown()] * len(overdue))
            if tracing.spans() is not None:
                given_up([*expired, *overdue], "waited too long")
            if stuck:
                logger.error(
                    "The ledger's writer hung in the database and was replaced: see what the database waits for."
                )
                stuck.shut_connection()
            time.sleep(_WATCH_SECONDS)


def _hand_back() -> None:
    """Back to the pool with this thread's connection, where there is one; a writer must not end of it."""
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["CONN_MAX_AGE"] == 0:
            with suppress(DatabaseError):
                connection.close()


def _settle(entries: Sequence[Entry], outcomes: Sequence[Outcome], turned: threading.Event | None = None) -> bool:
    """Tell the senders, loop by loop, then announce what was committed. True: a loop will set ``turned``."""
    count_outcomes(outcomes)
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Waiter, Outcome]]] = defaultdict(list)
    for entry, outcome in zip(entries, outcomes, strict=True):
        if isinstance(outcome, Again):
            continue
        if entry.waiter is not None:
            by_loop[entry.waiter.loop].append((entry.waiter, outcome))
        elif isinstance(outcome, QuickimError):
            logger.info("A stored draft has to wait or was refused: code %d.", outcome.code)
    told = False
    for loop, settled in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_all, loop, settled, turned)
            told = True
        except RuntimeError:
            logger.warning(
                "Outcomes of %d sends came after their event loop had ended; their clients repeat them. Nothing to do.",
                len(settled),
            )
    committed = tuple(outcome for outcome in outcomes if isinstance(outcome, Committed))
    if committed:
        announce(MessagesCommitted(committed))
    return told


def _settle_all(
    loop: asyncio.AbstractEventLoop, settled: list[tuple[Waiter, Outcome]], turned: threading.Event | None
) -> None:
    for waiter, outcome in settled:
        waiter.settle(outcome)
    if turned is not None:
        loop.call_soon(_turn, loop, turned, TURNS - 1)


def _turn(loop: asyncio.AbstractEventLoop, turned: threading.Event, left: int) -> None:
    if left:
        loop.call_soon(_turn, loop, turned, left - 1)
    else:
        turned.set()


def _shut(raw: Any) -> None:
    if not hasattr(raw, "fileno"):
        return
    try:
        with socket.socket(fileno=os.dup(raw.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)
    except (OSError, DatabaseError):
        logger.info("The hung connection was closed already.")


_ledger = Ledger()


def ledger() -> Ledger:
    """This process's ledger."""
    return _ledger
