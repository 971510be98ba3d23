"""The exact rules that a run must keep, one function each, named as the table of invariants names them.

Laws: a rule looks at everything and stops at nothing; it reports each violation in words that say where to look.
``msg_id`` is compared as text, bytewise, as clients do.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.history import History, Membership, Reader

SWEEP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule."""

    invariant: str
    what: str


Rule = Callable[[History], Iterator[str]]


def i1(history: History) -> Iterator[str]:
    """Every ok send is in the database with the same MsgId and content."""
    for send in history.sends:
        if send.outcome != "ok":
            continue
        for msg_id in send.msg_ids:
            row = history.row_of.get(msg_id)
            if row is None:
                yield f"{send.client_msg_id} was acknowledged as {msg_id}, which the database does not hold"
            elif (row.conversation, row.session, row.content) != (send.conversation, send.session, send.content):
                yield f"{msg_id} is stored with another conversation, sender or content than was acknowledged"


def i2(history: History) -> Iterator[str]:
    """The database holds nothing that was not sent; a failed send is not in it."""
    sends = {(send.conversation, send.session, send.client_msg_id): send for send in history.sends}
    for row in history.rows:
        send = sends.get((row.conversation, row.session, row.client_msg_id))
        if send is None:
            yield f"{row.msg_id} was never sent"
        elif send.outcome == "failed":
            yield f"{row.msg_id} is stored, but {send.client_msg_id} was refused"
        elif send.content != row.content:
            yield f"{row.msg_id} holds another content than was sent"


def i3(history: History) -> Iterator[str]:
    """One row and one MsgId per client_msg_id."""
    rows = Counter((row.conversation, row.session, row.client_msg_id) for row in history.rows)
    for (_, session, client_msg_id), count in rows.items():
        if count > 1:
            yield f"{client_msg_id} of {session} is stored {count} times"
    for send in history.sends:
        if len(set(send.msg_ids)) > 1:
            yield f"{send.client_msg_id} was answered with {', '.join(sorted(set(send.msg_ids)))}"
    for msg_id, count in Counter(row.msg_id for row in history.rows).items():
        if count > 1:
            yield f"{msg_id} is the MsgId of {count} messages"


def i4(history: History) -> Iterator[str]:
    """Per connection deliveries of a conversation strictly increase, beginning above the cursor that it resumed from;
    over connections, first occurrences do."""
    for (reader, conversation), deliveries in history.deliveries_to.items():
        highest: dict[int, int] = {}
        seen: set[int] = set()
        first = 0
        for delivery in deliveries:
            if delivery.seq <= highest.get(delivery.connection, 0):
                yield (
                    f"connection {delivery.connection} of {_name(reader)} got Seq {delivery.seq} of {conversation}"
                    f" after {highest[delivery.connection]}"
                )
            highest[delivery.connection] = max(delivery.seq, highest.get(delivery.connection, 0))
            if delivery.seq not in seen:
                if delivery.seq < first:
                    yield f"{_name(reader)} got Seq {delivery.seq} of {conversation} for the first time after {first}"
                first = max(first, delivery.seq)
                seen.add(delivery.seq)
    yield from _repeats(history)


def _repeats(history: History) -> Iterator[str]:
    """What a cursor excludes, and came again: of a MsgId, what its own conversation had up to it; of a poll's cursor,
    all that the connection which got it was given."""
    given: dict[int, set[str]] = {}
    for delivery in history.deliveries:
        given.setdefault(delivery.connection, set()).add(delivery.msg_id)
    for reader, connections in history.connections_of.items():
        for before, connection in zip([None, *connections], connections, strict=False):
            named = history.row_of.get(connection.cursor)
            excluded: set[str] = set()
            if named is not None:
                excluded = {row.msg_id for row in history.rows_in[named.conversation] if row.seq <= named.seq}
            elif before is not None and before.protocol == "poll" and before.left_with == connection.cursor:
                excluded = given.get(before.number, set())
            if again := sorted(excluded & given.get(connection.number, set())):
                yield f"connection {connection.number} of {_name(reader)} got {again[0]}, which its cursor excludes"


def i5(history: History) -> Iterator[str]:
    """When a message is delivered, every earlier one of that conversation was delivered to that reader before."""
    for (reader, conversation), deliveries in history.deliveries_to.items():
        memberships = history.memberships_of[reader.session, conversation]
        seen: set[int] = set()
        complete: dict[int, int] = {}
        for delivery in deliveries:
            seen.add(delivery.seq)
            membership = _membership_at(memberships, delivery.seq)
            if membership is None:
                continue  # the tenth rule's matter
            start = membership.joined_seq
            level = complete.get(start, start)
            while level + 1 in seen:
                level += 1
            complete[start] = level
            if level < delivery.seq:
                yield f"{_name(reader)} got Seq {delivery.seq} of {conversation} before {level + 1}"


def i6(history: History) -> Iterator[str]:
    """In the end every member has all of his latest membership."""
    for (session, conversation), memberships in history.memberships_of.items():
        latest = memberships[-1]
        if latest.ended_seq is not None:
            continue
        for reader in history.connections_of:
            if reader.session != session:
                continue
            got = {delivery.seq for delivery in history.deliveries_to.get((reader, conversation), ())}
            missing = [
                row.seq for row in history.rows_in[conversation] if row.seq > latest.joined_seq and row.seq not in got
            ]
            if missing:
                yield f"{_name(reader)} never got {len(missing)} messages of {conversation}, first Seq {missing[0]}"


def i6_in_time(history: History) -> Iterator[str]:
    """From heal to the last delivery that was still owed: at most two sweeps and a second."""
    longest, what = slowest_after_heal(history)
    if longest > 2 * SWEEP_SECONDS + 1:
        yield f"{what} only {longest:.1f} s after all was well again"


def slowest_after_heal(history: History) -> tuple[float, str]:
    """The longest time that a reader who stayed connected waited for what was owed to him, from the heal on."""
    healed = history.marks.get("healed")
    longest, what = 0.0, "nothing"
    if healed is None:
        return longest, what
    for (reader, msg_id), delivery in history.first_deliveries.items():
        owed = max(healed, history.acknowledged_at.get(msg_id, healed))
        late = delivery.at - owed
        if late > longest and history.was_connected(reader, owed, delivery.at):
            longest, what = late, f"{_name(reader)} got {msg_id}"
    return longest, what


def i7(history: History) -> Iterator[str]:
    """What was delivered = history forward = history backward reversed = the database."""
    for histories in history.histories:
        stored = tuple(row.msg_id for row in history.rows_in[histories.conversation])
        if histories.forward != stored:
            yield f"history forward of {histories.conversation} is not what is stored"
        if histories.backward[::-1] != stored:
            yield f"history backward of {histories.conversation} is not what is stored"
    for delivery in history.deliveries:
        row = history.row_of.get(delivery.msg_id)
        if row is None:
            yield f"{delivery.session} got {delivery.msg_id}, which the database does not hold"
        elif (row.conversation, row.seq, row.content) != (delivery.conversation, delivery.seq, delivery.content):
            yield f"{delivery.session} got {delivery.msg_id} with another place or content than is stored"


def i8(history: History) -> Iterator[str]:
    """Nothing appears later below a page already read."""
    for page in history.pages:
        if not page.msg_ids:
            continue
        now = tuple(
            row.msg_id
            for row in history.rows_in[page.conversation]
            if page.msg_ids[0] <= row.msg_id <= page.msg_ids[-1]
        )
        if now != page.msg_ids:
            news = sorted(set(now) ^ set(page.msg_ids))
            yield f"a page of {page.conversation} from {page.msg_ids[0]} differs later by {', '.join(news[:3])}"


def i9(history: History) -> Iterator[str]:
    """ok(a) before invoke(b) in one conversation: MsgId(a) < MsgId(b). And Seq order is MsgId order."""
    for conversation, rows in history.rows_in.items():
        for before, after in pairwise(rows):
            if not before.msg_id < after.msg_id:
                yield f"in {conversation}, Seq {after.seq} has a MsgId that is not above that of Seq {before.seq}"
        if [row.seq for row in rows] != list(range(1, len(rows) + 1)):
            yield f"the Seq of {conversation} have holes or repeats"
    for conversation in {send.conversation for send in history.sends}:
        known = [send for send in history.sends if send.conversation == conversation and send.outcome == "ok"]
        by_end = sorted(known, key=lambda send: send.ended)
        highest, ended = "", 0
        for send in sorted(known, key=lambda send: send.invoked):
            while ended < len(by_end) and by_end[ended].ended < send.invoked:
                highest = max(highest, *by_end[ended].msg_ids)
                ended += 1
            if min(send.msg_ids) <= highest:
                yield f"{send.client_msg_id} began after {highest} was acknowledged, and got {min(send.msg_ids)}"


def i10(history: History) -> Iterator[str]:
    """Nothing committed after a kick reaches the kicked member, or comes from him; nobody gets what is none of his."""
    for said in history.rows:
        stays = history.memberships_of.get((said.session, said.conversation), [])
        if stays and not any(stay.covers(said.seq) for stay in stays):
            yield f"{said.session} said Seq {said.seq} of {said.conversation}, outside of all his memberships"
    for (reader, conversation), deliveries in history.deliveries_to.items():
        memberships = history.memberships_of[reader.session, conversation]
        for delivery in deliveries:
            row = history.row_of.get(delivery.msg_id)
            if row is not None and not any(membership.covers(row.seq) for membership in memberships):
                yield f"{_name(reader)} got Seq {delivery.seq} of {conversation}, outside of all his memberships"


def _membership_at(memberships: list[Membership], seq: int) -> Membership | None:
    return next((membership for membership in reversed(memberships) if membership.joined_seq < seq), None)


def _name(reader: Reader) -> str:
    return reader.receiver or reader.session


RULES: dict[str, Rule] = {
    "I1": i1,
    "I2": i2,
    "I3": i3,
    "I4": i4,
    "I5": i5,
    "I6": i6,
    "I7": i7,
    "I8": i8,
    "I9": i9,
    "I10": i10,
}


def violations(history: History) -> list[Violation]:
    """All violations of all exact rules."""
    found = [Violation(name, what) for name, rule in RULES.items() for what in rule(history)]
    return found + [Violation("I6", what) for what in i6_in_time(history)]
