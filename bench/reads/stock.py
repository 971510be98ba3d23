"""The stock: conversations of very different sizes, their members, and messages that arrived in turn. Pure.

Three conversations hold 10 % of all messages each (1,000,000 of ten million), thirty hold 1 % each, and many small
ones share the remaining 40 %. Whose message comes next is drawn at random, so a conversation's rows lie scattered over
the table, as they do where many people talk at once. Half of the messages carry a client_msg_id.

Law: a stock of a size is the same on every run, but for the time at which it ends.
"""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from messaging import msgid

BIG, MEDIUM = 3, 30
COLUMNS = ("msg_id", "conversation_id", "seq", "session", "send_time", "status", "type", "content", "client_msg_id")
"""Of the lines that ``Stock.rows`` gives."""
SILENT = 3
"""The number of the big conversation that nobody writes to any more."""
CONTENT_BYTES = 300
HISTORY_MICROSECONDS = 90 * 86_400 * 1_000_000
TYPE = 1
THOUSAND, HUNDRED, ONE = "member-of-1000", "member-of-100", "member-of-1"
"""Sessions that are members of the first 1,000 conversations, the first 100, and the first."""
MEMBER_OF = {THOUSAND: 1_000, HUNDRED: 100, ONE: 1}

_BIG_SHARE, _MEDIUM_SHARE, _SMALL_SHARE = 0.30, 0.30, 0.40
_BIG_MEMBERS, _MEDIUM_MEMBERS, _SMALL_MEMBERS = 1_000, 200, 8
_ROWS_AT_ONCE = 10_000
_FILLING = "m" * (CONTENT_BYTES - 11)


@dataclass
class Stock:
    """``messages`` of them, the last at ``end`` (microseconds). Conversations are numbered 1, 2, 3, …; what is known
    of number n stands at place n - 1. ``last_*`` are filled by ``rows``."""

    messages: int
    end: int
    conversation_ids: list[uuid.UUID] = field(default_factory=list)
    members: list[list[str]] = field(default_factory=list)
    last_seq: list[int] = field(default_factory=list)
    last_msg_id: list[str] = field(default_factory=list)
    last_send_time: list[int] = field(default_factory=list)
    last_send_session: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.messages)
        small = max(MEMBER_OF[THOUSAND], self.messages // 500)
        users = range(small * 2)
        for count, each in ((BIG, _BIG_MEMBERS), (MEDIUM, _MEDIUM_MEMBERS), (small, _SMALL_MEMBERS)):
            for _ in range(count):
                self._add([f"user-{user}" for user in self._random.sample(users, each)])

    def _add(self, members: list[str]) -> None:
        place = len(self.members)
        members += [session for session, count in MEMBER_OF.items() if place < count]
        self.conversation_ids.append(uuid.UUID(int=self._random.getrandbits(128), version=4))
        self.members.append(members)
        self.last_seq.append(0)
        self.last_msg_id.append("")
        self.last_send_time.append(0)
        self.last_send_session.append("")

    @property
    def begin(self) -> int:
        """Microseconds of the first message."""
        return self.end - HISTORY_MICROSECONDS

    def rows(self) -> Iterator[bytes]:
        """All messages in the order of their arrival, many lines of COPY's text format at a time."""
        places = range(len(self.members))
        lows = [msgid.low_bits(TYPE, place + 1) for place in places]
        step = HISTORY_MICROSECONDS // self.messages
        for first in range(0, self.messages, _ROWS_AT_ONCE):
            count = min(_ROWS_AT_ONCE, self.messages - first)
            weights = self._weights(first < self.messages // 2)
            drawn = self._random.choices(places, cum_weights=weights, k=count)
            yield "".join([self._row(first + i, place, lows[place], step) for i, place in enumerate(drawn)]).encode()

    def _weights(self, first_half: bool) -> list[float]:
        """Cumulated over the conversations."""
        small = len(self.members) - BIG - MEDIUM
        each = [_BIG_SHARE / BIG] * BIG + [_MEDIUM_SHARE / MEDIUM] * MEDIUM + [_SMALL_SHARE / small] * small
        each[SILENT - 1] *= 2 if first_half else 0
        return list(accumulate(each))

    def _row(self, index: int, place: int, low: int, step: int) -> str:
        at = self.end - (self.messages - 1 - index) * step
        msg_id = msgid.encode(msgid.tick_at(at), low)
        members = self.members[place]
        session = members[index % len(members)]
        self.last_seq[place] = seq = self.last_seq[place] + 1
        self.last_msg_id[place] = msg_id
        self.last_send_time[place] = at
        self.last_send_session[place] = session
        # As clients make them: unique and without an order.
        client = f"{index * 2_654_435_761 & 0xFFFFFFFF:08x}-0000-4000-8000-{index:012x}" if index & 1 else ""
        return f"{msg_id}\t{place + 1}\t{seq}\t{session}\t{at}\t0\t0\t{index:010d} {_FILLING}\t{client}\n"
