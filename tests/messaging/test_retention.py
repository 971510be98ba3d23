"""Pruning: the oldest messages of a conversation go, it knows what it lost, and its numbers go on."""

import pytest
from django.db import OperationalError, connection, transaction

from conversations.models import Conversation
from conversations.services import create_conversation, kick_out, set_archived, set_deleted
from messaging import history, msgid, retention
from messaging.append import append_batch
from messaging.message import Committed, NewMessage, StoredMessage
from messaging.models import Draft, Message
from messaging.retention import Pruned, Selection, count, prune, select
from messaging.services import post_message
from quickim.errors import ConversationNotFound
from quickim.rest.callers import Caller
from tests.gateway.in_process import Clock
from tests.messaging.conftest import draft, stored, written

DAY = 86_400


@pytest.fixture(autouse=True)
def clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Pruning reads the same clock."""
    monkeypatch.setattr("messaging.retention.database_clock", clock)
    return clock


def say(room: Conversation, *texts: str, **more: str) -> list[StoredMessage]:
    """Sends these as alice, one batch each."""
    messages = []
    for text in texts:
        (outcome,) = append_batch([draft(room, text, **more)])
        assert isinstance(outcome, Committed), outcome
        messages.append(outcome.message)
    return messages


def older_than(days: float, conversation: str = "", conversation_type: int | None = None) -> Selection:
    """All that is so old."""
    return select(int(days * DAY) * 1_000_000, conversation, conversation_type)


def pruned(selection: Selection, batch: int = 1_000) -> Pruned:
    """Prunes to the end, after seeing that a dry run tells the same."""
    told, done = count(selection), Pruned()
    for _ in prune(selection, done, batch):
        pass
    assert (done.messages, done.conversations, done.drafts) == (told.messages, told.conversations, told.drafts)
    return done


def seqs(room: Conversation) -> list[int]:
    """What is kept."""
    return [seq for seq, _, _ in stored(room)]


def ends(room: Conversation) -> tuple[int, str, int]:
    """(first kept Seq, highest pruned MsgId, last Seq), as the row has them."""
    room.refresh_from_db()
    return room.first_seq, room.pruned_msg_id, room.last_seq


def test_what_is_older_goes_and_what_is_not_stays(room: Conversation, clock: Clock) -> None:
    old = say(room, "1", "2", "3")
    clock.advance(10 * DAY)
    say(room, "4", "5")
    assert pruned(older_than(10.1)) == Pruned()
    assert seqs(room) == [1, 2, 3, 4, 5]
    assert pruned(older_than(9.9)) == Pruned(messages=3, conversations=1)
    assert seqs(room) == [4, 5]
    assert ends(room) == (4, old[-1].msg_id, 5)
    assert pruned(older_than(9.9)) == Pruned()
    assert ends(room) == (4, old[-1].msg_id, 5)


def test_the_age_is_counted_to_the_millisecond_by_the_databases_clock(room: Conversation, clock: Clock) -> None:
    say(room, "1")
    clock.advance(0.001)
    say(room, "2")
    clock.advance(DAY)
    assert pruned(select(DAY * 1_000_000)).messages == 1
    assert seqs(room) == [2]
    clock.advance(0.001)
    assert pruned(select(DAY * 1_000_000)).messages == 1


def test_a_dry_run_deletes_nothing(room: Conversation, clock: Clock) -> None:
    say(room, "1", "2")
    clock.advance(DAY)
    assert count(older_than(0)) == Pruned(messages=2, conversations=1)
    assert seqs(room) == [1, 2]
    assert ends(room) == (1, "", 2)


@pytest.mark.parametrize("batch", [1, 2, 7, 1_000])
def test_every_size_of_batch_comes_to_the_same(room: Conversation, clock: Clock, batch: int) -> None:
    rooms = [room, *(create_conversation(1, ["alice"]) for _ in range(4))]
    for place, one in enumerate(rooms):
        say(one, *(f"{number}" for number in range(place * 2)))
    clock.advance(DAY)
    for one in rooms:
        say(one, "kept")
    assert pruned(older_than(0.5), batch) == Pruned(messages=20, conversations=4)
    assert [seqs(one) for one in rooms] == [[1], [3], [5], [7], [9]]


def test_no_transaction_deletes_more_than_its_batch_nor_leaves_a_hole(room: Conversation, clock: Clock) -> None:
    say(room, *"123456789")
    clock.advance(DAY)
    before = 0
    done = Pruned()
    for _ in prune(older_than(0), done, 4):
        assert 0 < done.messages - before <= 4
        before = done.messages
        first, highest, last = ends(room)
        assert seqs(room) == list(range(first, last + 1))
        assert first == done.messages + 1
        assert msgid.is_well_formed(highest)
    assert done == Pruned(messages=9, conversations=1)


def test_more_conversations_than_fit_a_query_or_a_transaction_are_all_pruned(
    room: Conversation, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CONVERSATIONS_PER_QUERY", 3)
    monkeypatch.setattr(retention, "CONVERSATIONS_PER_TRANSACTION", 2)
    rooms = [create_conversation(number % 2, ["alice"]) for number in range(10)]
    for one in rooms:
        say(one, "1", "2")
    clock.advance(DAY)
    assert pruned(older_than(0.5, conversation_type=1)) == Pruned(messages=10, conversations=5)
    assert pruned(older_than(0.5)) == Pruned(messages=10, conversations=5)
    assert not Message.objects.exists()


def test_numbers_go_on_when_nothing_is_left(room: Conversation, clock: Clock) -> None:
    old = say(room, "1", "2", "3")
    clock.advance(DAY)
    pruned(older_than(0))
    assert stored(room) == []
    assert ends(room) == (4, old[-1].msg_id, 3)
    # Even to a clock that has gone back behind what was pruned.
    clock.advance(-2 * DAY)
    (next_one,) = say(room, "4")
    assert (next_one.seq, seqs(room)) == (4, [4])
    assert next_one.msg_id > old[-1].msg_id
    assert next_one.send_time >= old[-1].send_time
    clock.advance(3 * DAY)
    assert pruned(older_than(0)) == Pruned(messages=1, conversations=1)
    assert ends(room) == (5, next_one.msg_id, 4)


def test_sqlites_one_counter_of_ticks_does_not_fall_back(room: Conversation, clock: Clock) -> None:
    other = create_conversation(1, ["alice"])
    (highest,) = say(room, "1")
    clock.advance(DAY)
    pruned(older_than(0, str(room.public_id)))
    clock.advance(-2 * DAY)
    (lowest,) = say(other, "1")
    goes_on = msgid.tick_of(lowest.msg_id) > msgid.tick_of(highest.msg_id)
    assert goes_on == (connection.vendor == "sqlite")


def test_one_conversation_or_one_type_can_be_named(room: Conversation, clock: Clock) -> None:
    other, third = create_conversation(7, ["alice"]), create_conversation(8, ["alice"])
    for one in (room, other, third):
        say(one, "1")
    clock.advance(DAY)
    assert pruned(older_than(0, str(other.public_id))) == Pruned(messages=1, conversations=1)
    assert [seqs(one) for one in (room, other, third)] == [[1], [], [1]]
    assert pruned(older_than(0, str(third.public_id), 7)) == Pruned()
    assert pruned(older_than(0, "", 7)) == Pruned(messages=1, conversations=1)
    assert [seqs(one) for one in (room, other, third)] == [[], [], [1]]
    for unknown in ("0d5f1a9e-5a0c-4a58-9d3b-0c7f6f1d3b52", "no id"):
        with pytest.raises(ConversationNotFound):
            older_than(0, unknown)


def test_archived_and_deleted_conversations_are_pruned_too(room: Conversation, clock: Clock) -> None:
    other = create_conversation(7, ["alice"])
    for one in (room, other):
        say(one, "1")
    set_archived([str(room.public_id)], True)
    set_deleted([str(other.public_id)], True)
    clock.advance(DAY)
    assert pruned(older_than(0, str(other.public_id))).messages == 1
    assert pruned(older_than(0)).messages == 1


def test_a_repeat_of_a_pruned_send_is_a_new_message(room: Conversation, clock: Clock) -> None:
    (first,) = say(room, "hello", client_msg_id="once")
    clock.advance(DAY)
    pruned(older_than(0))
    (second,) = say(room, "hello", client_msg_id="once")
    assert (second.seq, second.msg_id > first.msg_id) == (2, True)


def test_refused_drafts_of_that_age_go_and_waiting_ones_never(room: Conversation, clock: Clock) -> None:
    identifier = str(room.public_id)
    with transaction.atomic():
        post_message(identifier, "refused", session="bob")
        kick_out(identifier, ["bob"])
    written()
    Draft.objects.create(conversation=room, content="waits", created_at=clock.now)
    assert Draft.objects.filter(refused_code=90015).count() == 1
    assert pruned(older_than(0.5)) == Pruned()
    clock.advance(DAY)
    other = create_conversation(8, ["alice"])
    assert pruned(older_than(0.5, str(other.public_id))) == Pruned()
    assert pruned(older_than(0.5, conversation_type=8)) == Pruned()
    assert pruned(older_than(0.5, conversation_type=7)) == Pruned(drafts=1)
    assert list(Draft.objects.values_list("content", flat=True)) == ["waits"]


def test_history_gives_what_is_kept(room: Conversation, clock: Clock) -> None:
    old = say(room, "1", "2", "3")
    clock.advance(DAY)
    new = say(room, "4", "5")
    pruned(older_than(0.5))
    alice, identifier = Caller("alice", 0), str(room.public_id)

    def given(messages: list[history.MsgObject]) -> list[int]:
        return [message["Seq"] for message in messages]

    page, more = history.range_page(alice, identifier, old[0].msg_id, "", newest_first=False)
    assert (given(page), more) == ([4, 5], False)
    assert history.range_page(alice, identifier, old[0].msg_id, old[2].msg_id, newest_first=True) == ([], False)
    assert given(history.before(alice, identifier, new[1].msg_id, newest_first=False)) == [4]
    assert history.before(alice, identifier, old[1].msg_id, newest_first=False) == []
    assert given(history.after(alice, identifier, old[0].msg_id, newest_first=True)) == [5, 4]
    pruned(older_than(0))
    clock.advance(1)
    pruned(older_than(0))
    assert history.last(alice, identifier, 30, newest_first=False) == []


def test_a_transaction_that_fails_leaves_all_as_it_was(
    room: Conversation, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(room, "1", "2")
    clock.advance(DAY)
    monkeypatch.setattr(retention, "_DELETE", "DELETE FROM nowhere WHERE 1 = %s AND 2 BETWEEN %s AND %s")
    with pytest.raises(Exception, match="nowhere"):
        list(prune(older_than(0), Pruned()))
    assert ends(room) == (1, "", 2)
    assert seqs(room) == [1, 2]


def test_it_may_stop_anywhere_and_goes_on_where_it_was(room: Conversation, clock: Clock) -> None:
    say(room, *"12345")
    clock.advance(DAY)
    stopped = Pruned()
    steps = prune(older_than(0), stopped, 2)
    next(steps)
    assert (stopped.messages, seqs(room)) == (2, [3, 4, 5])
    del steps
    assert pruned(older_than(0)).messages == 3


def test_two_prunings_at_a_time_do_not_count_or_delete_twice(room: Conversation, clock: Clock) -> None:
    say(room, *"123456")
    clock.advance(DAY)
    one, other = Pruned(), Pruned()
    both = [prune(older_than(0), one, 2), prune(older_than(0), other, 3)]
    while both:
        for steps in list(both):
            if next(steps, ...) is ...:
                both.remove(steps)
    assert one.messages + other.messages == 6
    assert ends(room)[0] == 7


def test_what_passes_is_tried_again_and_what_does_not_is_raised(
    room: Conversation, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(room, "1")
    clock.advance(DAY)
    monkeypatch.setattr(retention, "FAILURE_PAUSE_SECONDS", 0)
    usual = retention._delete
    failures: list[OperationalError] = []

    def fails(targets: dict[int, int], batch: int) -> retention._Step:
        if failures:
            raise failures.pop()
        return usual(targets, batch)

    def passing() -> OperationalError:
        error = OperationalError("database is locked")
        error.__cause__ = OperationalError()
        error.__cause__.sqlstate = "40P01"  # type: ignore[attr-defined]
        return error

    monkeypatch.setattr(retention, "_delete", fails)
    failures += [passing() for _ in range(retention.FAILURES)]
    with pytest.raises(OperationalError, match="locked"):
        list(prune(older_than(0), Pruned()))
    failures[:] = [OperationalError("disk I/O error")]
    with pytest.raises(OperationalError, match="disk"):
        list(prune(older_than(0), Pruned()))
    failures[:] = [passing() for _ in range(retention.FAILURES - 1)]
    assert pruned(older_than(0)).messages == 1


def test_what_stays_held_is_told_after_all_else_is_done(
    room: Conversation, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = create_conversation(1, ["alice"])
    for one in (room, other):
        say(one, "1")
    clock.advance(DAY)
    usual, asked = retention._delete, 0

    def held_by_somebody(targets: dict[int, int], batch: int) -> retention._Step:
        nonlocal asked
        asked += room.pk in targets
        step = usual({number: last for number, last in targets.items() if number != room.pk}, batch)
        return retention._Step(step.messages, step.finished, targets.keys() & {room.pk})

    monkeypatch.setattr(retention, "_delete", held_by_somebody)
    monkeypatch.setattr(retention, "HELD_SECONDS", 0.05)
    monkeypatch.setattr(retention, "HELD_RETRY_SECONDS", 0.01)
    done = Pruned()
    list(prune(older_than(0), done))
    assert done == Pruned(messages=1, conversations=1, held=1)
    assert asked > 1
    assert (seqs(room), seqs(other)) == ([1], [])


def test_senders_are_not_kept_out_while_it_prunes(room: Conversation, clock: Clock) -> None:
    say(room, *"1234")
    clock.advance(DAY)
    for number, _ in enumerate(prune(older_than(0.5), Pruned(), 1)):
        (outcome,) = append_batch([NewMessage(str(room.public_id), "alice", 0, 0, f"new {number}")])
        assert isinstance(outcome, Committed)
    assert seqs(room) == [5, 6, 7, 8]
