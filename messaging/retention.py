"""Deleting old messages, under traffic: the oldest of each conversation, never a hole in the middle.

Laws:
- One transaction raises ``first_seq``, notes the highest deleted MsgId in ``pruned_msg_id`` and deletes the rows: so
  whoever reads afterwards knows that he missed something, and what.
- Nobody waits for it: transactions are small, conversations are locked in id order, and one that somebody else holds
  is skipped and asked for again later.
- Seq and MsgIds go on where they were, even when nothing is left: the head stays on the conversation's row.
- A transaction either happened or did not: stopping at any moment and starting again does no harm.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connection
from django.db.models import F, QuerySet

from conversations.access import parse_conversation_id
from conversations.models import Conversation
from messaging import msgid
from messaging.models import Draft, Message, Redaction
from messaging.positions import SeqAt
from messaging.retries import RETRIED_SQLSTATES
from quickim.database import database_clock, write_transaction
from quickim.errors import ConversationNotFound

P = ParamSpec("P")
T = TypeVar("T")

USUAL_BATCH = 500
LARGEST_BATCH = 5_000
CONVERSATIONS_PER_QUERY = 1_000
CONVERSATIONS_PER_TRANSACTION = 100
HELD_SECONDS = 30.0
"""How long conversations that others hold are asked for again, after all else is done."""
HELD_RETRY_SECONDS = 0.25
FAILURES = 10
"""How often in a row a transaction may fail for a passing reason."""
FAILURE_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to go: messages with a MsgId below ``below``, and refused drafts created before ``created_before``
    (microseconds); of one conversation, or of one conversation type, if named."""

    below: str
    created_before: int
    conversation: int | None = None
    conversation_type: int | None = None


@dataclass(slots=True)
class Pruned:
    """What was deleted (or would be): messages of how many conversations, and refused drafts; ``held``:
    conversations that somebody else held, so that they still have some."""

    messages: int = 0
    conversations: int = 0
    drafts: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class _Old:
    """A conversation that has old messages: those from ``first_seq`` up to ``last_old_seq``."""

    number: int
    first_seq: int
    last_old_seq: int


def select(age_microseconds: int, conversation_id: str = "", conversation_type: int | None = None) -> Selection:
    """What is older than that by the database's clock. Raises ConversationNotFound; a deleted one is found."""
    before = database_clock() - age_microseconds
    number = None
    if conversation_id:
        public_id = parse_conversation_id(conversation_id)
        number = Conversation.objects.filter(public_id=public_id).values_list("pk", flat=True).first()
        if number is None:
            raise ConversationNotFound
    return Selection(msgid.before_all(msgid.tick_at(before)), before, number, conversation_type)


def count(selection: Selection) -> Pruned:
    """What ``prune`` would delete; looks at every conversation, but reads no message."""
    pruned = Pruned(drafts=_refused_drafts(selection).count())
    for page in _pages(selection):
        pruned.conversations += len(page)
        pruned.messages += sum(old.last_old_seq - old.first_seq + 1 for old in page)
    return pruned


def prune(selection: Selection, pruned: Pruned, batch: int = USUAL_BATCH) -> Iterator[None]:
    """Delete what ``selection`` says, at most ``batch`` rows a transaction; yields after each, for the caller to pause.
    ``pruned`` is kept up to date meanwhile. Raises the database's errors, those that pass only when they do not."""
    held: dict[int, int] = {}
    for page in _pages(selection):
        held |= yield from _empty({old.number: old.last_old_seq for old in page}, pruned, batch)
    deadline = time.monotonic() + HELD_SECONDS
    while held and time.monotonic() < deadline:
        time.sleep(HELD_RETRY_SECONDS)
        held = yield from _empty(held, pruned, batch)
    pruned.held = len(held)
    while drafts := list(_refused_drafts(selection).values_list("pk", flat=True)[:batch]):
        pruned.drafts += _patiently(_delete_drafts, drafts)
        yield


def _pages(selection: Selection) -> Iterator[list[_Old]]:
    """Conversations that have old messages, by id, some at a time: a keyset walk with one look into an index each."""
    if selection.conversation is not None:
        yield _old(selection, Conversation.objects.filter(pk=selection.conversation))
        return
    after = 0
    # The walk goes by id alone: a query for a rare type could take any time.
    while ids := list(
        Conversation.objects.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:CONVERSATIONS_PER_QUERY]
    ):
        yield _old(selection, Conversation.objects.filter(pk__gt=after, pk__lte=ids[-1]))
        after = ids[-1]


def _old(selection: Selection, conversations: QuerySet[Conversation]) -> list[_Old]:
    if selection.conversation_type is not None:
        conversations = conversations.filter(type=selection.conversation_type)
    rows = (
        conversations.annotate(last_old_seq=SeqAt(F("pk"), "<", selection.below))
        .filter(last_old_seq__gte=F("first_seq"))
        .order_by("pk")
        .values_list("pk", "first_seq", "last_old_seq")
    )
    return [_Old(*row) for row in rows]


def _refused_drafts(selection: Selection) -> QuerySet[Draft]:
    """Old ones: those that wait for the ledger are never pruned."""
    drafts = Draft.objects.filter(refused_code__gt=0, created_at__lt=selection.created_before)
    if selection.conversation is not None:
        drafts = drafts.filter(conversation=selection.conversation)
    if selection.conversation_type is not None:
        drafts = drafts.filter(conversation__type=selection.conversation_type)
    return drafts


def _empty(targets: dict[int, int], pruned: Pruned, batch: int) -> Generator[None, None, dict[int, int]]:
    """Delete up to the Seq that each of ``targets`` has, by conversation's number; returns those that were held."""
    all_held: dict[int, int] = {}
    while targets:
        step = _patiently(_delete, dict(islice(targets.items(), CONVERSATIONS_PER_TRANSACTION)), batch)
        pruned.messages += step.messages
        pruned.conversations += len(step.finished)
        all_held |= {number: targets[number] for number in step.held}
        for number in step.finished | step.held:
            del targets[number]
        yield
    return all_held


@dataclass(frozen=True, slots=True)
class _Step:
    """What one transaction did; a conversation in neither set has more to delete."""

    messages: int
    finished: set[int]
    held: set[int]


def _delete(targets: Mapping[int, int], batch: int) -> _Step:
    room = batch
    finished: set[int] = set()
    ranges: list[tuple[int, int, int]] = []
    with write_transaction():
        locked = list(
            Conversation.objects.filter(pk__in=targets)
            .order_by("pk")
            .select_for_update(no_key=True, skip_locked=True)
            .values_list("pk", "first_seq")
        )
        for number, first in locked:
            # Another pruning may have been here since.
            last = min(targets[number], first + room - 1)
            if last == targets[number] or first > targets[number]:
                finished.add(number)
            if last >= first:
                ranges.append((number, first, last))
                room -= last - first + 1
        with connection.cursor() as cursor:
            cursor.executemany(_RAISE, [(last + 1, number, last, number) for number, _, last in ranges])
            cursor.executemany(_DELETE, ranges)
            cursor.executemany(_FORGET, [(number, last) for number, _, last in ranges])
    return _Step(batch - room, finished, targets.keys() - {number for number, _ in locked})


def _delete_drafts(ids: list[int]) -> int:
    with write_transaction():
        return Draft.objects.filter(pk__in=ids, refused_code__gt=0).delete()[0]


_RAISE = (
    f"UPDATE {Conversation._meta.db_table} SET first_seq = %s, pruned_msg_id = (SELECT msg_id FROM"  # noqa: S608
    f" {Message._meta.db_table} WHERE conversation_id = %s AND seq = %s) WHERE id = %s"
)
# From the first kept Seq, not from nothing: what earlier transactions deleted still lies in PostgreSQL's index.
_DELETE = f"DELETE FROM {Message._meta.db_table} WHERE conversation_id = %s AND seq BETWEEN %s AND %s"  # noqa: S608
_FORGET = f"DELETE FROM {Redaction._meta.db_table} WHERE conversation_id = %s AND seq <= %s"  # noqa: S608


def _patiently(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``function``, again when it failed for a reason that passes."""
    for _ in range(FAILURES - 1):
        try:
            return function(*args, **kwargs)
        except OperationalError as error:
            if not _is_passing(error):
                raise
            time.sleep(FAILURE_PAUSE_SECONDS)
    return function(*args, **kwargs)


def _is_passing(error: OperationalError) -> bool:
    if connection.vendor == "sqlite":
        return "locked" in str(error)
    return getattr(error.__cause__, "sqlstate", None) in RETRIED_SQLSTATES
