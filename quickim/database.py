"""Database work beside the event loop: a bounded set of threads, each with a connection of its own, and one writer.

Laws: nothing on the event loop touches the ORM; a thread gives its connection back after each piece of work, so no
stream ever holds one, and waits for no lock that a foreign transaction may hold for long; on SQLite all writing
transactions of this process stand in one line, because its lock is waited for by polling, which starves whoever comes
late.
"""

import asyncio
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple, ParamSpec, TypeVar

from django.db import OperationalError, close_old_connections, connection, transaction
from django.db.models import Model, QuerySet

from quickim.bundles import Statement, bundle
from quickim.errors import Unavailable

P = ParamSpec("P")
M = TypeVar("M", bound=Model)
T = TypeVar("T")

THREADS = 4
MAX_WAITING = 2_000
MAX_WRITE_SECONDS = 3.0
"""How long a transaction may take from its clock reading to its commit: sweeps rely on it (see gateway.sweep)."""

MAX_LOCK_SECONDS = 3.0
LOCK_RETRY_SECONDS = 0.05
LOCK_NOT_AVAILABLE = "55P03"

APPEND_MARK = (0x71696D, 1)
"""The advisory lock that all appends on PostgreSQL share, from before their clock reading to their end."""

POSTGRESQL_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
CLOCK_STATEMENTS: dict[str, list[Statement]] = {"sqlite": [], "postgresql": [(f"SELECT {POSTGRESQL_CLOCK}", ())]}
"""What reads the clock in a bundle, by the vendor: SQLite has the clock of this machine."""

_UNDER_WAY_SINCE: Statement = (
    "SELECT (extract(epoch FROM min(xact_start)) * 1000000)::bigint FROM pg_stat_activity"
    " WHERE datname = current_database() AND (state = 'active' AND query ILIKE 'commit%%' OR pid IN ("
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND (classid, objid) = (%s, %s)"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))",
    APPEND_MARK,
)

_waits_for_locks: contextvars.ContextVar[bool] = contextvars.ContextVar("waits_for_locks", default=True)
HELP_SECONDS = 0.002
"""How long work waits for the threads that are at it before another thread helps them. While statements are short, one
thread does more than several, which take the interpreter from each other."""
_sqlite_writer = threading.RLock()
_writing_since: float | None = None
"""When (monotonic seconds) the transaction began that holds ``_sqlite_writer``."""


async def in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function`` on a database thread. Raises Unavailable when 2,000 others already wait."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    # The request id of log lines goes along.
    work = partial(contextvars.copy_context().run, partial(_run, function, *args, **kwargs))
    _threads.take_on(_Work(loop, future, work))
    return await future


async def in_database_locking(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``in_database`` for work that locks rows (``locked``): what another transaction holds is not waited for on a
    thread, of which there are few, but asked for again. Raises Unavailable when it is held for too long."""
    deadline = time.monotonic() + MAX_LOCK_SECONDS
    while True:
        token = _waits_for_locks.set(False)
        try:
            return await in_database(function, *args, **kwargs)
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
                raise
            if time.monotonic() > deadline:
                raise Unavailable({"conversation": "is held by another transaction"}) from None
        finally:
            _waits_for_locks.reset(token)
        await asyncio.sleep(LOCK_RETRY_SECONDS)


def locked(rows: QuerySet[M]) -> QuerySet[M]:
    """``rows``, locked to the end of the transaction in the order that they are in. Raises OperationalError when they
    are held by another one, at once in ``in_database_locking``."""
    return rows.select_for_update(no_key=True, nowait=not _waits_for_locks.get())


def workload() -> tuple[int, int]:
    """How many of the database threads are busy, and how many pieces of work wait for one."""
    return _threads.busy, _threads.waiting


class _Work(NamedTuple):
    """A piece of work, and who waits for it."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    do: Callable[[], Any]

    def settle(self, outcome: Any, error: BaseException | None) -> None:
        """On the loop."""
        if self.future.done():
            return
        if error is None:
            self.future.set_result(outcome)
        else:
            self.future.set_exception(error)


class _Threads:
    """The database threads: as many at work as the work needs, each until nothing is left."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="database")
        self._lock = threading.Lock()
        self._line: deque[_Work] = deque()
        self.busy = 0
        self._helps_on: asyncio.AbstractEventLoop | None = None
        """The loop on which it is looked soon whether another thread should help."""

    @property
    def waiting(self) -> int:
        """Pieces of work in line."""
        return len(self._line)

    def take_on(self, work: _Work) -> None:
        """Have ``work`` done. Raises Unavailable."""
        with self._lock:
            if len(self._line) >= MAX_WAITING:
                raise Unavailable
            self._line.append(work)
            is_first = self.busy == 0
            if is_first:
                self.busy = 1
        if is_first:
            self._executor.submit(self._work)
        elif self.busy < THREADS:
            self._help_soon(work.loop)

    def _help_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._helps_on is not loop:
            self._helps_on = loop
            loop.call_later(HELP_SECONDS, self._help, loop)

    def _help(self, loop: asyncio.AbstractEventLoop) -> None:
        self._helps_on = None
        with self._lock:
            if not self._line or self.busy == THREADS:
                return
            self.busy += 1
        self._executor.submit(self._work)
        self._help_soon(loop)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._line:
                    self.busy -= 1
                    return
                work = self._line.popleft()
            if work.future.cancelled():
                continue
            outcome, failure = None, None
            try:
                outcome = work.do()
            except BaseException as error:  # noqa: BLE001  # whatever it is, it is for whoever waits
                failure = error
            # A loop that has ended waits for nothing.
            with suppress(RuntimeError):
                work.loop.call_soon_threadsafe(work.settle, outcome, failure)


_threads = _Threads()


def _run(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return function(*args, **kwargs)
    finally:
        close_old_connections()


@contextmanager
def write_transaction() -> Iterator[None]:
    """A transaction that writes; in line with the other writers of this process on SQLite."""
    global _writing_since
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with _sqlite_writer:
            _writing_since = time.monotonic()
            try:
                with transaction.atomic():
                    yield
            finally:
                _writing_since = None
    else:
        with transaction.atomic():
            yield


@contextmanager
def timely() -> Iterator[int]:
    """Gives the database's clock in microseconds and fails when the block outlasts MAX_WRITE_SECONDS.

    Whoever stores a time that sweeps look for does so in here, as the last thing before the commit. Raises Unavailable.
    """
    with in_time():
        yield database_clock()


@contextmanager
def in_time() -> Iterator[None]:
    """``timely`` for a block that reads the clock by itself."""
    started = time.monotonic()
    yield
    if time.monotonic() - started > MAX_WRITE_SECONDS:
        raise Unavailable({"database": "the transaction took too long"})


def settled_clock() -> int:
    """The database's clock at which everything committed later is at least as late: now less ``MAX_WRITE_SECONDS``,
    and no later than the begin of any transaction that bears the mark of an append, or whose COMMIT is under way (a
    process may be stopped before it, and a disk may stall in it, for longer than that).
    """
    if connection.vendor == "postgresql":
        clock, under_way = bundle([*CLOCK_STATEMENTS["postgresql"], _UNDER_WAY_SINCE])
        now, began = database_clock(int(clock[0][0])), under_way[0][0]
    else:
        now, since = database_clock(), _writing_since
        began = None if since is None else now - int((time.monotonic() - since) * 1_000_000)
    settled = now - int(MAX_WRITE_SECONDS * 1_000_000)
    return settled if began is None else min(settled, int(began))


def database_clock(reading: int | None = None) -> int:
    """Microseconds since the Unix epoch by the clock that all nodes share: the database server's; ``reading``, if
    another statement has brought it (``POSTGRESQL_CLOCK``)."""
    if reading is not None:
        return reading
    if connection.vendor == "postgresql":
        return int(bundle(CLOCK_STATEMENTS["postgresql"])[0][0][0])
    return time.time_ns() // 1_000
