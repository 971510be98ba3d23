"""The append transaction: an outcome for each draft, Seq without a gap, MsgIds that rise whatever the clock does."""

from collections.abc import Sequence

import pytest
from django.db import OperationalError, connection

from conversations.models import Conversation, Membership
from conversations.services import create_conversation, kick_out, set_archived, set_deleted
from messaging import msgid
from messaging.append import CommitUnclear, append_batch, statements
from messaging.append_sql import Ground, Statements
from messaging.message import Again, Committed, NewMessage, Outcome, Receipt
from messaging.models import Message
from quickim.errors import (
    ClientMsgIdReused,
    ConversationArchived,
    ConversationNotFound,
    NotMember,
    Unavailable,
)
from tests.gateway.in_process import Clock
from tests.messaging.conftest import draft, stored


def committed(outcome: Outcome) -> Committed:
    """The outcome, which must be one that stored a message."""
    assert isinstance(outcome, Committed), outcome
    return outcome


def head(conversation: Conversation) -> tuple[int, str, int, str]:
    """(Seq, MsgId, time, session) of the last message, as the conversation's row has it."""
    row = Conversation.objects.get(pk=conversation.pk)
    return row.last_seq, row.last_msg_id, row.last_send_time, row.last_send_session


def test_each_draft_of_a_batch_has_an_outcome_of_its_own(room: Conversation) -> None:
    archived, deleted = create_conversation(1, ["alice"]), create_conversation(1, ["alice"])
    set_archived([str(archived.public_id)], True)
    set_deleted([str(deleted.public_id)], True)
    kick_out(str(room.public_id), ["bob"])
    nowhere = NewMessage("0d5f1a9e-5a0c-4a58-9d3b-0c7f6f1d3b52", "alice", 0, 0, "")
    outcomes = append_batch(
        [
            draft(room, "1"),
            draft(room, "kicked", "bob"),
            draft(room, "stranger", "charlie"),
            nowhere,
            NewMessage("no id at all", "alice", 0, 0, ""),
            NewMessage(str(room.public_id).upper(), "alice", 0, 0, ""),
            draft(archived, "closed"),
            draft(archived, "last words", ""),
            draft(deleted, "gone", ""),
            draft(room, "2", ""),
        ]
    )
    kinds = [
        Committed,
        NotMember,
        NotMember,
        ConversationNotFound,
        ConversationNotFound,
        ConversationNotFound,
        ConversationArchived,
        Committed,
        ConversationNotFound,
        Committed,
    ]
    assert [type(outcome) for outcome in outcomes] == kinds
    assert stored(room) == [(1, "alice", "1"), (2, "", "2")]
    assert stored(archived) == [(1, "", "last words")]
    assert stored(deleted) == []


def test_every_text_is_stored_as_it_is(room: Conversation) -> None:
    texts = ["", '"', "\\", '\\"', "{}", ",", "NULL", "null", " ", "a\nb\tc", "'; DROP", "%s", "$1", "héllo 😀", "\x01"]
    sessions = [text for text in texts if text]
    add_members(room, sessions)
    batch = [draft(room, text, text, client_msg_id=text) for text in texts]
    assert [type(outcome) for outcome in append_batch(batch)] == [Committed] * len(texts)
    assert stored(room) == [(seq, text, text) for seq, text in enumerate(texts, 1)]
    again = append_batch([one for one in batch if one.client_msg_id])
    assert [type(outcome) for outcome in again] == [Receipt] * len(sessions)


def add_members(room: Conversation, sessions: Sequence[str]) -> None:
    """Rows as they are, whatever a door would say of such names."""
    for session in sessions:
        Membership.objects.create(conversation=room, session=session, joined_at=0, version=0, changed_at=0)


def test_an_outcome_says_what_is_stored(room: Conversation, clock: Clock) -> None:
    (outcome,) = append_batch([draft(room, "héllo 😀", type=-5, status=2**31 - 1, client_msg_id="x")])
    message = committed(outcome).message
    row = Message.objects.get()
    assert (row.msg_id, row.conversation_id, row.seq) == (message.msg_id, room.pk, 1)
    assert (row.session, row.send_time) == ("alice", clock.now)
    assert (row.status, row.type, row.content) == (2**31 - 1, -5, "héllo 😀")
    assert row.client_msg_id == "x"
    assert msgid.decode(row.msg_id) == (msgid.tick_at(clock.now), msgid.low_bits(7, room.pk))
    assert committed(outcome).receipt == Receipt(row.msg_id, row.send_time)
    assert committed(outcome).version == Conversation.objects.get(pk=room.pk).member_version
    assert head(room) == (1, row.msg_id, row.send_time, "alice")


def test_seq_counts_without_a_gap_and_msgids_rise(room: Conversation, clock: Clock) -> None:
    for batch in range(4):
        append_batch([draft(room, f"{batch}.{count}") for count in range(5)])
        clock.advance(0.0007)
    rows = stored(room)
    assert [seq for seq, _, _ in rows] == list(range(1, 21))
    assert [content for _, _, content in rows] == [f"{batch}.{count}" for batch in range(4) for count in range(5)]


def test_refused_drafts_leave_no_hole_in_seq(room: Conversation) -> None:
    append_batch([draft(room, "1"), draft(room, "no", "charlie"), draft(room, "2"), draft(room, "no", "dave")])
    append_batch([draft(room, "no", "charlie"), draft(room, "3")])
    assert [(seq, content) for seq, _, content in stored(room)] == [(1, "1"), (2, "2"), (3, "3")]


def test_a_clock_that_goes_backwards_turns_neither_msgids_nor_times_back(room: Conversation, clock: Clock) -> None:
    first = committed(append_batch([draft(room, "1")])[0]).message
    clock.advance(-3_600)
    second, third = (committed(one).message for one in append_batch([draft(room, "2"), draft(room, "3")]))
    assert first.msg_id < second.msg_id < third.msg_id
    assert first.send_time == second.send_time == third.send_time
    clock.advance(3_600.5)
    fourth = committed(append_batch([draft(room, "4")])[0]).message
    assert fourth.msg_id > third.msg_id
    assert fourth.send_time == clock.now > third.send_time


def test_msgids_rise_over_all_conversations_where_one_counter_serves_them(room: Conversation, clock: Clock) -> None:
    rooms = [room, create_conversation(3, ["alice"]), create_conversation(9, ["alice"])]
    drafts = [draft(rooms[count % 3], str(count)) for count in range(9)]
    for _ in range(3):
        append_batch(drafts)
        clock.advance(-60)
    rows = Message.objects.order_by("msg_id").values_list("content", flat=True)
    has_one_counter = statements().read([]).floor is not None
    assert has_one_counter == (connection.vendor == "sqlite")
    if has_one_counter:
        assert list(rows) == [str(count) for count in range(9)] * 3
    for conversation in rooms:
        assert [seq for seq, _, _ in stored(conversation)] == list(range(1, 10))


def test_a_repeat_inside_a_batch_gets_the_first_ones_receipt(room: Conversation) -> None:
    once = {"client_msg_id": "once"}
    outcomes = append_batch(
        [
            draft(room, "hello", **once),
            draft(room, "hello", **once),
            draft(room, "other", **once),
            draft(room, "hello", type=1, **once),
            draft(room, "hello", status=1, **once),
            draft(room, "hello", "bob", **once),
            draft(room, "hello", "", **once),
        ]
    )
    first = committed(outcomes[0]).message
    assert outcomes[1] == Receipt(first.msg_id, first.send_time, repeated=True)
    assert [type(outcome) for outcome in outcomes[2:5]] == [ClientMsgIdReused] * 3
    # The id belongs to its sender: others, and the system, have ids of their own.
    assert [type(outcome) for outcome in outcomes[5:]] == [Committed, Committed]
    assert stored(room) == [(1, "alice", "hello"), (2, "bob", "hello"), (3, "", "hello")]


def test_a_known_repeat_gets_the_first_ones_receipt_for_good(room: Conversation, clock: Clock) -> None:
    first = committed(append_batch([draft(room, client_msg_id="once")])[0]).message
    clock.advance(60)
    again = Receipt(first.msg_id, first.send_time, repeated=True)
    assert append_batch([draft(room, client_msg_id="once")]) == [again]
    kick_out(str(room.public_id), ["alice"])
    assert append_batch([draft(room, client_msg_id="once")]) == [again]
    set_archived([str(room.public_id)], True)
    assert append_batch([draft(room, client_msg_id="once")]) == [again]
    (other,) = append_batch([draft(room, "other", client_msg_id="once")])
    assert isinstance(other, ClientMsgIdReused)
    assert len(stored(room)) == 1


def test_a_client_msg_id_is_free_in_another_conversation(room: Conversation) -> None:
    other = create_conversation(7, ["alice"])
    outcomes = append_batch([draft(room, client_msg_id="once"), draft(other, client_msg_id="once")])
    assert [type(outcome) for outcome in outcomes] == [Committed, Committed]


def test_a_refused_draft_does_not_use_up_its_client_msg_id(room: Conversation) -> None:
    stranger = draft(room, "hello", "charlie", client_msg_id="once")
    assert isinstance(append_batch([stranger])[0], NotMember)
    Membership.objects.filter(session="bob").update(session="charlie")
    assert isinstance(append_batch([stranger])[0], Committed)


def test_clashing_conversations_get_different_msgids_inside_a_batch(room: Conversation, clock: Clock) -> None:
    twin = clashing_with(room)
    outcomes = append_batch([draft(room), draft(twin), draft(room), draft(twin)])
    assert len({committed(outcome).message.msg_id for outcome in outcomes}) == 4


def clashing_with(room: Conversation) -> Conversation:
    """A conversation whose MsgIds have the same low bits as those of ``room``."""
    twin = Conversation.objects.create(id=room.pk + 2**22, type=room.type + 16, created_at=0)
    Membership.objects.create(conversation=twin, session="alice", joined_at=0, version=0, changed_at=0)
    assert msgid.low_bits(twin.type, twin.pk) == msgid.low_bits(room.type, room.pk)
    return twin


def test_a_transaction_that_takes_too_long_is_given_up(room: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quickim.database.MAX_WRITE_SECONDS", -1)
    with pytest.raises(Unavailable):
        append_batch([draft(room)])
    assert stored(room) == []
    assert head(room) == (0, "", 0, "")


def test_a_conversation_that_is_held_elsewhere_is_to_be_tried_again(
    room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = create_conversation(1, ["alice"])
    read = type(statements()).read

    def held(sql: Statements, drafts: Sequence[NewMessage]) -> Ground:
        ground = read(sql, drafts)
        ground.heads[str(room.public_id)].locked = False
        return ground

    monkeypatch.setattr(type(statements()), "read", held)
    outcomes = append_batch([draft(room, "held"), draft(other, "free"), draft(room, "held too")])
    assert [type(outcome) for outcome in outcomes] == [Again, Committed, Again]
    assert (stored(room), stored(other)) == ([], [(1, "alice", "free")])


def test_a_commit_whose_end_is_not_known_is_told_from_a_failure(
    room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost() -> None:
        raise OperationalError("server closed the connection unexpectedly")

    kind = type(statements())
    with monkeypatch.context() as losing:
        losing.setattr(connection, "commit", lost)
        losing.setattr(kind, "commit_may_have_happened", lambda self, error: False)
        with pytest.raises(OperationalError):
            append_batch([draft(room)])
        losing.setattr(kind, "commit_may_have_happened", lambda self, error: True)
        with pytest.raises(CommitUnclear):
            append_batch([draft(room)])
    assert isinstance(append_batch([draft(room)])[0], Committed)
