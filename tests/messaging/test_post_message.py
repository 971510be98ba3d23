"""post_message: a message that exists if, and only if, the product's own transaction commits, and exactly once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction

from conversations.models import Conversation
from conversations.services import kick_out, set_archived, set_deleted
from messaging import ledger as module
from messaging import services
from messaging.models import Draft
from messaging.services import post_message, sweep_drafts
from quickim.errors import ConversationArchived, ConversationNotFound, InvalidParameter, NotMember
from tests.gateway.in_process import Clock
from tests.messaging.conftest import stored, written
from tests.messaging.test_ledger import Gate

pytestmark = pytest.mark.django_db(transaction=True)


def nobody_appends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies between its commit and the ledger."""
    monkeypatch.setattr(services, "_append_soon", lambda message: None)


def test_it_appears_after_the_commit_and_not_before(room: Conversation) -> None:
    with transaction.atomic():
        post_message(str(room.public_id), "héllo 😀", session="alice", type=3, status=-4, client_msg_id="x")
        assert stored(room) == []
        assert Draft.objects.count() == 1
    written()
    assert stored(room) == [(1, "alice", "héllo 😀")]
    assert Draft.objects.count() == 0


def test_it_never_appears_after_a_rollback(room: Conversation) -> None:
    with transaction.atomic():
        post_message(str(room.public_id), "hello")
        transaction.set_rollback(True)
    written()
    assert stored(room) == []
    assert Draft.objects.count() == 0
    assert sweep_drafts() == 0


def test_it_survives_a_process_that_dies_after_its_commit(
    room: Conversation, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying, transaction.atomic():
        nobody_appends(dying)
        post_message(str(room.public_id), "hello", session="alice")
    assert sweep_drafts() == 0, "it is not left behind yet"
    clock.advance(3)
    assert sweep_drafts() == 1
    written()
    assert stored(room) == [(1, "alice", "hello")]
    assert (Draft.objects.count(), sweep_drafts()) == (0, 0)


def test_it_is_appended_once_when_commit_and_sweeps_race(
    room: Conversation, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr(module, "append_with_retries", gate)
    with transaction.atomic():
        post_message(str(room.public_id), "hello")
        post_message(str(room.public_id), "world")
    clock.advance(3)
    assert [sweep_drafts(), sweep_drafts()] == [2, 2]
    gate.open()
    written()
    assert sum(gate.batches) >= 6
    assert stored(room) == [(1, "", "hello"), (2, "", "world")]
    assert Draft.objects.count() == 0


def test_several_nodes_may_sweep_at_once(room: Conversation, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as dying, transaction.atomic():
        nobody_appends(dying)
        for count in range(20):
            post_message(str(room.public_id), str(count))
    clock.advance(3)

    def sweep(_: int) -> int:
        try:
            return sweep_drafts()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as nodes:
        assert sum(nodes.map(sweep, range(4))) >= 20
    written()
    assert [(seq, content) for seq, _, content in stored(room)] == [(n + 1, str(n)) for n in range(20)]


def test_a_repeat_of_a_client_msg_id_is_appended_once(room: Conversation) -> None:
    for _ in range(2):
        with transaction.atomic():
            post_message(str(room.public_id), "hello", session="alice", client_msg_id="once")
    written()
    assert stored(room) == [(1, "alice", "hello")]
    assert Draft.objects.count() == 0


def test_a_draft_that_is_refused_later_is_kept_with_its_code(room: Conversation, clock: Clock) -> None:
    with transaction.atomic():
        first = post_message(str(room.public_id), "hello", session="alice")
        second = post_message(str(room.public_id), "from the system")
        kick_out(str(room.public_id), ["alice"])
    written()
    assert stored(room) == [(1, "", "from the system")]
    assert list(Draft.objects.values_list("pk", "refused_code")) == [(first, NotMember.code)]
    assert second not in Draft.objects.values_list("pk", flat=True)
    clock.advance(60)
    assert sweep_drafts() == 0


def test_what_a_send_refuses_is_refused_at_once(room: Conversation) -> None:
    here = str(room.public_id)
    with pytest.raises(InvalidParameter):
        post_message(here, "with a NUL \0")
    with pytest.raises(InvalidParameter):
        post_message(here, "x" * 65_537)
    with pytest.raises(InvalidParameter):
        post_message(here, "hello", type=2**31)
    with pytest.raises(NotMember):
        post_message(here, "hello", session="charlie")
    with pytest.raises(ConversationNotFound):
        post_message("nowhere", "hello")
    set_archived([here], True)
    with pytest.raises(ConversationArchived):
        post_message(here, "hello", session="alice")
    post_message(here, "the system may")
    set_deleted([here], True)
    with pytest.raises(ConversationNotFound):
        post_message(here, "hello")
    written()
    assert len(stored(room)) + Draft.objects.count() == 1
