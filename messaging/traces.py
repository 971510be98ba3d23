"""A traced message up to its commit: its wait in line, the transaction, and the batch that it shared.

Each message has the spans ``queue`` and ``commit`` in its own trace. A batch that holds a traced message is a trace
of its own, ``batch``, with what its statements took; links lead from each commit to its batch and back.

Law: spans are made when the senders have been answered; before that, only the clock is read.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.db import connection

from messaging.message import Again, Committed, NewMessage, Outcome
from messaging.queue import Entry
from messaging.retries import append_with_retries
from quickim.errors import QuickimError
from quickim.observability import tracing
from quickim.observability.tracing import Trace

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from quickim.observability.tracing_sdk import Spans

MAX_STATEMENT_CHARACTERS = 120
MAX_STATEMENTS = 40
"""Of one batch; one that the database refused is taken apart draft by draft."""


def given_up(entries: Iterable[Entry], why: str) -> None:
    """These have waited too long."""
    spans = tracing.spans()
    for entry in entries:
        if spans is not None and (trace := entry.draft.trace) is not None:
            about = {"quickim.conversation.id": entry.draft.conversation_id}
            spans.emit("queue", trace.context, (trace.since, time.time_ns()), about, error=why)


def record(drafts: Sequence[NewMessage]) -> "Recording | None":
    """A recording of the batch of ``drafts``; None when none of them is traced."""
    spans = tracing.spans()
    if spans is None or all(draft.trace is None for draft in drafts):
        return None
    return Recording(spans, drafts)


class Recording:
    """One batch, on the ledger's writer thread: appended, settled, then told."""

    def __init__(self, spans: "Spans", drafts: Sequence[NewMessage]) -> None:
        self._spans = spans
        self._drafts = drafts
        self._taken = time.time_ns()
        self._ended = self._taken
        self._statements: list[tuple[str, int, int]] = []

    def append(self, deadline: float) -> list[Outcome]:
        """``append_with_retries``, with an eye on the clock."""
        self._taken = time.time_ns()
        with connection.execute_wrapper(self._execute):
            outcomes = append_with_retries(self._drafts, deadline)
        self._ended = time.time_ns()
        for draft, outcome in zip(self._drafts, outcomes, strict=True):
            if draft.trace is not None and isinstance(outcome, Committed):
                outcome.message.trace = Trace(draft.trace.context, self._ended)
        return outcomes

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        """Make the spans."""
        spans = self._spans
        committed = sum(isinstance(outcome, Committed) for outcome in outcomes)
        about: dict[str, str | int | bool] = {
            "messaging.batch.message_count": len(outcomes),
            "quickim.batch.committed": committed,
            "quickim.batch.conversations": len({draft.conversation_id for draft in self._drafts}),
            "db.system.name": connection.vendor,
            # Not a span each: they would cost more than all that is told of the message.
            "quickim.batch.statements": self._told_statements(has_committed=committed > 0),
        }
        batch = spans.below(None)
        commits = [
            self._tell_message(draft, outcome, batch)
            for draft, outcome in zip(self._drafts, outcomes, strict=True)
            # One that has to be tried again is still in line.
            if draft.trace is not None and not isinstance(outcome, Again)
        ]
        spans.emit("batch", None, (self._taken, self._ended), about, at=batch, links=commits)

    def _tell_message(self, draft: NewMessage, outcome: Outcome, batch: "SpanContext") -> "SpanContext":
        trace = draft.trace
        assert trace is not None  # noqa: S101  # the caller looked
        about = about_outcome(draft, outcome)
        spans = self._spans
        spans.emit("queue", trace.context, (trace.since, self._taken), {})
        error = outcome.text() if isinstance(outcome, QuickimError) and outcome.status >= 500 else ""
        return spans.emit("commit", trace.context, (self._taken, self._ended), about, links=[batch], error=error)

    def _told_statements(self, *, has_committed: bool) -> str:
        """What each took, and its beginning; a line each."""
        told = [f"{(end - start) / 1e6:.2f} ms {sql}" for sql, start, end in self._statements]
        if has_committed:
            # No statement of Django's: what follows the last one up to the end is the COMMIT.
            last = self._statements[-1][2] if self._statements else self._taken
            told.append(f"{(self._ended - last) / 1e6:.2f} ms COMMIT")
        return "\n".join(told)

    def _execute(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Django's hook around a statement; ``sql`` holds places for its parameters, never these."""
        start = time.time_ns()
        try:
            return execute(sql, params, many, context)
        finally:
            if len(self._statements) < MAX_STATEMENTS:
                self._statements.append((str(sql)[:MAX_STATEMENT_CHARACTERS], start, time.time_ns()))


def about_outcome(draft: NewMessage, outcome: Outcome) -> dict[str, str | int | bool]:
    """The attributes of a draft and what became of it."""
    # Only where tracing is on.
    from quickim.observability.tracing_sdk import hashed_session  # noqa: PLC0415

    about: dict[str, str | int | bool] = {"quickim.conversation.id": draft.conversation_id}
    if draft.session:
        about["quickim.session.hash"] = hashed_session(draft.session)
    if isinstance(outcome, Committed):
        about |= about_message(outcome.message.conversation_id, outcome.message.msg_id, outcome.message.seq)
    elif isinstance(outcome, QuickimError):
        about["quickim.code"] = outcome.code
    elif not isinstance(outcome, Again):
        about |= {"quickim.message.id": outcome.msg_id, "quickim.repeated": outcome.repeated}
    return about


def about_message(conversation_id: str, msg_id: str, seq: int) -> dict[str, str | int | bool]:
    """The attributes of a stored message."""
    return {"quickim.conversation.id": conversation_id, "quickim.message.id": msg_id, "quickim.message.seq": seq}
