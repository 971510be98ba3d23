"""What happened in one run, as the checker reads it: sends, deliveries, pages, memberships, the database at the end.

Law: plain records with the harness's own clock (monotonic seconds), except ``send_time``, which is the database's.
Nothing here judges.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

Outcome = Literal["ok", "failed", "unknown"]
"""ok: acknowledged. failed: refused with a 4xx. unknown: timeout, reset or 5xx, and never settled by a retry."""

Protocol = Literal["ws", "sse", "poll"]

WHOLE_CHARACTERS = 80


def digest(content: str) -> str:
    """What stands for a content in a history: itself, or its hash when it is long."""
    return content if len(content) <= WHOLE_CHARACTERS else hashlib.sha256(content.encode()).hexdigest()


class Reader(NamedTuple):
    """One client of a session: it keeps one cursor over all its connections."""

    session: str
    receiver: str


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


@dataclass(slots=True)
class Attempt:
    """One request of a send: ``status`` None when no answer came."""

    client_msg_id: str
    conversation: str
    node: int
    began: float
    ended: float = 0.0
    status: int | None = None
    why: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether it was acknowledged."""
        return self.status == 200

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


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
    receiver: str = ""

    @property
    def reader(self) -> Reader:
        """Whose it is."""
        return Reader(self.session, self.receiver)


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection of a receiver; ``cursor``: what it resumed from, "" for nothing."""

    number: int
    session: str
    protocol: Protocol
    node: int
    opened: float
    closed: float
    cursor: str = ""
    left_with: str = ""
    """The cursor that the receiver had at its end."""
    receiver: str = ""

    @property
    def reader(self) -> Reader:
        """Whose it is."""
        return Reader(self.session, self.receiver)


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive MsgIds of a conversation as a history endpoint gave them, oldest first."""

    at: float
    conversation: str
    msg_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    """One membership. It entitles to every Seq above ``joined_seq`` up to ``ended_seq``; None: it lasts."""

    conversation: str
    session: str
    joined_seq: int
    ended_seq: int | None = None

    def covers(self, seq: int) -> bool:
        """Whether it entitles to this Seq."""
        return seq > self.joined_seq and (self.ended_seq is None or seq <= self.ended_seq)


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


FaultKind = Literal["", "layer", "database"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: from when to when it lasted, and how many sends were in flight when it struck.

    ``kind``: what it takes away as a whole while it lasts; "" for anything else.
    """

    name: str
    began: float
    ended: float
    in_flight: int = 0
    kind: FaultKind = ""


@dataclass(frozen=True, slots=True)
class Census:
    """What one server process holds at one moment: ``start`` before all traffic, ``end`` after all of it."""

    when: Literal["start", "end"]
    node: int
    tasks: int
    sockets: int
    database_connections: int


@dataclass(frozen=True, slots=True)
class Sample:
    """The resident memory of one server process."""

    at: float
    node: int
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Stall:
    """A reader that stopped reading; ``code``: what it was cut off with, None when it never was."""

    protocol: Protocol
    node: int
    began: float
    ended: float
    code: int | None


@dataclass(frozen=True, slots=True)
class Complaint:
    """What nobody should have seen: a traceback in a log, an answer that no client may get."""

    node: int
    what: str


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
    attempts: Sequence[Attempt] = ()
    censuses: Sequence[Census] = ()
    samples: Sequence[Sample] = ()
    stalls: Sequence[Stall] = ()
    complaints: Sequence[Complaint] = ()
    counts: dict[str, int] = field(default_factory=dict)
    """What the harness did, by name: ``worker killed``."""
    marks: dict[str, float] = field(default_factory=dict)
    """Moments of the run by name: ``began``, ``healed``, ``drained``."""

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
    def deliveries_to(self) -> dict[tuple[Reader, str], list[Delivery]]:
        """Deliveries to (reader, conversation) in the order in which they came."""
        found: dict[tuple[Reader, str], list[Delivery]] = defaultdict(list)
        for delivery in sorted(self.deliveries, key=lambda delivery: delivery.at):
            found[delivery.reader, delivery.conversation].append(delivery)
        return found

    @cached_property
    def connections_of(self) -> dict[Reader, list[Connection]]:
        """Connections of each reader, oldest first."""
        found: dict[Reader, list[Connection]] = defaultdict(list)
        for connection in sorted(self.connections, key=lambda connection: connection.opened):
            found[connection.reader].append(connection)
        return found

    @cached_property
    def memberships_of(self) -> dict[tuple[str, str], list[Membership]]:
        """Memberships of (session, conversation), oldest first."""
        found: dict[tuple[str, str], list[Membership]] = defaultdict(list)
        for membership in sorted(self.memberships, key=lambda membership: membership.joined_seq):
            found[membership.session, membership.conversation].append(membership)
        return found

    @cached_property
    def acknowledged_at(self) -> dict[str, float]:
        """By MsgId: when its sender knew."""
        return {msg_id: send.ended for send in self.sends for msg_id in send.msg_ids}

    @cached_property
    def first_deliveries(self) -> dict[tuple[Reader, str], Delivery]:
        """By (reader, MsgId): the first time that it came."""
        first: dict[tuple[Reader, str], Delivery] = {}
        for delivery in sorted(self.deliveries, key=lambda delivery: delivery.at):
            first.setdefault((delivery.reader, delivery.msg_id), delivery)
        return first

    def was_connected(self, reader: Reader, since: float, until: float) -> bool:
        """Whether one connection of ``reader`` lasted over all that time: one that was away waited for itself."""
        return any(
            connection.opened <= since and connection.closed >= until for connection in self.connections_of[reader]
        )
