"""Changing who may meet: versions, counts and times that sweeps rely on, and facts that are told after the commit."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from conversations import announcements, services
from conversations.announcements import ConversationChanged
from conversations.models import Conversation, Membership
from quickim.errors import ConversationArchived, ConversationNotFound, RemovedFromConversation
from tests.gateway.in_process import Clock

ACTIVE, LEFT, KICKED = Membership.State.ACTIVE, Membership.State.LEFT, Membership.State.KICKED


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The database's clock, moved by the test."""
    clock = Clock()
    monkeypatch.setattr("quickim.database.database_clock", clock)
    return clock


@pytest.fixture
def facts(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> list[ConversationChanged]:
    """What is announced."""
    facts: list[ConversationChanged] = []
    monkeypatch.setattr(announcements, "_listeners", [facts.append])
    return facts


def members(conversation: Conversation) -> dict[str, int]:
    """Every session that is or was a member, with its state."""
    return dict(Membership.objects.filter(conversation=conversation).values_list("session", "state"))


def told(facts: list[ConversationChanged]) -> list[tuple[str, tuple[str, ...], int, int]]:
    """Event, sessions, version and count of each fact."""
    return [(fact.event, fact.sessions, fact.version, fact.member_count) for fact in facts]


def test_every_change_raises_the_version_and_is_told_with_it(facts: list[ConversationChanged], clock: Clock) -> None:
    room = services.create_conversation(5, ["alice", "bob"])
    identifier = str(room.public_id)
    services.join_conversation(identifier, ["bob", "charlie"])
    services.leave_conversation(identifier, "bob")
    services.kick_out(identifier, ["charlie", "dave"])
    services.set_archived([identifier], True)
    services.set_archived([identifier], False)
    services.set_deleted([identifier], True)
    services.set_deleted([identifier], False)
    assert told(facts) == [
        ("conversation.joined", ("alice", "bob"), 1, 2),
        ("conversation.joined", ("charlie",), 2, 3),
        ("conversation.left", ("bob",), 3, 2),
        ("conversation.left", ("charlie",), 4, 1),
        ("conversation.archived", (), 5, 1),
        ("conversation.unarchived", (), 6, 1),
        ("conversation.deleted", (), 7, 1),
        ("conversation.restored", (), 8, 1),
    ]
    assert {(fact.number, fact.conversation_id, fact.conversation_type) for fact in facts} == {(room.pk, identifier, 5)}
    assert members(room) == {"alice": ACTIVE, "bob": LEFT, "charlie": KICKED}


def test_what_changes_nothing_is_neither_a_version_nor_a_fact(facts: list[ConversationChanged]) -> None:
    room = services.create_conversation(5, ["alice"])
    identifier = str(room.public_id)
    before = Conversation.objects.values().get()
    services.join_conversation(identifier, ["alice"])
    services.leave_conversation(identifier, "bob")
    assert services.kick_out(identifier, ["bob"])[1] == ["bob"]
    assert services.set_archived([identifier], False) == []
    assert services.set_deleted([identifier], False) == []
    assert Conversation.objects.values().get() == before
    assert len(facts) == 1


def test_a_fact_is_told_after_the_commit_only(facts: list[ConversationChanged]) -> None:
    with transaction.atomic():
        services.create_conversation(5, ["alice"])
        assert facts == []
    assert len(facts) == 1
    with transaction.atomic():
        services.create_conversation(5, ["bob"])
        transaction.set_rollback(True)
    assert len(facts) == 1


def test_times_are_the_databases_at_the_change(facts: list[ConversationChanged], clock: Clock) -> None:
    room = services.create_conversation(5, ["alice"])
    joined = clock.now
    clock.advance(60)
    services.kick_out(str(room.public_id), ["alice"])
    row = Membership.objects.get()
    assert (row.joined_at, row.ended_at, row.changed_at, row.version) == (joined, clock.now, clock.now, 2)
    assert [fact.at for fact in facts] == [joined, clock.now]
    clock.advance(60)
    services.set_archived([str(room.public_id)], True)
    assert Conversation.objects.get().changed_at == clock.now


def test_a_later_change_has_a_later_time_whatever_the_clock_does(
    facts: list[ConversationChanged], clock: Clock
) -> None:
    room = services.create_conversation(5, ["alice"])
    times = []
    for is_archived, seconds in ((True, 0), (False, -5), (True, 3)):
        clock.advance(seconds)
        services.set_archived([str(room.public_id)], is_archived)
        times.append(Conversation.objects.get().changed_at)
    assert times == sorted(set(times)), "nodes and resumes tell changes apart by it"


def test_a_membership_begins_after_the_last_message(facts: list[ConversationChanged]) -> None:
    room = services.create_conversation(5, ["alice"])
    Conversation.objects.update(last_seq=7, last_msg_id="EDCZL-SY32-243Y-VWQ")
    services.join_conversation(str(room.public_id), ["bob"])
    assert Membership.objects.get(session="bob").joined_seq == 7
    Conversation.objects.update(last_seq=9)
    services.join_conversation(str(room.public_id), ["bob"])
    assert Membership.objects.get(session="bob").joined_seq == 7, "joining twice does not move it"
    services.leave_conversation(str(room.public_id), "bob")
    services.join_conversation(str(room.public_id), ["bob"])
    row = Membership.objects.get(session="bob")
    assert (row.joined_seq, row.state, row.ended_at) == (9, ACTIVE, 0)


def test_who_may_join_by_himself(facts: list[ConversationChanged]) -> None:
    room = services.create_conversation(5, ["alice", "bob"])
    identifier = str(room.public_id)

    def join(session: str) -> None:
        services.join_conversation(identifier, [session], by_himself=True)

    services.leave_conversation(identifier, "alice")
    join("alice")
    services.kick_out(identifier, ["bob"])
    with pytest.raises(RemovedFromConversation):
        join("bob")
    services.join_conversation(identifier, ["bob"])
    services.set_archived([identifier], True)
    join("bob")
    with pytest.raises(ConversationArchived):
        join("charlie")
    services.join_conversation(identifier, ["charlie"])
    services.set_deleted([identifier], True)
    with pytest.raises(ConversationNotFound):
        join("alice")


@pytest.mark.parametrize(
    "change",
    [
        lambda identifier: services.join_conversation(identifier, ["bob"]),
        lambda identifier: services.leave_conversation(identifier, "alice"),
        lambda identifier: services.kick_out(identifier, ["alice"]),
    ],
    ids=["join", "leave", "kick"],
)
def test_a_deleted_conversation_is_as_unknown_as_one_that_never_was(
    facts: list[ConversationChanged], change: Callable[[str], Any]
) -> None:
    identifier = str(services.create_conversation(5, ["alice"]).public_id)
    services.set_deleted([identifier], True)
    for text in (identifier, "0d5f1a9e-5a0c-4a58-9d3b-0c7f6f1d3b52", "nonsense", ""):
        with pytest.raises(ConversationNotFound):
            change(text)


def test_changing_many_at_once_names_those_that_do_not_exist(facts: list[ConversationChanged]) -> None:
    first, second, third = (str(services.create_conversation(1, ["alice"]).public_id) for _ in range(3))
    unknown = "0d5f1a9e-5a0c-4a58-9d3b-0c7f6f1d3b52"
    assert services.set_deleted([third], True) == []
    facts.clear()
    assert sorted(services.set_archived([second, "nonsense", unknown, third, first], True)) == sorted(
        ["nonsense", unknown, third]
    )
    assert sorted(fact.conversation_id for fact in facts) == sorted([first, second])
    assert services.set_deleted([first.upper(), third], False) == [first.upper()]


SESSIONS = st.lists(st.sampled_from(["alice", "bob", "charlie"]), min_size=1, max_size=3, unique=True)


class MembershipHistory(TestCase):
    """Whatever happens to a conversation, its row agrees with its memberships."""

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["join", "leave", "kick"]), SESSIONS), max_size=10))
    def test_count_and_version_agree_with_the_memberships(self, steps: list[tuple[str, list[str]]]) -> None:
        room = services.create_conversation(1, ["alice"])
        identifier, versions = str(room.public_id), [1]
        for step, sessions in steps:
            if step == "join":
                services.join_conversation(identifier, sessions)
            elif step == "kick":
                services.kick_out(identifier, sessions)
            else:
                services.leave_conversation(identifier, sessions[0])
            row = Conversation.objects.get(pk=room.pk)
            memberships = Membership.objects.filter(conversation=room)
            assert row.member_count == memberships.filter(state=ACTIVE).count()
            assert row.member_version == max(memberships.values_list("version", flat=True))
            assert row.member_version >= versions[-1]
            versions.append(row.member_version)
