"""The processes of the model, all in this one: each has a ledger with a writer of its own, and may die at any point.

What runs on behalf of a process runs ``acting`` for it; facts are told by the process that committed them, and the
process's own ledger and node are what the doors find (``use_processes``).
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Literal
from weakref import WeakKeyDictionary

import pytest

from conversations import announcements
from gateway.envelopes import publish_fact
from gateway.hub import MAX_AHEAD_TICKS
from gateway.sweep import FULL_COMPARISON_SECONDS, Sweep
from messaging import append, msgid, retries
from messaging.append import CommitUnclear
from messaging.ledger import Ledger, _Writer
from messaging.message import NewMessage, Outcome
from messaging.queue import DraftQueue
from quickim.database import MAX_WRITE_SECONDS
from quickim.errors import ConversationNotFound
from tests.gateway.in_process import Clock, InProcess
from tests.model.air import Air, AirLayer

Trouble = Literal["in_transaction", "after_commit", "before_announcement", "unclear_stored", "unclear_lost"]
"""Where a process dies while it writes a batch, or (unclear) loses the database's answer to its COMMIT."""
DEATHS: tuple[Trouble, ...] = ("in_transaction", "after_commit", "before_announcement")
TROUBLES: tuple[Trouble, ...] = (*DEATHS, "unclear_stored", "unclear_lost")

_JOIN_SECONDS = 5.0


class Process:
    """One that commits, and tells the others. ``acting`` is how the test does something in it."""

    def __init__(self, clock: Clock, air: Air) -> None:
        self.clock = clock
        self.air = air
        self.ledger = Ledger()
        self.is_dead = False
        self.trouble: Trouble | None = None
        self.loop = asyncio.get_running_loop()
        self.layer = AirLayer(air, self, lambda kind, payload: None, lambda: None)
        _owners[self.ledger] = self

    @contextmanager
    def acting(self) -> Iterator[None]:
        """What is done inside is done in this process."""
        token = _acting.set(self)
        try:
            yield
        finally:
            _acting.reset(token)

    def announce(self, fact: Any) -> None:
        """Any thread: something was committed here."""
        if self.trouble == "before_announcement":
            self.is_dead = True
        if self.is_dead:
            self.loop.call_soon_threadsafe(self.air.nobody_heard)
            # Only a thread that dies now is one of this process.
            if isinstance(threading.current_thread(), _Writer):
                raise SystemExit
            return
        self._tell(fact)

    async def announced(self) -> None:
        """Returns when what the ledger was given before is committed and told."""
        if self.ledger._writer is not None and not self.is_dead:
            # The writer announces a batch before it takes the next one; the first may share its batch with a draft
            # that nobody waits for.
            for _ in range(2):
                with suppress(ConversationNotFound):
                    await self.ledger.send(NewMessage("no conversation", "", 0, 0, ""))
        await _facts_are_heard()

    @property
    def is_writing(self) -> bool:
        """Whether the writer lives."""
        writer = self.ledger._writer
        return writer is None or writer.is_alive()

    async def bury(self) -> None:
        """Ends the threads; what was in line is lost."""
        ledger = self.ledger
        with ledger._changed:
            ledger._queue = DraftQueue()
            if not self.is_writing and ledger._writer is not None:
                ledger._writer.busy_since = 0.0
        await self.loop.run_in_executor(None, ledger.close, _JOIN_SECONDS)

    def _tell(self, fact: Any) -> None:
        self.loop.call_soon_threadsafe(publish_fact, self.layer, fact)


class Worker(InProcess, Process):
    """A process that serves connections. The test's own knowledge of it: what it missed, and how far it swept."""

    def __init__(self, clock: Clock, air: Air) -> None:
        InProcess.__init__(self, clock)
        Process.__init__(self, clock, air)
        self.layer = self.node.layer = AirLayer(air, self, self.node._on_envelope, self._something_was_lost)
        self.node.sweep = _WatchedSweep(self)
        self.is_draining = False
        self.sweeps_by_itself = True
        self.is_sweep_due = False
        self.is_blind = False
        """Something that it had not heard of was pruned: only the comparison of all heads can show that."""
        self.misses = self.caught_up = 0
        self.swept_from = self.swept_until = 0
        """The database's clock (microseconds) when the latest sweep began, and when it was over."""

    async def start(self) -> None:
        """See InProcess."""
        self.air.listeners.append(self)
        await self.sweep()

    async def stop(self) -> None:
        """See InProcess; the threads end too."""
        await self.hub.repairs.close()
        await self.bury()

    async def announced(self) -> None:
        """See Process."""
        await Process.announced(self)

    async def settled(self) -> None:
        """See InProcess; whoever gave the ledger something has waited for it already."""
        await _facts_are_heard()
        await self.levelled()

    async def sweep(self, *, full: bool = False) -> None:
        """See InProcess; ``full``: with the comparison of all heads."""
        with self.acting():
            if full:
                self.node.sweep._compared_at -= FULL_COMPARISON_SECONDS + 1
            await self.node.sweep.once()
        await self.settled()

    def hear(self, kind: str, payload: Any) -> None:
        """See Listener."""
        with self.acting():
            self.node._on_envelope(kind, payload)

    def missed(self) -> None:
        """See Listener."""
        self.misses += 1

    @property
    def is_stale(self) -> bool:
        """Whether there may be something that it neither heard of nor swept up."""
        return self.misses > self.caught_up or self.is_blind

    @property
    def may_give(self) -> int:
        """The highest tick that a message may have that it gives to anybody."""
        return _ahead_of(self.swept_until)

    @property
    def must_give(self) -> int:
        """The highest tick up to which it holds nothing back."""
        return _ahead_of(self.swept_from)

    def _tell(self, fact: Any) -> None:
        self.node._on_fact(fact)

    def _something_was_lost(self) -> None:
        self.is_sweep_due = True


class _WatchedSweep(Sweep):
    """Notes what the sweep has certainly seen."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker.hub, lambda: worker.layer.is_up, worker.node.revocation_watch.catch_up)
        self._worker = worker

    async def once(self) -> None:
        """See Sweep."""
        worker = self._worker
        misses, began, compared_at = worker.misses, worker.clock.now, self._compared_at
        worker.is_sweep_due = False
        await super().once()
        # Drafts that it found.
        await worker.announced()
        worker.caught_up = max(worker.caught_up, misses)
        worker.swept_from = max(worker.swept_from, began)
        worker.swept_until = worker.clock.now
        if self._compared_at != compared_at:
            worker.is_blind = False


async def _facts_are_heard() -> None:
    """They take two turns of the loop."""
    for _ in range(3):
        await asyncio.sleep(0)


def _ahead_of(microseconds: int) -> int:
    return msgid.tick_at(microseconds - int(MAX_WRITE_SECONDS * 1_000_000)) - 1 + MAX_AHEAD_TICKS


_acting: ContextVar[Process] = ContextVar("acting")
_owners: "WeakKeyDictionary[Ledger, Process]" = WeakKeyDictionary()


def current() -> Process:
    """The process that this thread or task works for."""
    thread = threading.current_thread()
    return _owners[thread.ledger] if isinstance(thread, _Writer) else _acting.get()


def _current_node() -> Any:
    process = current()
    assert isinstance(process, Worker)
    return process.node


def use_processes(patch: pytest.MonkeyPatch) -> None:
    """The doors find the acting process's node and ledger, its facts are its own, and its writer has its troubles."""
    patch.setattr(announcements, "_listeners", [lambda fact: current().announce(fact)])
    patch.setattr("gateway.entrance.node", _current_node)
    patch.setattr("gateway.transports.poll.node", _current_node)
    patch.setattr("messaging.services.ledger", _current_ledger)
    patch.setattr(append, "_append", _dying_in_transaction(append._append))
    patch.setattr("messaging.ledger.append_with_retries", _dying_after_commit(retries.append_with_retries))
    patch.setattr(retries, "append_batch", _unclear(append.append_batch))
    patch.setattr(_Writer, "run", _dying_silently(_Writer.run))


def _current_ledger() -> Ledger:
    process = current()
    return _closed if process.is_dead else process.ledger


_closed = Ledger()
_closed.close(0)


def _dying_in_transaction(original: Callable[..., list[Outcome]]) -> Callable[..., list[Outcome]]:
    def append_and_die(*args: Any) -> list[Outcome]:
        outcomes = original(*args)
        if current().trouble == "in_transaction":
            raise SystemExit
        return outcomes

    return append_and_die


def _dying_after_commit(original: Callable[..., list[Outcome]]) -> Callable[..., list[Outcome]]:
    def append_and_die(*args: Any) -> list[Outcome]:
        outcomes = original(*args)
        if current().trouble == "after_commit":
            raise SystemExit
        return outcomes

    return append_and_die


def _unclear(original: Callable[..., list[Outcome]]) -> Callable[..., list[Outcome]]:
    def append_and_never_know(*args: Any, **options: Any) -> list[Outcome]:
        trouble = current().trouble
        if trouble == "unclear_lost":
            raise CommitUnclear
        outcomes = original(*args, **options)
        if trouble == "unclear_stored":
            raise CommitUnclear
        return outcomes

    return append_and_never_know


def _dying_silently(original: Callable[[_Writer], None]) -> Callable[[_Writer], None]:
    def run(writer: _Writer) -> None:
        with suppress(SystemExit):
            original(writer)

    return run
