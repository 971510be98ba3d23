"""What goes into the ledger and what comes out of it. Pure."""

from dataclasses import dataclass, field

from quickim.errors import QuickimError
from quickim.observability.tracing import Trace


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
    trace: Trace | None = field(default=None, compare=False, repr=False)
    """Only if it is sent in a trace that is recorded."""


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
    is_redacted: bool = False
    """Its content was taken back, and is empty."""
    trace: Trace | None = field(default=None, compare=False, repr=False)
    """Only if it was sent in a trace that is recorded, and this process has heard of that."""


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


@dataclass(frozen=True, slots=True)
class RedactedMessage:
    """One message whose content was taken back; ``redaction`` rises within a conversation."""

    redaction: int
    msg_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class MessagesRedacted:
    """A fact for conversations.announcements: contents of one conversation were taken back, at ``at`` (microseconds)
    and while it had the member_version ``version``."""

    number: int
    conversation_id: str
    conversation_type: int
    version: int
    at: int
    messages: tuple[RedactedMessage, ...]
