"""The bugs that chaos must find, each the smallest change that breaks one promise the way people really break it.

Law: a bug replaces functions of the product in the process that it is planted in, and nothing else.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.db import connection

import gateway.api
import gateway.node
from gateway import entrance, sweep
from gateway.connection import Connection
from gateway.hub import Hub
from gateway.transports import poll, sse
from messaging import append, append_postgres, history, ledger
from messaging.append_postgres import PostgresStatements
from messaging.message import Committed, MessagesCommitted, Outcome, Receipt
from quickim.errors import OutcomeUnknown


def put(owner: Any, name: str, replacement: Any) -> Any:
    """Replace a function of the product; returns the original."""
    original = getattr(owner, name)
    setattr(owner, name, replacement)
    return original


def _acknowledge_before_commit() -> None:
    """The sender is told when all is written, and the commit follows."""
    local = threading.local()

    def acknowledge(*args: Any) -> list[Outcome]:
        outcomes: list[Outcome] = original_append(*args)
        told = [Receipt(o.message.msg_id, o.message.send_time) if isinstance(o, Committed) else o for o in outcomes]
        ledger._settle(local.writer.batch, told)
        # A disk that takes its time.
        time.sleep(0.05)
        return outcomes

    def remember_writer(self: Any, writer: Any) -> bool:
        local.writer = writer
        return bool(original_write(self, writer))

    original_append = put(append, "_append", acknowledge)
    original_write = put(ledger.Ledger, "write_next", remember_writer)


def _number_without_the_lock() -> None:
    """Seq comes from a counter that every transaction advances at once; no row is locked while it is given."""

    def read(self: Any, drafts: Any) -> Any:
        ground = original_read(self, drafts)
        for head in ground.heads.values():
            head.locked = True
        return ground

    def place(self: Any, draft: Any, head: Any, now: int, nudge: int) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE SEQUENCE IF NOT EXISTS planted_{head.number}")
            cursor.execute(f"SELECT nextval('planted_{head.number}')")
            head.last_seq = cursor.fetchone()[0] - 1
        # One sender's transaction sleeps between its number and its commit.
        time.sleep(0.05 if head.last_seq % 7 == 0 else 0)
        return original(self, draft, head, now, nudge)

    lock: str = append_postgres._LOCK
    put(append_postgres, "_LOCK", lock.replace(" FOR NO KEY UPDATE SKIP LOCKED", ""))
    original_read = put(PostgresStatements, "read", read)
    original = put(append._Plan, "_place", place)


def _tick_by_own_clock() -> None:
    """The time in a MsgId is the worker's, not the database's, and nothing makes it rise."""

    def place(self: Any, draft: Any, head: Any, now: int, nudge: int) -> Any:
        head.last_tick = 0
        return original(self, draft, head, time.time_ns() // 1_000, nudge)

    original = put(append._Plan, "_place", place)


def _forget_repeats() -> None:
    """A client_msg_id is neither looked up nor unique."""

    def read(self: Any, drafts: Any) -> Any:
        return replace(original_read(self, drafts), known={})

    def decide(self: Any, *args: Any) -> Outcome:
        self.new.clear()
        outcome: Outcome = original(self, *args)
        return outcome

    original = put(append._Plan, "decide", decide)
    original_read = PostgresStatements.read
    put(PostgresStatements, "read", read)
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX IF EXISTS message_client_msg_id_once")
    connection.close()


def _no_sweep() -> None:
    """Nothing is looked for in the database; only the clock is read."""

    async def compare_all(self: Any) -> list[Any]:
        return []

    read_findings = sweep.read_findings
    put(sweep, "read_findings", lambda tick, look_back=0: read_findings(0))
    put(sweep.Sweep, "_compare_all", compare_all)


def _announce_in_transaction() -> None:
    """Messages are announced before they are committed."""

    def announce_first(*args: Any) -> list[Outcome]:
        outcomes: list[Outcome] = original(*args)
        committed = tuple(outcome for outcome in outcomes if isinstance(outcome, Committed))
        if committed:
            announce(MessagesCommitted(committed))
            time.sleep(0.05)
        return outcomes

    original = put(append, "_append", announce_first)
    announce = put(ledger, "announce", lambda fact: None)


def _read_before_registering() -> None:
    """What is committed between the look into the database and the registration with the hub is nobody's."""
    heads: dict[Any, dict[int, int]] = {}

    async def enter(*arguments: Any) -> None:
        await asyncio.sleep(0.1)
        await original_enter(*arguments)

    def attach(self: Any, connection: Any, load: Any) -> bool:
        heads[connection] = {seat.number: seat.last_seq for seat in load.seats}
        return bool(original_attach(self, connection, load))

    def windows(self: Any, connection: Any) -> list[Any]:
        found = []
        for window in original_windows(self, connection):
            head = heads.get(connection, {}).pop(window.number, window.high)
            # The rest counts as given.
            connection.behind[window.number] = window.high
            found.append(type(window)(window.number, window.low, min(window.high, head)))
        return found

    original_enter = put(entrance, "enter", enter)
    original_attach = put(Hub, "attach", attach)
    original_windows = put(Hub, "windows", windows)
    put(Hub, "_is_outdated", lambda self, load: False)


def _no_merge() -> None:
    """Live messages overtake the replay."""

    def deliver(self: Connection, frame: Any) -> None:
        if not self.ended:
            self.push(frame)

    put(Connection, "deliver", deliver)


def _layer_fails_sends() -> None:
    """A send fails when it cannot be announced."""

    async def send(self: Any, draft: Any) -> Receipt:
        receipt: Receipt = await original(self, draft)
        if not gateway.node.node().layer.is_up:
            raise OutcomeUnknown
        return receipt

    original = put(ledger.Ledger, "send", send)


def _members_of_the_connect() -> None:
    """Membership is read when somebody connects, and an end of it is never heard of."""

    def apply_row(self: Any, room: Any, row: Any) -> bool:
        return bool(row.is_active and original(self, room, row))

    original = put(Hub, "_apply_row", apply_row)


def _endless_outbox() -> None:
    """What a slow reader does not take is kept for ever."""
    put(Connection, "watch_outbox", lambda self: None)


def _poll_position_on_send() -> None:
    """A poll goes on where the last answer ended, whether that arrived or not."""

    async def answer(identity: Any, cursor: Any, *more: Any) -> Any:
        return await original(identity, poll._pollers.resume(identity) or cursor, *more)

    original = put(gateway.api, "answer_poll", answer)


def _sse_from_now() -> None:
    """A stream begins now, whatever the client saw last."""
    put(gateway.api, "open_stream", lambda request, identity, cursor: sse.open_stream(request, identity, None))


def _resume_includes_the_last() -> None:
    """``>=`` for ``>``: the message that the cursor names comes again."""

    def place(self: Any, connection: Any, room: Any, position: int) -> None:
        original(self, connection, room, max(0, position - 1))

    original = put(Hub, "_place", place)


def _history_by_time() -> None:
    """History is ordered by the time of sending, which several messages may share."""

    def page(*args: Any, **options: Any) -> list[Any]:
        messages: list[Any] = original(*args, **options)
        return sorted(messages, key=lambda message: (message["SendTime"], message["Content"]))

    original = put(history, "_page", page)


def _commit_later() -> None:
    """``synchronous_commit=off`` (for appends: with all of it off, the server refuses to start): an acknowledged commit
    may be in memory only."""

    def append_hastily(*args: Any) -> list[Outcome]:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
        outcomes: list[Outcome] = original(*args)
        return outcomes

    original = put(append, "_append", append_hastily)


PLANTS: dict[str, Callable[[], None]] = {
    "acknowledge_before_commit": _acknowledge_before_commit,
    "number_without_the_lock": _number_without_the_lock,
    "tick_by_own_clock": _tick_by_own_clock,
    "forget_repeats": _forget_repeats,
    "no_sweep": _no_sweep,
    "announce_in_transaction": _announce_in_transaction,
    "read_before_registering": _read_before_registering,
    "no_merge": _no_merge,
    "layer_fails_sends": _layer_fails_sends,
    "members_of_the_connect": _members_of_the_connect,
    "endless_outbox": _endless_outbox,
    "poll_position_on_send": _poll_position_on_send,
    "sse_from_now": _sse_from_now,
    "resume_includes_the_last": _resume_includes_the_last,
    "history_by_time": _history_by_time,
    "commit_later": _commit_later,
}
"""By name; where each shows is in ``tests.chaos.planting.table``."""
