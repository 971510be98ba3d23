"""What changes who may meet: create, join, leave, kick, archive, delete.

Laws: each runs in one transaction under the conversation's row lock (several conversations: locked in id order), raises
``member_version``, stamps ``changed_at`` last, and announces after the commit. All are synchronous: a thread's work.
"""

from collections.abc import Iterable, Sequence
from functools import partial

from django.db import transaction

from conversations.access import find_conversation, parse_conversation_id
from conversations.announcements import ConversationChanged, announce
from conversations.models import Conversation, Membership
from quickim.database import locked, timely, write_transaction
from quickim.errors import ConversationArchived, ConversationNotFound, RemovedFromConversation

JOINED, LEFT = "conversation.joined", "conversation.left"
ACTIVE, KICKED = Membership.State.ACTIVE, Membership.State.KICKED


def create_conversation(conversation_type: int, sessions: Sequence[str]) -> Conversation:
    """A new conversation with ``sessions`` (no doubles, perhaps none) as its members."""
    with write_transaction(), timely() as now:
        conversation = Conversation.objects.create(type=conversation_type, created_at=now)
        _add_members(conversation, sessions, now)
    return conversation


def join_conversation(conversation_id: str, sessions: Sequence[str], *, by_himself: bool = False) -> Conversation:
    """Make ``sessions`` members; those who are already stay as they are.

    ``by_himself``: a user's own wish. Raises ConversationNotFound, and for a user's wish RemovedFromConversation
    (he was kicked) or ConversationArchived.
    """
    with write_transaction():
        conversation = find_conversation(conversation_id, lock=True)
        states = dict(
            Membership.objects.filter(conversation=conversation, session__in=sessions).values_list("session", "state")
        )
        joining = [session for session in sessions if states.get(session) != ACTIVE]
        if by_himself and joining:
            if any(states.get(session) == KICKED for session in joining):
                raise RemovedFromConversation
            if conversation.is_archived:
                raise ConversationArchived
        if joining:
            with timely() as now:
                _add_members(conversation, joining, now)
    return conversation


def leave_conversation(conversation_id: str, session: str) -> Conversation:
    """End the membership of ``session`` at its own wish; fine when there is none. Raises ConversationNotFound."""
    with write_transaction():
        conversation = find_conversation(conversation_id, lock=True)
        _end_memberships(conversation, [session], Membership.State.LEFT)
    return conversation


def kick_out(conversation_id: str, sessions: Sequence[str]) -> tuple[Conversation, list[str]]:
    """Remove ``sessions``; returns also those who were no members. Raises ConversationNotFound."""
    with write_transaction():
        conversation = find_conversation(conversation_id, lock=True)
        removed = set(_end_memberships(conversation, sessions, KICKED))
    return conversation, [session for session in sessions if session not in removed]


def set_archived(conversation_ids: Iterable[str], is_archived: bool) -> list[str]:
    """Archive or unarchive; returns the ids that do not exist (or are deleted)."""
    event = Conversation.LastEvent.ARCHIVED if is_archived else Conversation.LastEvent.UNARCHIVED
    return _change_state(conversation_ids, "is_archived", is_archived, event, also_deleted=False)


def set_deleted(conversation_ids: Iterable[str], is_deleted: bool) -> list[str]:
    """Delete or restore; returns the ids that do not exist. A deleted one keeps its members and messages."""
    event = Conversation.LastEvent.DELETED if is_deleted else Conversation.LastEvent.RESTORED
    return _change_state(conversation_ids, "is_deleted", is_deleted, event, also_deleted=True)


def _change_state(
    conversation_ids: Iterable[str],
    field: str,
    value: bool,
    event: Conversation.LastEvent,
    *,
    also_deleted: bool,
) -> list[str]:
    ids = {}
    failed = []
    for conversation_id in conversation_ids:
        try:
            ids[parse_conversation_id(conversation_id)] = conversation_id
        except ConversationNotFound:
            failed.append(conversation_id)
    with write_transaction():
        rows = locked(Conversation.objects.filter(public_id__in=ids).order_by("id"))
        found = [row for row in rows if also_deleted or not row.is_deleted]
        changing = [row for row in found if getattr(row, field) != value]
        if changing:
            with timely() as now:
                for row in changing:
                    setattr(row, field, value)
                    # Later than the last change, whatever the clock says.
                    row.last_event, row.changed_at = event, max(now, row.changed_at + 1)
                    row.member_version += 1
                    row.state_version = row.member_version
                Conversation.objects.bulk_update(
                    changing,
                    [field, "last_event", "changed_at", "member_version", "state_version"],
                    batch_size=200,
                )
                for row in changing:
                    _announce(row, event, (), row.changed_at)
    known = {row.public_id for row in found}
    return failed + [text for parsed, text in ids.items() if parsed not in known]


def _add_members(conversation: Conversation, sessions: Sequence[str], now: int) -> None:
    if not sessions:
        return
    conversation.member_version += 1
    conversation.member_count += len(sessions)
    Membership.objects.bulk_create(
        [
            Membership(
                conversation=conversation,
                session=session,
                state=ACTIVE,
                joined_at=now,
                joined_seq=conversation.last_seq,
                ended_at=0,
                version=conversation.member_version,
                changed_at=now,
            )
            for session in sessions
        ],
        update_conflicts=True,
        unique_fields=["conversation", "session"],
        update_fields=["state", "joined_at", "joined_seq", "ended_at", "version", "changed_at"],
        batch_size=1_000,
    )
    conversation.save(update_fields=["member_version", "member_count"])
    _announce(conversation, JOINED, sessions, now)


def _end_memberships(conversation: Conversation, sessions: Sequence[str], state: Membership.State) -> list[str]:
    members = Membership.objects.filter(conversation=conversation, session__in=sessions, state=ACTIVE)
    ending = list(members.values_list("session", flat=True))
    if not ending:
        return []
    conversation.member_version += 1
    conversation.member_count -= len(ending)
    with timely() as now:
        members.update(state=state, ended_at=now, version=conversation.member_version, changed_at=now)
        conversation.save(update_fields=["member_version", "member_count"])
    _announce(conversation, LEFT, ending, now)
    return ending


def _announce(conversation: Conversation, event: str, sessions: Sequence[str], now: int) -> None:
    fact = ConversationChanged(
        number=conversation.pk,
        conversation_id=str(conversation.public_id),
        conversation_type=conversation.type,
        event=event,
        version=conversation.member_version,
        at=now,
        member_count=conversation.member_count,
        sessions=tuple(sessions),
    )
    transaction.on_commit(partial(announce, fact))
