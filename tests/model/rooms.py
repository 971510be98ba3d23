"""What the model knows of conversations: who was a member from which Seq to which, what was said, what is still kept;
and of every send what became of it."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from messaging import history
from messaging.message import NewMessage
from messaging.models import Message


@dataclass(eq=False)
class ModelRoom:
    """One conversation."""

    identifier: str
    number: int
    log: list[dict[str, Any]] = field(default_factory=list)
    """Its messages as the wire shows them; Seq is the place. Pruned ones stay."""
    pruned: int = 0
    """The Seq up to which nothing is kept."""
    stays: dict[str, list[list[int]]] = field(default_factory=lambda: defaultdict(list))
    """By session: [joined_seq, last Seq of the stay or -1 while it lasts]."""
    kicked: set[str] = field(default_factory=set)
    is_archived: bool = False
    in_step: set[str] = field(default_factory=set)
    """The members at some moment of this step."""

    @property
    def active(self) -> set[str]:
        """The members now."""
        return {session for session, stays in self.stays.items() if stays and stays[-1][1] < 0}

    def enter(self, session: str) -> None:
        """A membership begins, unless there is one."""
        if session not in self.active:
            self.stays[session].append([len(self.log), -1])
            self.kicked.discard(session)
            self.in_step.add(session)

    def end(self, session: str, *, kicked: bool) -> None:
        """A membership ends, if there is one."""
        if session in self.active:
            self.stays[session][-1][1] = len(self.log)
            if kicked:
                self.kicked.add(session)

    def stay_at(self, session: str, seq: int) -> list[int] | None:
        """The stay during which the message was committed."""
        for stay in self.stays[session]:
            if stay[0] < seq and (stay[1] < 0 or seq <= stay[1]):
                return stay
        return None

    def state_for(self, session: str) -> str:
        """How things stand for the session."""
        if session not in self.active:
            return "none"
        return "archived" if self.is_archived else "open"


@dataclass(eq=False)
class Sent:
    """A message that somebody sent, and what is known of it. ``posted_at``: by ``post_message``, microseconds."""

    room: ModelRoom
    draft: NewMessage
    row: Message | None = None
    is_open: bool = True
    """Whether it may still be stored: nobody was told that it was refused."""
    posted_at: int = 0
    was_barred: bool = False
    """Whether at some time since it was posted its sender could not have sent."""

    @property
    def is_pruned(self) -> bool:
        """Whether its row is gone, and its client_msg_id forgotten."""
        return self.row is not None and self.row.seq <= self.room.pruned

    def store(self, row: Message) -> None:
        """It lies in the database: once, and as it was sent."""
        assert self.row is None or self.is_pruned, f"stored twice: {row.content}"
        assert self.is_open, f"refused, and stored: {row.content}"
        draft, room = self.draft, self.room
        assert (row.session, row.type, row.status) == (draft.session, draft.type, draft.status)
        assert row.conversation_id == room.number
        assert row.seq == len(room.log) + 1, "a hole in the Seqs"
        if room.log:
            assert room.log[-1]["MsgId"] < row.msg_id
            assert room.log[-1]["SendTime"] <= row.send_time
        self.row = row
        room.log.append(
            history.msg_object(
                room.identifier,
                row.msg_id,
                draft.session,
                row.send_time,
                draft.status,
                draft.type,
                draft.content,
                row.seq,
            )
        )
