"""A conversation as one node sees it: who of its members is connected here and what they were given. Pure."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.connection import Connection
from gateway.measures import count_delivery
from gateway.traces import hand_out
from gateway.wire import Bundle, Frame
from messaging import msgid

MAX_WAITING_FRAMES = 1_000
"""Frames kept behind a hole or a reload; beyond that they are fetched again from the database."""


class Audience(dict[Connection, None]):
    """An ordered set of connections that knows how many of each protocol are in it."""

    def __init__(self) -> None:
        super().__init__()
        self.by_protocol: dict[str, int] = {}

    def __setitem__(self, connection: Connection, nothing: None) -> None:
        """Add one, once."""
        if connection not in self:
            self.by_protocol[connection.protocol] = self.by_protocol.get(connection.protocol, 0) + 1
        super().__setitem__(connection, nothing)

    def discard(self, connection: Connection) -> None:
        """Take one out, if it is in."""
        if connection in self:
            self.by_protocol[connection.protocol] -= 1
            del self[connection]

    def deliver(self, frame: Frame) -> None:
        """A live message, to each of them."""
        for connection in self:
            connection.deliver(frame)
        count_delivery(self.by_protocol, frame)

    def deliver_all(self, bundle: Bundle) -> None:
        """Live messages in a row, to each of them."""
        for connection in self:
            connection.deliver_all(bundle)
        for frame in bundle.frames:
            count_delivery(self.by_protocol, frame)


@dataclass(slots=True)
class Member:
    """A session's membership as applied here."""

    joined_seq: int
    version: int


class Room:
    """See the module. ``delivered``: the Seq up to which every connection here was given everything."""

    __slots__ = (
        "announced_seq",
        "announced_version",
        "audience",
        "conversation_id",
        "conversation_type",
        "delivered",
        "delivered_msg_id",
        "gap_timer",
        "members",
        "number",
        "repair",
        "state_version",
        "version",
        "waiting",
        "withheld",
    )

    def __init__(self, number: int, conversation_id: str, conversation_type: int) -> None:
        self.number = number
        self.conversation_id = conversation_id
        self.conversation_type = conversation_type
        self.version = -1
        """The member_version that ``members`` reflects."""
        self.announced_version = -1
        self.state_version = 0
        self.delivered = 0
        self.delivered_msg_id = ""
        self.announced_seq = 0
        self.members: dict[str, Member] = {}
        self.audience = Audience()
        """All connections of all members, but those in ``withheld``."""
        self.withheld: dict[Connection, int] = {}
        """Connections that lack what lies above this Seq, because the conversation was deleted when they asked for it:
        they get nothing more of it until it is restored, for what comes later must not overtake that."""
        self.waiting: dict[int, Frame] = {}
        self.gap_timer: asyncio.TimerHandle | None = None
        self.repair: asyncio.Task[None] | None = None

    @property
    def is_stale(self) -> bool:
        """Whether members may have changed since ``members`` was read."""
        return self.announced_version > self.version

    @property
    def has_gap(self) -> bool:
        """Whether something was announced that could not be delivered yet."""
        return self.announced_seq > self.delivered

    def keep(self, frame: Frame) -> None:
        """Hold ``frame`` until its turn comes."""
        if len(self.waiting) < MAX_WAITING_FRAMES:
            self.waiting[frame.seq] = frame

    def take_due(self, max_tick: int) -> list[Frame]:
        """What follows ``delivered`` without a gap, and counts as delivered from now on; up to the first message above
        ``max_tick``, which keeps waiting."""
        due: list[Frame] = []
        while (frame := self.waiting.get(self.delivered + 1)) is not None and msgid.tick_of(frame.msg_id) <= max_tick:
            del self.waiting[frame.seq]
            self.delivered, self.delivered_msg_id = frame.seq, frame.msg_id
            due.append(frame)
        return due

    def hand_out(self, frames: Sequence[Frame]) -> None:
        """Give ``frames``, which follow each other by Seq, to everybody here."""
        if len(frames) > 1 and all(frame.trace is None for frame in frames):
            self.audience.deliver_all(Bundle(frames))
            return
        for frame in frames:
            if frame.trace is not None:
                hand_out(self, frame, frame.trace)
            else:
                self.audience.deliver(frame)

    def withhold(self, connection: Connection, position: int) -> None:
        """``connection`` has everything up to ``position``, and gets what follows when the conversation is restored."""
        self.audience.discard(connection)
        self.withheld[connection] = position
        connection.withhold(self.number, position)

    def give_back(self) -> None:
        """The conversation is restored: who waited for that is behind from where he was."""
        for connection, position in self.withheld.items():
            self.audience[connection] = None
            connection.behind[self.number] = position
        self.withheld.clear()

    def forget(self, connection: Connection) -> None:
        """``connection`` is over, or its session no member any more."""
        self.audience.discard(connection)
        self.withheld.pop(connection, None)

    def drop_delivered(self) -> None:
        """Forget what waits no longer."""
        for seq in [seq for seq in self.waiting if seq <= self.delivered]:
            del self.waiting[seq]

    def cancel_gap_timer(self) -> None:
        """No hole is waited for."""
        if self.gap_timer is not None:
            self.gap_timer.cancel()
            self.gap_timer = None
