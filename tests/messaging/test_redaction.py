"""Taking contents back: what goes, what stays, and who is told, on the real database."""

from typing import Any

import pytest

from conversations import announcements, services
from conversations.models import Conversation
from messaging import history, redaction
from messaging.append import append_batch
from messaging.message import Committed, MessagesRedacted, Receipt
from messaging.models import Draft, Message, Redaction
from messaging.redaction import Erased, erase_session, redact_message
from quickim.errors import ConversationNotFound, InvalidParameter
from quickim.rest.callers import Caller
from tests.messaging.conftest import draft

SECRET = "my card number is 4111"


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is announced about redactions."""
    facts: list[Any] = []
    monkeypatch.setattr(announcements, "_listeners", [facts.append])
    return facts


def say(room: Conversation, content: str, session: str = "alice", **more: Any) -> str:
    """Appends a message; its MsgId."""
    (outcome,) = append_batch([draft(room, content, session, **more)])
    assert isinstance(outcome, Committed)
    return outcome.message.msg_id


def erase(session: str) -> Erased:
    """Erases to the end."""
    erased = Erased()
    for _ in erase_session(session, erased):
        pass
    return erased


def contents(room: Conversation) -> list[tuple[str, bool]]:
    """(Content, whether it is marked as redacted) of the whole history."""
    messages = history.last(Caller("bob", 1), str(room.public_id), 100, newest_first=False)
    return [(message["Content"], message.get("Redacted", False)) for message in messages]


def test_the_content_goes_and_all_else_stays(room: Conversation, facts: list[Any]) -> None:
    first, second = say(room, SECRET, type=3, status=4, client_msg_id="c-1"), say(room, "hello")
    before = Message.objects.values().get(pk=first)
    assert redact_message(str(room.public_id), first)
    assert Message.objects.values().get(pk=first) == before | {"content": ""}
    assert contents(room) == [("", True), ("hello", False)]
    (fact,) = [fact for fact in facts if isinstance(fact, MessagesRedacted)]
    assert (fact.number, [(message.msg_id, message.seq) for message in fact.messages]) == (room.pk, [(first, 1)])
    assert second not in {message.msg_id for message in fact.messages}


def test_a_second_time_changes_and_tells_nothing(room: Conversation, facts: list[Any]) -> None:
    msg_id = say(room, SECRET)
    assert redact_message(str(room.public_id), msg_id)
    facts.clear()
    assert not redact_message(str(room.public_id), msg_id)
    assert facts == []
    assert Redaction.objects.count() == 1


def test_an_empty_message_is_no_redacted_one(room: Conversation) -> None:
    say(room, "")
    assert contents(room) == [("", False)]


def test_an_empty_message_can_be_redacted(room: Conversation) -> None:
    assert redact_message(str(room.public_id), say(room, ""))
    assert contents(room) == [("", True)]


def test_what_is_not_there_cannot_be_redacted(room: Conversation) -> None:
    other = services.create_conversation(1, ["alice"])
    msg_id = say(room, SECRET)
    with pytest.raises(InvalidParameter):
        redact_message(str(other.public_id), msg_id)
    with pytest.raises(InvalidParameter):
        redact_message(str(room.public_id), "nonsense")
    for identifier in ("nonsense", "0d5f1a9e-5a0c-4a58-9d3b-0c7f6f1d3b52"):
        with pytest.raises(ConversationNotFound):
            redact_message(identifier, msg_id)
    assert contents(room) == [(SECRET, False)]


def test_a_repeat_of_a_redacted_send_still_has_one_effect(room: Conversation) -> None:
    msg_id = say(room, SECRET, client_msg_id="c-1")
    redact_message(str(room.public_id), msg_id)
    (outcome,) = append_batch([draft(room, SECRET, client_msg_id="c-1")])
    assert isinstance(outcome, Receipt)
    assert outcome.msg_id == msg_id
    assert contents(room) == [("", True)]


def test_in_a_deleted_conversation_it_is_done_and_nobody_is_told(room: Conversation, facts: list[Any]) -> None:
    msg_id = say(room, SECRET)
    services.set_deleted([str(room.public_id)], True)
    facts.clear()
    assert redact_message(str(room.public_id), msg_id)
    assert facts == []
    services.set_deleted([str(room.public_id)], False)
    assert contents(room) == [("", True)]


def test_a_person_is_erased_wherever_he_ever_was(room: Conversation, facts: list[Any]) -> None:
    left = services.create_conversation(1, ["alice", "bob"])
    archived = services.create_conversation(1, ["alice", "bob"])
    deleted = services.create_conversation(1, ["alice", "bob"])
    for conversation in (room, left, archived, deleted):
        say(conversation, SECRET)
        say(conversation, "bob's own", "bob")
        say(conversation, "the system's", "")
    services.leave_conversation(str(left.public_id), "alice")
    services.set_archived([str(archived.public_id)], True)
    services.set_deleted([str(deleted.public_id)], True)
    erased = erase("alice")
    assert (erased.messages, erased.conversations) == (4, 4)
    assert not Message.objects.filter(content=SECRET).exists()
    assert Message.objects.exclude(content="").count() == 8
    services.set_deleted([str(deleted.public_id)], False)
    for conversation in (room, left, archived, deleted):
        assert contents(conversation) == [("", True), ("bob's own", False), ("the system's", False)]


def test_erasing_again_does_nothing_and_whoever_never_spoke_has_nothing(room: Conversation) -> None:
    say(room, SECRET)
    assert erase("alice").messages == 1
    assert erase("alice").messages == 0
    assert erase("bob").messages == 0
    assert erase("nobody").messages == 0


def test_a_stopped_erasure_goes_on_where_it_was(room: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "SEQS_PER_LOOK", 3)
    monkeypatch.setattr(redaction, "MESSAGES_PER_TRANSACTION", 2)
    second = services.create_conversation(1, ["alice", "bob"])
    for number in range(10):
        say(room, f"{SECRET} {number}")
        say(second, f"{SECRET} {number}")
    position, steps = Erased(), 0
    while steps == 0 or Message.objects.exclude(content="").exists():
        # A process of its own each time: it knows the position only.
        position = Erased(number=position.number, seq=position.seq)
        next(erase_session("alice", position))
        steps += 1
    assert steps > 8
    assert Redaction.objects.count() == 20
    assert contents(room) == [("", True)] * 10


def test_refused_drafts_of_an_erased_person_go_too(room: Conversation) -> None:
    for session, code in (("alice", 90015), ("bob", 90015), ("alice", 0)):
        Draft.objects.create(conversation=room, session=session, content=SECRET, created_at=1, refused_code=code)
    assert erase("alice").drafts == 1
    assert sorted(Draft.objects.values_list("session", "refused_code")) == [("alice", 0), ("bob", 90015)]
