"""A conversation's members and state as the database has them, and the notices that tell a change of either, once.

Law: what concerns a session itself is always told; others' joining and leaving is told at most 100 names at a time,
and not at all in conversations above 1,000 members.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from conversations.announcements import MAX_NAMED_SESSIONS
from conversations.models import Conversation, Membership
from conversations.services import JOINED, LEFT
from gateway.wire import Frame, conversation_notice

MAX_MEMBERS_TOLD = 1_000


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One session's membership; ``version``: the member_version of its last change, ``at`` its microseconds."""

    session: str
    is_active: bool
    joined_seq: int
    version: int
    at: int


@dataclass(frozen=True, slots=True)
class RoomView:
    """A conversation, and its memberships that changed after some version: all of them up to ``version``."""

    number: int
    conversation_id: str
    conversation_type: int
    is_archived: bool
    is_deleted: bool
    last_event: str
    state_changed_at: int
    state_version: int
    version: int
    member_count: int
    last_seq: int
    rows: Sequence[MemberRow]

    def state_notice(self) -> Frame:
        """The notice of the last change of state."""
        return conversation_notice(
            self.last_event,
            self.conversation_id,
            self.conversation_type,
            self.state_changed_at,
            number=self.number,
            version=self.state_version,
        )


def read_room_view(number: int, since_version: int) -> RoomView | None:
    """The conversation ``number`` with the memberships that changed after ``since_version``; None: it is gone.

    The conversation is read first: then the rows hold every change up to its version (and maybe later ones).
    """
    conversation = Conversation.objects.filter(pk=number).first()
    if conversation is None:
        return None
    rows = (
        Membership.objects.filter(conversation_id=number, version__gt=since_version)
        .order_by("version", "id")
        .values_list("session", "state", "joined_seq", "version", "changed_at")
    )
    return RoomView(
        number=number,
        conversation_id=str(conversation.public_id),
        conversation_type=conversation.type,
        is_archived=conversation.is_archived,
        is_deleted=conversation.is_deleted,
        last_event=conversation.last_event,
        state_changed_at=conversation.changed_at,
        state_version=conversation.state_version,
        version=conversation.member_version,
        member_count=conversation.member_count,
        last_seq=conversation.last_seq,
        rows=[
            MemberRow(session, state == Membership.State.ACTIVE, joined_seq, version, at)
            for session, state, joined_seq, version, at in rows
        ],
    )


@dataclass(slots=True)
class _Group:
    """The rows of one change: they share version, direction and time."""

    is_active: bool
    version: int
    at: int
    sessions: list[str] = field(default_factory=list)
    concerned: list[str] = field(default_factory=list)


class MemberChanges:
    """The changes of a view, told to whom they concern and to the others."""

    def __init__(self, view: RoomView) -> None:
        self._view = view
        self._groups: dict[tuple[int, bool], _Group] = {}
        for row in view.rows:
            self._group(row).sessions.append(row.session)

    def concerns(self, row: MemberRow) -> None:
        """``row`` is news to a session connected here."""
        self._group(row).concerned.append(row.session)

    def personal_notices(self) -> Iterator[tuple[str, Frame]]:
        """(session, its notice) for all whom a change concerns."""
        for group in self._groups.values():
            if len(group.sessions) <= MAX_NAMED_SESSIONS:
                shared = self._notice(group, group.sessions)
                yield from ((session, shared) for session in group.concerned)
            else:
                yield from ((session, self._notice(group, [session])) for session in group.concerned)

    def notices_to_others(self) -> Iterator[tuple[Frame, list[str]]]:
        """(notice, those who were told already)."""
        if self._view.member_count <= MAX_MEMBERS_TOLD:
            for group in self._groups.values():
                yield self._notice(group, group.sessions[:MAX_NAMED_SESSIONS]), group.concerned

    def _group(self, row: MemberRow) -> _Group:
        key = (row.version, row.is_active)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(row.is_active, row.version, row.at)
        return group

    def _notice(self, group: _Group, sessions: Sequence[str]) -> Frame:
        view = self._view
        return conversation_notice(
            JOINED if group.is_active else LEFT,
            view.conversation_id,
            view.conversation_type,
            group.at,
            sessions,
            count=len(group.sessions),
            number=view.number,
            version=group.version,
            is_archived=group.is_active and view.is_archived,
        )
