"""Conversations and a clock for tests of the ledger, on the real database."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from conversations.models import Conversation
from conversations.services import create_conversation
from messaging.ledger import Ledger, ledger
from messaging.message import NewMessage
from messaging.models import Message
from quickim.errors import ConversationNotFound
from tests.gateway.in_process import Clock

Draft = Callable[..., NewMessage]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The database's clock, which stands still until it is moved."""
    clock = Clock()
    monkeypatch.setattr("quickim.database.database_clock", clock)
    monkeypatch.setattr("messaging.services.database_clock", clock)
    return clock


@pytest.fixture
def room(transactional_db: None) -> Conversation:
    """A conversation of alice and bob; charlie is a stranger."""
    return create_conversation(7, ["alice", "bob"])


def draft(conversation: Conversation, content: str = "hello", session: str = "alice", **more: Any) -> NewMessage:
    """A draft as a door hands it over."""
    fields: dict[str, Any] = {"type": 0, "status": 0, **more}
    return NewMessage(str(conversation.public_id), session, content=content, **fields)


def stored(conversation: Conversation) -> list[tuple[int, str, str]]:
    """(Seq, session, content) of all its messages, in MsgId order."""
    rows = Message.objects.filter(conversation=conversation).order_by("msg_id")
    return list(rows.values_list("seq", "session", "content"))


def written(through: Ledger | None = None) -> None:
    """Returns when the ledger has written what was in line before: it takes its batches in turn."""
    with suppress(ConversationNotFound):
        asyncio.run((through or ledger()).send(NewMessage("no conversation", "", 0, 0, "")))
