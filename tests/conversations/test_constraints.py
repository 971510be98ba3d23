"""What must never be false is refused by the database itself, whoever writes."""

from typing import Any

import pytest
from django.db import IntegrityError, models, transaction
from django.db.models import ProtectedError

from conversations.models import Conversation, Membership
from messaging.models import Message

pytestmark = pytest.mark.django_db

A_MSG_ID, NEXT_MSG_ID = "EDCZL-SY32-243Y-VWQ", "EDCZL-SY32-243Y-VWR"


@pytest.fixture
def room() -> Conversation:
    """An empty conversation."""
    return Conversation.objects.create(type=1, created_at=1)


def refused_by(constraint: str, kind: type[models.Model], **fields: Any) -> None:
    """Creating such a row fails, and because of that constraint (SQLite names the columns of unique ones)."""
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        kind._default_manager.create(**fields)
    columns = {field for field in fields if f".{field}" in str(refusal.value)}
    assert constraint in str(refusal.value) or columns, refusal.value


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("conversation_type_not_negative", {"type": -1}),
        ("conversation_member_count_not_negative", {"member_count": -1}),
        ("conversation_seq_range", {"first_seq": 0}),
        ("conversation_seq_range", {"first_seq": 7, "last_seq": 5, "last_msg_id": A_MSG_ID}),
        ("conversation_head_is_whole", {"last_seq": 1}),
        ("conversation_head_is_whole", {"last_msg_id": A_MSG_ID}),
    ],
)
def test_a_conversation_that_contradicts_itself(constraint: str, fields: dict[str, Any]) -> None:
    refused_by(constraint, Conversation, **{"type": 1, "created_at": 1, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {"type": 2**63 - 1},
        {"last_seq": 5, "last_msg_id": A_MSG_ID},
        {"first_seq": 6, "last_seq": 5, "last_msg_id": A_MSG_ID},
    ],
)
def test_a_conversation_at_its_limits_is_fine(fields: dict[str, Any]) -> None:
    assert Conversation.objects.create(**{"type": 1, "created_at": 1, **fields}).pk


def test_no_two_conversations_share_an_id(room: Conversation) -> None:
    refused_by("public_id", Conversation, type=1, created_at=1, public_id=room.public_id)


def a_membership(room: Conversation, **fields: Any) -> dict[str, Any]:
    """The fields of a fine membership."""
    return {"conversation": room, "session": "alice", "joined_at": 1, "version": 1, "changed_at": 1, **fields}


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("membership_state_known", {"state": 4, "ended_at": 5}),
        ("membership_state_known", {"state": 0, "ended_at": 5}),
        ("membership_end_matches_state", {"state": Membership.State.ACTIVE, "ended_at": 5}),
        ("membership_end_matches_state", {"state": Membership.State.LEFT}),
        ("membership_end_matches_state", {"state": Membership.State.KICKED, "ended_at": -1}),
    ],
)
def test_a_membership_that_contradicts_itself(room: Conversation, constraint: str, fields: dict[str, Any]) -> None:
    refused_by(constraint, Membership, **a_membership(room, **fields))


def test_a_session_is_a_member_once(room: Conversation) -> None:
    Membership.objects.create(**a_membership(room))
    refused_by("membership_once", Membership, **a_membership(room, state=Membership.State.LEFT, ended_at=5))
    Membership.objects.create(**a_membership(room, session="Alice"))


def a_message(room: Conversation, **fields: Any) -> dict[str, Any]:
    """The fields of a fine message."""
    return {"conversation": room, "msg_id": A_MSG_ID, "seq": 1, "session": "alice", "send_time": 1, **fields}


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("message_seq_once", {"msg_id": NEXT_MSG_ID}),
        ("messaging_message_pkey", {"seq": 2}),
        ("message_client_msg_id_once", {"msg_id": NEXT_MSG_ID, "seq": 2, "client_msg_id": "once"}),
        ("message_seq_positive", {"msg_id": NEXT_MSG_ID, "seq": 0}),
    ],
)
def test_a_message_beside_another(room: Conversation, constraint: str, fields: dict[str, Any]) -> None:
    Message.objects.create(**a_message(room, client_msg_id="once"))
    refused_by(constraint, Message, **a_message(room, **fields))


@pytest.mark.parametrize(
    "fields", [{"client_msg_id": "twice"}, {"session": "bob", "client_msg_id": "once"}, {"client_msg_id": "Once"}]
)
def test_client_msg_ids_that_differ_are_fine(room: Conversation, fields: dict[str, Any]) -> None:
    Message.objects.create(**a_message(room, client_msg_id="once"))
    Message.objects.create(**a_message(room, msg_id=NEXT_MSG_ID, seq=2, **fields))
    assert Message.objects.count() == 2


def test_messages_without_a_client_msg_id_are_no_repeats(room: Conversation) -> None:
    Message.objects.create(**a_message(room))
    Message.objects.create(**a_message(room, msg_id=NEXT_MSG_ID, seq=2))
    assert Message.objects.count() == 2


def test_a_conversation_with_messages_is_not_deleted_from_the_database(room: Conversation) -> None:
    Message.objects.create(**a_message(room))
    with pytest.raises(ProtectedError):
        room.delete()


def test_msgids_are_compared_byte_by_byte(room: Conversation) -> None:
    # A locale's collation skips the hyphens and would turn these two around.
    first, second = "22222-AAAA-2222-222", "22222-AAAB-2222-222"
    tricky = ["2222Z-2222-2222-222", "22222-2222-2222-22Z", "22222-Z222-2222-222", first, second]
    for seq, text in enumerate(tricky, 1):
        Message.objects.create(**a_message(room, msg_id=text, seq=seq))
    rows = Message.objects.order_by("msg_id").values_list("msg_id", flat=True)
    assert list(rows) == sorted(tricky)
