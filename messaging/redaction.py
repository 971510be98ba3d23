"""Taking contents back: the message stays where it is (MsgId, Seq, sender, time), what it said goes for good.

Laws: it happens under the conversation's lock, in one transaction with a row in ``Redaction`` that says so; whoever
reads afterwards, by any door, gets an empty content that is marked, and the members are told after the commit. The
message table carries no mark of its own: only a message with an empty content can be redacted, so readers look it up
for those alone (``redacted_among``). Synchronous: a thread's work.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from django.db import transaction

from conversations.access import parse_conversation_id
from conversations.announcements import announce
from conversations.models import Conversation, Membership
from messaging.message import MessagesRedacted, RedactedMessage
from messaging.models import Draft, Message, Redaction
from quickim.database import locked, timely, write_transaction
from quickim.errors import ConversationNotFound, InvalidParameter

SEQS_PER_LOOK = 2_000
MESSAGES_PER_TRANSACTION = 200


@dataclass(slots=True)
class Erased:
    """What an erasure did so far. ``number`` and ``seq``: it is through with all conversations below that number, and
    with this one up to that Seq; pass them to go on there."""

    messages: int = 0
    conversations: int = 0
    drafts: int = 0
    number: int = 0
    seq: int = 0


def redact_message(conversation_id: str, msg_id: str) -> bool:
    """Take back the content of one message, also in a deleted conversation; False when it was already.

    Raises ConversationNotFound, and InvalidParameter when the conversation keeps no such message.
    """
    with write_transaction():
        rows = Conversation.objects.filter(public_id=parse_conversation_id(conversation_id))
        conversation = locked(rows).first()
        if conversation is None:
            raise ConversationNotFound
        seq = Message.objects.filter(pk=msg_id, conversation=conversation).values_list("seq", flat=True).first()
        if seq is None:
            raise InvalidParameter.field("msg_id", "is no message of this conversation that is kept")
        if redacted_among([msg_id]):
            return False
        _redact(conversation, [(msg_id, seq)])
    return True


def erase_session(session: str, erased: Erased) -> Iterator[None]:
    """Take back all contents that ``session`` sent, conversation by conversation, and delete its drafts that were
    refused; yields after each small transaction, for the caller to pause or to stop (see ``Erased``).

    Its conversations are those that it is or ever was a member of. Conversations that somebody else holds are waited
    for as long as the database waits for locks. Running it again does no harm.
    """
    # A message that the ledger has yet to append is none of these: it becomes one in a moment.
    with write_transaction():
        erased.drafts += Draft.objects.filter(session=session, refused_code__gt=0).delete()[0]
    while (number := _next_conversation(session, erased.number)) is not None:
        if number != erased.number:
            erased.number, erased.seq = number, 0
        messages = erased.messages
        yield from _erase_in(session, erased)
        erased.conversations += erased.messages > messages
        erased.number, erased.seq = number + 1, 0


def redacted_among(msg_ids: Iterable[str]) -> Collection[str]:
    """Those of ``msg_ids`` that were redacted; asks the database only when there are any."""
    asked = list(msg_ids)
    return frozenset(Redaction.objects.filter(msg_id__in=asked).values_list("msg_id", flat=True)) if asked else ()


def _next_conversation(session: str, at_least: int) -> int | None:
    rows = Membership.objects.filter(session=session, conversation_id__gte=at_least).order_by("conversation_id")
    return rows.values_list("conversation_id", flat=True).first()


def _erase_in(session: str, erased: Erased) -> Iterator[None]:
    conversation = Conversation.objects.get(pk=erased.number)
    seq = max(erased.seq, conversation.first_seq - 1)
    while seq < conversation.last_seq:
        high = seq + SEQS_PER_LOOK
        # By (conversation, seq), whatever lies in between: no index goes by session, and none is wanted.
        found = [
            (msg_id, at)
            for msg_id, at, sender in Message.objects.filter(conversation=conversation, seq__gt=seq, seq__lte=high)
            .exclude(content="")
            .order_by("seq")
            .values_list("msg_id", "seq", "session")
            if sender == session
        ]
        for start in range(0, len(found), MESSAGES_PER_TRANSACTION):
            part = found[start : start + MESSAGES_PER_TRANSACTION]
            with write_transaction():
                held = locked(Conversation.objects.filter(pk=conversation.pk)).get()
                _redact(held, part)
            erased.messages += len(part)
            erased.seq = part[-1][1]
            yield
        erased.seq = seq = high
        yield


def _redact(conversation: Conversation, messages: Sequence[tuple[str, int]]) -> None:
    """Under the conversation's lock: (MsgId, Seq) of messages that have a content."""
    with timely() as now:
        Message.objects.filter(pk__in=[msg_id for msg_id, _ in messages]).update(content="")
        rows = Redaction.objects.bulk_create(
            [Redaction(conversation=conversation, msg_id=msg_id, seq=seq, at=now) for msg_id, seq in messages]
        )
    if conversation.is_deleted:
        return
    fact = MessagesRedacted(
        number=conversation.pk,
        conversation_id=str(conversation.public_id),
        conversation_type=conversation.type,
        version=conversation.member_version,
        at=now,
        messages=tuple(RedactedMessage(row.pk, row.msg_id, row.seq) for row in rows),
    )
    transaction.on_commit(partial(announce, fact))
