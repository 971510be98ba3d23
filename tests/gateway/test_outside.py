"""A process that serves nobody still tells the nodes what it committed."""

from collections.abc import AsyncIterator

import pytest_asyncio

from conversations.announcements import ConversationChanged
from conversations.services import JOINED
from gateway.envelopes import CHANGE, MESSAGES, publish_fact, unpack_change, unpack_messages
from gateway.outside import Outside
from messaging.message import Committed, MessagesCommitted, StoredMessage
from quickim.database import in_database
from tests.databases import Valkey
from tests.gateway.test_layer import Node, deployment


def committed(seq: int, content: str = "content") -> Committed:
    """A message of conversation 7, committed under member_version 3."""
    return Committed(StoredMessage(7, "id", f"MSG-{seq}", seq, "alice", 1_000, 1, 2, content), 3)


def joined(count: int) -> ConversationChanged:
    """That many joined conversation 7."""
    return ConversationChanged(7, "id", 5, JOINED, 3, 1_000, count, tuple(f"session-{n}" for n in range(count)))


@pytest_asyncio.fixture
async def valkey() -> AsyncIterator[Valkey]:
    """A running one, as this deployment's layer."""
    server = Valkey()
    server.start()
    with deployment([server]):
        yield server
    server.stop()


@pytest_asyncio.fixture
async def node(valkey: Valkey) -> AsyncIterator[Node]:
    """A node that hears everything from now on."""
    node = Node()
    node.layer.start()
    await node.until(lambda: node.layer._pulses[0].heard > 0)
    yield node
    await node.layer.close()


async def test_what_a_product_commits_is_told_at_once_and_before_it_ends(transactional_db: None, node: Node) -> None:
    outside = Outside()
    first, last = MessagesCommitted((committed(1), committed(2))), joined(2)
    await in_database(outside.tell, first)
    await node.until(lambda: len(node.heard) == 1)
    await in_database(outside.tell, last)
    await in_database(outside.end)
    await node.until(lambda: len(node.heard) == 2)
    (messages_kind, messages), (change_kind, change) = node.heard
    assert (messages_kind, tuple(unpack_messages(messages))) == (MESSAGES, first.committed)
    assert (change_kind, unpack_change(change)) == (CHANGE, (last, False))


async def test_a_large_batch_is_published_in_parts_that_redis_keeps_for_slow_nodes(node: Node) -> None:
    other = Node()
    other.layer.start()
    batch = [committed(number, "x" * 60_000) for number in range(1, 31)]
    publish_fact(other.layer, MessagesCommitted(tuple(batch)))
    parts = 4
    await node.until(lambda: len(node.heard) >= parts)
    assert [item for _, payload in node.heard for item in unpack_messages(payload)] == batch
    assert all(sum(len(row[8]) for row in payload) <= 500_000 for _, payload in node.heard)
    await other.layer.close()


async def test_sessions_beyond_a_thousand_are_not_named(node: Node) -> None:
    other = Node()
    other.layer.start()
    publish_fact(other.layer, joined(1_001))
    await node.until(lambda: bool(node.heard))
    fact, is_nameless = unpack_change(node.heard[0][1])
    assert is_nameless
    assert (fact.sessions, fact.member_count) == ((), 1_001)
    await other.layer.close()
