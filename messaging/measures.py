"""What the ledger's work is counted as: how sends ended, and the batches they were committed in."""

from collections import Counter
from collections.abc import Iterable

from messaging.message import Again, Committed, Outcome, Receipt
from quickim.errors import InvalidParameter, OutcomeUnknown, QuickimError, Unavailable
from quickim.observability import metrics


def count_outcomes(outcomes: Iterable[Outcome]) -> None:
    """Sends that went through the ledger have ended; those that are tried again have not."""
    for (outcome, code), count in Counter(map(_end, outcomes)).items():
        if outcome:
            metrics.SENDS.inc(count, outcome, code)


def count_refusal(error: Exception) -> None:
    """A send was refused before it came into the ledger's line."""
    outcome, code = _end(error) if isinstance(error, QuickimError) else ("refused", str(InvalidParameter.code))
    metrics.SENDS.inc(1, outcome, code)


def count_batch(messages: int, seconds: float) -> None:
    """The writer was busy for so long with so many."""
    metrics.BATCH_SIZE.observe(messages)
    metrics.BATCH_SECONDS.observe(seconds)


def _end(outcome: Outcome) -> tuple[str, str]:
    if isinstance(outcome, Committed):
        return "committed", "0"
    if isinstance(outcome, Receipt):
        return "repeated", "0"
    if isinstance(outcome, Again):
        return "", ""
    if isinstance(outcome, OutcomeUnknown):
        return "unknown", str(outcome.code)
    if isinstance(outcome, Unavailable):
        return "unavailable", str(outcome.code)
    return ("failed" if outcome.status >= 500 else "refused"), str(outcome.code)
