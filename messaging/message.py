"""What goes into the ledger and what comes out of it. Pure."""

from dataclasses import dataclass

from quickim.errors import QuickimError


@dataclass(slots=True)
class NewMessage:
    """A message that somebody wants to send, checked by its door: types, lengths, no NUL."""

    conversation_id: str
    session: str
    """The sender; empty: the system."""
    type: int
    status: int
    content: str
    client_msg_id: str = ""
    draft_id: int = 0
    """The draft row that it came from and that goes when it is appended."""


@dataclass(slots=True)
class StoredMessage:
    """A committed message with what the hub needs to deliver it."""

    number: int
    """The conversation's internal number."""
    conversation_id: str
    msg_id: str
    seq: int
    session: str
    send_time: int
    """Microseconds since the Unix epoch."""
    status: int
    type: int
    content: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a sender learns: the message is committed. ``repeated``: it was already, nothing was stored now."""

    msg_id: str
    send_time: int
    repeated: bool = False


@dataclass(slots=True)
class Committed:
    """The outcome of a draft that was stored now: its message, and the member_version it was committed under."""

    message: StoredMessage
    version: int

    @property
    def receipt(self) -> Receipt:
        """What its sender learns."""
        return Receipt(self.message.msg_id, self.message.send_time)


class Again(Exception):
    """Outcome: another transaction holds the conversation; try again. Nothing happened."""


Outcome = Committed | Receipt | QuickimError | Again


@dataclass(frozen=True, slots=True)
class MessagesCommitted:
    """A fact for conversations.announcements: these were committed in one transaction, in this order."""

    committed: tuple[Committed, ...]
