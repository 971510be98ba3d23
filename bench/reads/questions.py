"""The questions: every read of history, resume and sweep, and the append, as the product's functions ask them.

Law: what a question needs to be put (a position, a cursor) is drawn before its time is taken; a position is any moment
of the history and hits no message, as a client's may.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import uuid4

from bench.alarm import BenchmarkError
from bench.reads.stock import BIG, HUNDRED, MEDIUM, MEMBER_OF, ONE, SILENT, THOUSAND, TYPE, Stock
from conversations import selectors
from gateway import cursor, members, missed, resume, sweep
from gateway.cursor import Cursor
from gateway.replay import PAGE_CHARACTERS, PAGE_MESSAGES
from messaging import append, history, msgid
from messaging.message import Committed, NewMessage, Receipt
from messaging.models import Message
from messaging.services import sweep_drafts
from quickim.rest.callers import Caller

Ask = Callable[[], object]

_TAIL = 2_000
_CALLS = 100
_PLACES = {"begin": (0.0, 0.05), "middle": (0.4, 0.6), "end": (0.95, 1.0)}
_CONTENT = "a" * 300


@dataclass(frozen=True)
class Question:
    """``draw`` gives the next call; ``calls`` of them are a round."""

    label: str
    draw: Callable[[Random], Ask]
    calls: int = _CALLS
    writes: bool = False


def questions(stock: Stock) -> Iterator[Question]:
    """All of them; those that write come last."""
    yield from _history(stock)
    yield from _resume(stock)
    yield from _sweep()
    yield from _append(stock)


def _history(stock: Stock) -> Iterator[Question]:
    anywhere = (0.0, 1.0)

    def id_of(number: int) -> str:
        return str(stock.conversation_ids[number - 1])

    def caller_of(number: int) -> Caller:
        return Caller(stock.members[number - 1][0], 1)

    def position(random: Random, number: int, part: tuple[float, float] = anywhere) -> str:
        share = random.uniform(*part)
        at = int(stock.begin + (stock.end - stock.begin) * share)
        return msgid.encode(msgid.tick_at(at), msgid.low_bits(TYPE, number))

    def big(random: Random) -> int:
        return random.randint(1, BIG)

    def small(random: Random) -> int:
        return random.randint(BIG + MEDIUM + 1, len(stock.members))

    for name, newest_first in (("oldest first", False), ("newest first", True)):

        def ranging(random: Random, newest_first: bool = newest_first) -> Ask:
            number = big(random)
            start, end = ("", position(random, number)) if newest_first else (position(random, number), "")
            return lambda: history.range_page(caller_of(number), id_of(number), start, end, newest_first=newest_first)

        yield Question(f"range of 1,000 from anywhere, {name}", ranging)

    def open_range(random: Random) -> Ask:
        number = big(random)
        return lambda: history.range_page(caller_of(number), id_of(number), "", "", newest_first=False)

    yield Question("range, both ends open", open_range)

    def small_range(random: Random) -> Ask:
        number = small(random)
        return lambda: history.range_page(caller_of(number), id_of(number), "", "", newest_first=False)

    yield Question("range of a whole small conversation", small_range)
    for direction in (history.before, history.after):
        for place, part in _PLACES.items():

            def neighbours(random: Random, direction: Any = direction, part: tuple[float, float] = part) -> Ask:
                number = big(random)
                msg_id = position(random, number, part)
                return lambda: direction(caller_of(number), id_of(number), msg_id, newest_first=False)

            yield Question(f"30 {direction.__name__}, {place} of a big conversation", neighbours)
    for limit in (30, 1):

        def last(random: Random, limit: int = limit) -> Ask:
            number = big(random) if random.random() < 0.5 else small(random)
            return lambda: history.last(caller_of(number), id_of(number), limit, newest_first=False)

        yield Question(f"last {limit}", last)

    def after_the_silent(random: Random) -> Ask:
        msg_id = position(random, SILENT, _PLACES["end"])
        return lambda: history.after(caller_of(SILENT), id_of(SILENT), msg_id, newest_first=False)

    yield Question(
        "last 30, of a big conversation silent for long",
        lambda _: lambda: history.last(caller_of(SILENT), id_of(SILENT), 30, newest_first=False),
    )
    yield Question("30 after, in one silent for long", after_the_silent)
    yield Question("detail of a conversation", lambda random: _detail(caller_of, id_of, big(random)))
    yield Question("joined conversations (1,000)", lambda _: lambda: selectors.joined_conversations(THOUSAND))


def _detail(caller_of: Callable[[int], Caller], id_of: Callable[[int], str], number: int) -> Ask:
    return lambda: selectors.conversation_detail(caller_of(number), id_of(number))


def _tail() -> list[str]:
    """The latest MsgIds, newest first."""
    return list(Message.objects.order_by("-msg_id").values_list("msg_id", flat=True)[:_TAIL])


def _resume(stock: Stock) -> Iterator[Question]:
    tail = _tail()
    long_ago = msgid.tick_at((stock.begin + stock.end) // 2)
    for session in (ONE, HUNDRED, THOUSAND):
        conversations = f"{MEMBER_OF[session]:,} conversations"

        def connect(_: Random, session: str = session) -> Ask:
            return lambda: resume.load_session(session, None)

        def by_msg_id(random: Random, session: str = session) -> Ask:
            at = cursor.parse(random.choice(tail[:1_000]))
            return lambda: resume.load_session(session, at)

        def by_poll(random: Random, session: str = session) -> Ask:
            at = Cursor(msgid.tick_of(random.choice(tail[:1_000])), positions=dict.fromkeys(range(1, 21), 5))
            return lambda: resume.load_session(session, at)

        def after_long(random: Random, session: str = session) -> Ask:
            at = Cursor(long_ago - random.randrange(2**40))
            return lambda: resume.load_session(session, at)

        yield Question(f"connect, {conversations}", connect)
        yield Question(f"resume by a recent MsgId, {conversations}", by_msg_id)
        yield Question(f"resume by a poll's cursor, {conversations}", by_poll)
        yield Question(f"resume with news in all of {conversations}", after_long)

    heads = stock.last_seq[: MEMBER_OF[THOUSAND]]

    def windows(each: int, count: int) -> list[missed.Window]:
        return [missed.Window(place + 1, max(0, heads[place] - each), heads[place]) for place in range(count)]

    for each, count in ((500, 1), (500, BIG), (10, 1_000), (1, 1_000)):

        def page(_: Random, each: int = each, count: int = count) -> Ask:
            wanted = windows(each, count)
            return lambda: missed.read_page(THOUSAND, wanted, PAGE_MESSAGES, PAGE_CHARACTERS).frames

        yield Question(f"first page of {each} missed in each of {count:,}", page)

    def gap(random: Random) -> Ask:
        low = random.randrange(max(1, stock.last_seq[0] - 200))
        return lambda: missed.read_window(missed.Window(1, low, low + 200), 200)[0]

    yield Question("200 that a hub missed", gap)

    def room(random: Random) -> Ask:
        number = random.randint(1, BIG)
        return lambda: members.read_room_view(number, 0)

    yield Question("members of a room (1,000)", room)


def _sweep() -> Iterator[Question]:
    tail = _tail()
    for count in (0, 100, 1_000):
        tick = msgid.tick_of(tail[0]) + 1 if count == 0 else msgid.tick_of(tail[count - 1])

        def findings(_: Random, tick: int = tick) -> Ask:
            return lambda: sweep.read_findings(tick).heads

        yield Question(f"sweep, {count:,} new messages", findings)

    def heads(_: Random) -> Ask:
        return lambda: sweep.read_heads(range(1, sweep.HEADS_PER_QUERY + 1))

    yield Question("sweep, heads of 1,000 rooms compared", heads)
    yield Question("sweep, drafts left behind (none)", lambda _: sweep_drafts)


def _append(stock: Stock) -> Iterator[Question]:
    small = range(BIG + MEDIUM + 1, len(stock.members) + 1)
    for size, calls in ((1, _CALLS), (64, 50), (512, 20)):

        def batch(random: Random, size: int = size) -> Ask:
            numbers = [1, *random.sample(small, min(size, 64) - 1)]
            drafts = [_draft(stock, random, numbers[i % len(numbers)]) for i in range(size)]
            return lambda: _appended(drafts)

        yield Question(f"append of {size} to {min(size, 64)}", batch, calls, writes=True)

    def repeat(random: Random) -> Ask:
        draft = _draft(stock, random, 1)
        _appended([draft])
        return lambda: _repeated(draft)

    yield Question("append of a repeated client_msg_id", repeat, 100, writes=True)


def _draft(stock: Stock, random: Random, number: int) -> NewMessage:
    session = random.choice(stock.members[number - 1])
    public_id = str(stock.conversation_ids[number - 1])
    return NewMessage(public_id, session, 0, 0, _CONTENT, uuid4().hex)


def _appended(drafts: list[NewMessage]) -> object:
    outcomes = append.append_batch(drafts)
    if not all(isinstance(outcome, Committed) for outcome in outcomes):
        raise BenchmarkError("a message was not appended")
    return outcomes


def _repeated(draft: NewMessage) -> object:
    (outcome,) = append.append_batch([draft])
    if not isinstance(outcome, Receipt):
        raise BenchmarkError("a repeat was not recognised")
    return [outcome]
