"""Which failures of a batch are tried again, which are kept to their draft, and which end in "unknown"."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import psycopg
import pytest
from django.db import DataError, IntegrityError, OperationalError, connection

from conversations.models import Conversation
from conversations.services import create_conversation
from messaging import msgid, retries
from messaging.append import CommitUnclear, append_batch, statements
from messaging.append_sql import Ground, Head, Statements
from messaging.message import Committed, NewMessage, Outcome, StoredMessage
from messaging.retries import append_with_retries
from quickim.errors import InternalError, OutcomeUnknown, Unavailable
from tests.gateway.in_process import Clock
from tests.messaging.conftest import draft, stored
from tests.messaging.test_append import clashing_with, committed

Append = Callable[[Sequence[NewMessage], int], list[Outcome]]


def soon() -> float:
    """A deadline that leaves time for some retries."""
    return time.monotonic() + 0.5


def failing(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> list[int]:
    """Batches fail with ``errors``, one each, then succeed; gives the sizes of the batches that were tried."""
    waiting, sizes = list(errors), []

    def append(drafts: Sequence[NewMessage], nudge: int = 0) -> list[Outcome]:
        sizes.append(len(drafts))
        if waiting:
            raise waiting.pop(0)
        return append_batch(drafts, nudge)

    monkeypatch.setattr(retries, "append_batch", append)
    return sizes


def without_a_common_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversations count for themselves, as they do on PostgreSQL, so that their MsgIds can clash."""
    read = type(statements()).read

    def uncounted(sql: Statements, drafts: Sequence[NewMessage]) -> Ground:
        return replace(read(sql, drafts), floor=None)

    monkeypatch.setattr(type(statements()), "read", uncounted)


def test_a_msgid_that_clashes_is_tried_again_with_a_higher_one(
    room: Conversation, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_a_common_counter(monkeypatch)
    twin = clashing_with(room)
    (first,) = append_with_retries([draft(room)], soon())
    (second,) = append_with_retries([draft(twin)], soon())
    tick, low = msgid.decode(committed(first).message.msg_id)
    assert msgid.decode(committed(second).message.msg_id) == (tick + 1, low)
    assert [seq for seq, _, _ in stored(room) + stored(twin)] == [1, 1]


def test_a_clash_is_resolved_while_the_clock_stands_behind_the_last_message(
    room: Conversation, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_a_common_counter(monkeypatch)
    twin = clashing_with(room)
    append_with_retries([draft(room), draft(room)], soon())
    append_with_retries([draft(twin)], soon())
    clock.advance(-3_600)
    (outcome,) = append_with_retries([draft(room, "after the clock was set back")], soon())
    assert isinstance(outcome, Committed)


def test_a_clash_with_a_burst_is_resolved_too(
    room: Conversation, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_a_common_counter(monkeypatch)
    twin = clashing_with(room)
    append_with_retries([draft(room) for _ in range(20)], soon())
    (outcome,) = append_with_retries([draft(twin)], soon())
    assert isinstance(outcome, Committed)


@pytest.mark.parametrize("content", ["bad", "\ud800"], ids=["refused by the database", "refused by the driver"])
def test_a_draft_the_database_refuses_does_not_hurt_its_neighbours(
    room: Conversation, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    kind = type(statements())
    store = kind.store

    def strict(sql: Statements, rows: Sequence[tuple[StoredMessage, str]], heads: Sequence[Head]) -> None:
        store(sql, rows, heads)
        if any(message.content == "bad" for message, _ in rows):
            raise DataError("refused")

    monkeypatch.setattr(kind, "store", strict)
    other = create_conversation(1, ["alice"])
    batch = [draft(room, "1"), draft(other, "1"), draft(room, content), draft(room, "2"), draft(other, "2")]
    outcomes = append_with_retries(batch, time.monotonic() + 5)
    assert [type(outcome) for outcome in outcomes] == [Committed, Committed, InternalError, Committed, Committed]
    assert [(seq, text) for seq, _, text in stored(room)] == [(1, "1"), (2, "2")]
    assert [(seq, text) for seq, _, text in stored(other)] == [(1, "1"), (2, "2")]


def test_a_clash_of_several_nodes_ends_in_isolation_and_not_in_an_error_for_all(
    room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = create_conversation(1, ["alice"])
    clashes = len(retries._NUDGES)
    sizes = failing(monkeypatch, *[IntegrityError("clash")] * clashes)
    outcomes = append_with_retries([draft(room), draft(other), draft(room)], time.monotonic() + 5)
    assert [type(outcome) for outcome in outcomes] == [Committed] * 3
    assert sizes == [3] * clashes + [2, 1]


def locked() -> OperationalError:
    """A failure that passes by itself, on either database."""
    error = OperationalError("database is locked")
    error.__cause__ = type("Refusal", (Exception,), {"sqlstate": "40001"})()
    return error


def test_a_failure_that_passes_is_waited_for(room: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = failing(monkeypatch, locked(), locked(), Unavailable())
    assert isinstance(append_with_retries([draft(room)], soon())[0], Committed)
    assert sizes == [1, 1, 1, 1]


def test_but_not_longer_than_the_drafts_can_wait(room: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, *[locked()] * 1_000)
    started = time.monotonic()
    assert type(append_with_retries([draft(room)], started + 0.2)[0]) is Unavailable
    assert time.monotonic() - started < 2
    assert stored(room) == []


def test_a_database_that_is_away_is_told_at_once(room: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = failing(monkeypatch, *[OperationalError("connection refused")] * 100)
    assert type(append_with_retries([draft(room)], time.monotonic() + 60)[0]) is Unavailable
    # On PostgreSQL as many connections as the pool may hold are tried, for they may have died together.
    assert len(sizes) == (retries.MAX_LOSSES + 1 if connection.vendor == "postgresql" else 1)


def die_unused() -> None:
    """A new connection of this thread, ended by the server before anything was said over it; SQLite ends none."""
    connection.close()
    if connection.vendor == "postgresql":
        connection.ensure_connection()
        victim = connection.connection.info.backend_pid
        with psycopg.connect(**connection.get_connection_params() | {"pool": None}) as administrator:
            administrator.execute("SELECT pg_terminate_backend(%s, 5000)", [victim])


def test_a_connection_that_died_before_its_first_use_costs_no_message(room: Conversation) -> None:
    die_unused()
    assert isinstance(append_with_retries([draft(room)], time.monotonic() + 5)[0], Committed)


def test_a_lost_connection_is_not_tried_again_after_the_deadline(
    room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = failing(monkeypatch, *[OperationalError("connection refused")] * 100)
    assert type(append_with_retries([draft(room)], time.monotonic())[0]) is Unavailable
    assert sizes == [1]


def test_an_unclear_commit_is_never_repeated(room: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = failing(monkeypatch, CommitUnclear())
    outcomes = append_with_retries([draft(room), draft(room)], time.monotonic() + 60)
    assert [type(outcome) for outcome in outcomes] == [OutcomeUnknown, OutcomeUnknown]
    assert sizes == [2]
