"""Logins and a conversation for the desk's tests, on the real database."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.test import Client

from conversations.models import Conversation
from conversations.services import create_conversation
from gateway.desk.models import SUPPORT_GROUP
from messaging.append import append_batch
from messaging.message import Committed
from tests.messaging.conftest import draft

Say = Callable[..., str]
WHY = "ticket 4711"


def login(name: str, *, is_administrator: bool = False, groups: Sequence[str] = ()) -> Client:
    """A browser in which ``name`` has logged in."""
    user = User.objects.create_user(name, password=None, is_staff=True, is_superuser=is_administrator)
    user.groups.set(Group.objects.filter(name__in=groups))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def support(db: None) -> Client:
    """ada, of the group that a migration made."""
    return login("ada", groups=[SUPPORT_GROUP])


@pytest.fixture
def administrator(db: None) -> Client:
    """grace, who may do everything."""
    return login("grace", is_administrator=True)


@pytest.fixture
def room(db: None) -> Conversation:
    """A conversation of alice and bob."""
    return create_conversation(7, ["alice", "bob"])


def say(room: Conversation, content: str, session: str = "alice", **more: Any) -> str:
    """Appends a message; its MsgId."""
    (outcome,) = append_batch([draft(room, content, session, **more)])
    assert isinstance(outcome, Committed)
    return outcome.message.msg_id


def address(room: Conversation, rest: str = "") -> str:
    """The page of a conversation, or one below it."""
    return f"/admin/conversations/{room.public_id}/{rest}"


def logged() -> list[tuple[str, str, str]]:
    """(login, about what, what) of the whole admin log, oldest first."""
    rows = LogEntry.objects.order_by("pk").values_list("user__username", "object_id", "change_message")
    return [(name, str(target), what) for name, target, what in rows]
