"""What happened in one run, as the checker reads it: sends, deliveries, pages, memberships, the database at the end.

Law: plain records with the harness's own clock (monotonic seconds), except ``send_time``, ``joined_seq`` and
``ended_at``, which are the database's. Nothing here judges.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Outcome = Literal["ok", "failed", "unknown"]
"""ok: acknowledged. failed: refused with a 4xx. unknown: timeout, reset or 5xx, and never settled by a retry."""

Protocol = Literal["ws", "sse", "poll"]


@dataclass(frozen=True, slots=True)
class Send:
    """One message that somebody wanted to send, with all its attempts under one client_msg_id."""

    client_msg_id: str
    conversation: str
    session: str
    content: str
    invoked: float
    """When the first attempt began."""
    ended: float
    """When the last attempt ended; for an acknowledged send, when the acknowledgement came."""
    outcome: Outcome
    msg_ids: tuple[str, ...] = ()
    """Every MsgId that any attempt was answered with."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as one connection got it."""

    at: float
    connection: int
    session: str
    conversation: str
    seq: int
    msg_id: str
    content: str


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection of a receiver; ``resumed``: it came with a cursor."""

    number: int
    session: str
    protocol: Protocol
    node: int
    opened: float
    closed: float
    resumed: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive MsgIds of a conversation as a history endpoint gave them, oldest first."""

    at: float
    conversation: str
    msg_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """One membership from its beginning to its end. ``ended_at``: microseconds; None: it lasts."""

    conversation: str
    session: str
    joined_seq: int
    ended_at: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One message in the database after the run."""

    conversation: str
    seq: int
    msg_id: str
    session: str
    client_msg_id: str
    content: str
    send_time: int


@dataclass(frozen=True, slots=True)
class Histories:
    """A conversation's whole history as its endpoints gave it after the run, in the order given."""

    conversation: str
    forward: tuple[str, ...]
    backward: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: from when to when it lasted, and how many sends were in flight when it struck."""

    name: str
    began: float
    ended: float
    in_flight: int = 0


@dataclass
class History:
    """All of one run."""

    sends: Sequence[Send] = ()
    deliveries: Sequence[Delivery] = ()
    connections: Sequence[Connection] = ()
    pages: Sequence[Page] = ()
    memberships: Sequence[Membership] = ()
    rows: Sequence[Row] = ()
    histories: Sequence[Histories] = ()
    faults: Sequence[Fault] = ()
    marks: dict[str, float] = field(default_factory=dict)
    """Moments of the run by name: ``healed``, ``drained``."""

    @cached_property
    def row_of(self) -> dict[str, Row]:
        """Rows by MsgId."""
        return {row.msg_id: row for row in self.rows}

    @cached_property
    def rows_in(self) -> dict[str, list[Row]]:
        """Rows of each conversation by Seq."""
        found: dict[str, list[Row]] = defaultdict(list)
        for row in sorted(self.rows, key=lambda row: (row.conversation, row.seq)):
            found[row.conversation].append(row)
        return found

    @cached_property
    def deliveries_to(self) -> dict[tuple[str, str], list[Delivery]]:
        """Deliveries to (session, conversation) in the order in which they came."""
        found: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
        for delivery in sorted(self.deliveries, key=lambda delivery: delivery.at):
            found[delivery.session, delivery.conversation].append(delivery)
        return found

    @cached_property
    def memberships_of(self) -> dict[tuple[str, str], list[Membership]]:
        """Memberships of (session, conversation), oldest first."""
        found: dict[tuple[str, str], list[Membership]] = defaultdict(list)
        for membership in sorted(self.memberships, key=lambda membership: membership.joined_seq):
            found[membership.session, membership.conversation].append(membership)
        return found
