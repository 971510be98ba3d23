"""What a resuming connection starts from: where its cursor stands in each conversation, and what it has to be told."""

from collections.abc import Callable

import pytest

from conversations import services
from conversations.models import Conversation
from gateway.cursor import Cursor, parse
from gateway.resume import SessionLoad, load_session
from messaging import msgid
from messaging.append import append_batch
from messaging.message import Committed, NewMessage
from tests.gateway.in_process import Clock, use_clock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The database's clock, moved by the test."""
    clock = Clock()
    use_clock(monkeypatch, clock)
    return clock


@pytest.fixture
def room(clock: Clock) -> Conversation:
    """A conversation of alice and bob, a minute old."""
    room = services.create_conversation(1, ["alice", "bob"])
    clock.advance(60)
    return room


def say(room: Conversation, text: str) -> str:
    """Sends as alice; returns the MsgId."""
    (outcome,) = append_batch([NewMessage(str(room.public_id), "alice", 0, 0, text)])
    assert isinstance(outcome, Committed)
    return outcome.message.msg_id


def position(load: SessionLoad, room: Conversation) -> int:
    """The Seq up to which the client has everything."""
    (seat,) = (seat for seat in load.seats if seat.number == room.pk)
    return seat.position


def events(load: SessionLoad) -> list[str]:
    """What it is told first."""
    return [notice.event for notice in load.notices]


def test_without_a_cursor_it_starts_now_and_is_told_nothing(room: Conversation) -> None:
    say(room, "before")
    services.set_archived([str(room.public_id)], True)
    load = load_session("bob", None)
    assert (position(load, room), events(load), load.is_reset) == (1, [], False)


def test_a_msgid_is_exact_in_its_own_conversation_and_early_in_others(room: Conversation, clock: Clock) -> None:
    other = services.create_conversation(1, ["alice", "bob"])
    say(other, "long ago")
    clock.advance(10.5)
    say(other, "just before")
    say(room, "1")
    seen = say(room, "2")
    say(room, "3")
    load = load_session("bob", parse(seen))
    assert (position(load, room), position(load, other)) == (2, 1)


def test_a_msgid_that_does_not_exist_is_early_everywhere(room: Conversation, clock: Clock) -> None:
    say(room, "1")
    clock.advance(10.5)
    say(room, "2")
    load = load_session("bob", parse(msgid.encode(msgid.tick_at(clock.now), 5)))
    assert position(load, room) == 1


def test_a_polls_cursor_is_exact_where_it_names_a_position(room: Conversation, clock: Clock) -> None:
    before = clock.now
    clock.advance(1)
    for text in "123":
        say(room, text)
    tick = msgid.tick_at(before)
    assert position(load_session("bob", Cursor(tick)), room) == 0
    assert position(load_session("bob", Cursor(tick, positions={room.pk: 2})), room) == 2
    assert position(load_session("bob", Cursor(tick, positions={room.pk: 99})), room) == 3
    assert position(load_session("bob", Cursor(msgid.tick_at(clock.now) + 99)), room) == 3


def test_nothing_from_before_the_latest_joining_is_brought(room: Conversation, clock: Clock) -> None:
    seen = say(room, "1")
    services.kick_out(str(room.public_id), ["bob"])
    say(room, "2")
    assert load_session("bob", parse(seen)).seats == []
    services.join_conversation(str(room.public_id), ["bob"])
    say(room, "3")
    assert position(load_session("bob", parse(seen)), room) == 2


Change = Callable[[str], object]
CHANGES: list[tuple[Change, str]] = [
    (lambda room: services.kick_out(room, ["bob"]), "conversation.left"),
    (lambda room: services.leave_conversation(room, "bob"), "conversation.left"),
    (lambda room: services.set_archived([room], True), "conversation.archived"),
    (lambda room: services.set_deleted([room], True), "conversation.deleted"),
]


@pytest.mark.parametrize(("change", "event"), CHANGES)
def test_what_changed_after_the_cursor_is_told_once(
    room: Conversation, clock: Clock, change: Change, event: str
) -> None:
    cursor = Cursor(msgid.tick_at(clock.now))
    clock.advance(1)
    change(str(room.public_id))
    load = load_session("bob", cursor)
    assert events(load) == [event]
    version, _ = load.told[room.pk]
    assert events(load_session("bob", Cursor(cursor.tick, notices={room.pk: version}))) == []


@pytest.mark.parametrize(("change", "event"), CHANGES)
def test_what_changed_after_a_joining_that_was_told_is_told_too(clock: Clock, change: Change, event: str) -> None:
    tick = msgid.tick_at(clock.now)
    clock.advance(1)
    room = services.create_conversation(1, ["alice", "bob"])
    joined = load_session("bob", Cursor(tick))
    assert events(joined) == ["conversation.joined"]
    version, _ = joined.told[room.pk]
    clock.advance(1)
    change(str(room.public_id))
    # The cursor still lies before both, as a poll's does for some seconds.
    assert events(load_session("bob", Cursor(tick, notices={room.pk: version}))) == [event]


def test_a_joining_tells_that_the_conversation_was_archived_before(clock: Clock) -> None:
    cursor = Cursor(msgid.tick_at(clock.now))
    clock.advance(1)
    room = services.create_conversation(1, ["alice"])
    services.set_archived([str(room.public_id)], True)
    clock.advance(1)
    services.join_conversation(str(room.public_id), ["bob"])
    load = load_session("bob", cursor)
    assert events(load) == ["conversation.joined"]
    assert b'"IsArchive":true' in load.notices[0].body


def test_who_is_far_behind_starts_anew(room: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = say(room, "1")
    for text in "2345":
        say(room, text)
    monkeypatch.setattr("gateway.resume.MAX_MISSED", 4)
    assert not load_session("bob", parse(seen)).is_reset
    monkeypatch.setattr("gateway.resume.MAX_MISSED", 3)
    assert load_session("bob", parse(seen)).is_reset


def test_who_missed_what_is_not_kept_any_more_starts_anew(room: Conversation) -> None:
    ids = [say(room, text) for text in "1234"]
    Conversation.objects.update(first_seq=3)
    assert load_session("bob", parse(ids[0])).is_reset
    assert not load_session("bob", parse(ids[1])).is_reset
