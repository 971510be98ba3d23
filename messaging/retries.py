"""Appending with patience: which failures of a batch are tried again, which are isolated, and which end a draft.

Law: one bad draft never hurts its neighbours, and a failure whose commit is unclear is never retried here: only the
sender's own client_msg_id can tell.
"""

import logging
import time
from collections.abc import Sequence

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError, connection

from messaging.append import CommitUnclear, append_batch
from messaging.message import NewMessage, Outcome
from messaging.models import Draft
from quickim.errors import InternalError, OutcomeUnknown, QuickimError, Unavailable

logger = logging.getLogger(__name__)

RETRIED_SQLSTATES = {"40001", "40P01", "55P03"}
"""Serialisation failure, deadlock, lock not available."""
_NUDGES = (0, 1, 16, 256, 4_096, 65_536)
"""How far ticks are raised after each MsgId clash: beyond any burst that the other conversation may have had."""
_PAUSE_SECONDS = 0.02
LOST_SQLSTATES = ("08", "57P")
"""Connection exceptions, and the server's own shutdowns and terminations."""
MAX_LOSSES = 20
"""More connections than the pool holds: all of them may have died together."""


def append_with_retries(drafts: Sequence[NewMessage], deadline: float) -> list[Outcome]:
    """``append_batch`` until it succeeds or ``deadline`` (monotonic seconds) has passed; never raises."""
    clashes = losses = 0
    while True:
        try:
            return _finished(drafts, append_batch(drafts, nudge=_NUDGES[clashes]))
        except CommitUnclear:
            _drop_connection()
            return [OutcomeUnknown() for _ in drafts]
        except (IntegrityError, DataError) as error:
            clashes += 1
            if isinstance(error, DataError) or clashes >= len(_NUDGES):
                return _isolated(drafts, deadline)
        except (OperationalError, InterfaceError, Unavailable) as error:
            if _is_lost_connection(error) and losses < MAX_LOSSES and time.monotonic() < deadline:
                # Before its COMMIT nothing is stored.
                losses += 1
                _drop_connection()
                continue
            if not _is_passing(error):
                _drop_connection()
                logger.warning(
                    "The database did not take a batch (%s): check that it runs, and its disk.", type(error).__name__
                )
                return [Unavailable() for _ in drafts]
            if time.monotonic() + _PAUSE_SECONDS > deadline:
                return [Unavailable() for _ in drafts]
            time.sleep(_PAUSE_SECONDS)
        except Exception:
            # Whatever it is, the senders must hear of it and the writer must live on.
            logger.exception(
                "A batch of %d drafts failed; each is tried by itself. Report this as a bug, with its lines.",
                len(drafts),
            )
            _drop_connection()
            return _isolated(drafts, deadline)


def _finished(drafts: Sequence[NewMessage], outcomes: list[Outcome]) -> list[Outcome]:
    _keep_refusals(drafts, outcomes)
    if connection.errors_occurred:
        connection.close_if_unusable_or_obsolete()
    return outcomes


def _isolated(drafts: Sequence[NewMessage], deadline: float) -> list[Outcome]:
    """Each conversation by itself, then each draft."""
    if len(drafts) == 1:
        logger.error(
            "The database refused a message; its sender was told. Check the database's own log for the reason."
        )
        return [InternalError()]
    groups: dict[str, list[int]] = {}
    for position, draft in enumerate(drafts):
        groups.setdefault(draft.conversation_id, []).append(position)
    parts = list(groups.values()) if len(groups) > 1 else [[position] for position in range(len(drafts))]
    outcomes: list[Outcome | None] = [None] * len(drafts)
    for positions in parts:
        for position, outcome in zip(
            positions,
            append_with_retries([drafts[position] for position in positions], deadline),
            strict=True,
        ):
            outcomes[position] = outcome
    return [outcome for outcome in outcomes if outcome is not None]


def _is_passing(error: Exception) -> bool:
    """Whether the failure is of the kind that goes by itself, with nothing stored."""
    if isinstance(error, Unavailable):
        return True
    if getattr(error.__cause__, "sqlstate", None) in RETRIED_SQLSTATES:
        return True
    return connection.vendor == "sqlite" and any(word in str(error) for word in ("locked", "busy"))


def _is_lost_connection(error: Exception) -> bool:
    """Whether PostgreSQL, or the way to it, was gone when a statement before the COMMIT was sent."""
    if connection.vendor != "postgresql" or isinstance(error, Unavailable):
        return False
    sqlstate = getattr(error.__cause__, "sqlstate", None) or ""
    return not sqlstate or sqlstate.startswith(LOST_SQLSTATES)


def _drop_connection() -> None:
    try:
        connection.close()
    except DatabaseError:
        connection.connection = None


def _keep_refusals(drafts: Sequence[NewMessage], outcomes: Sequence[Outcome]) -> None:
    """A refused draft row stays, with the reason, for the product to see."""
    for draft, outcome in zip(drafts, outcomes, strict=True):
        if draft.draft_id and isinstance(outcome, QuickimError) and outcome.status < 500:
            logger.warning(
                "Draft %d was refused with code %d and is kept: mend what the code says, or delete the row.",
                draft.draft_id,
                outcome.code,
            )
            try:
                Draft.objects.filter(pk=draft.draft_id).update(refused_code=outcome.code)
            except DatabaseError:
                logger.warning("A draft's refusal could not be written down; it is tried again. Check the database.")
