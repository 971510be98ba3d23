"""The layer on a real Valkey: what one node publishes the others hear, and each knows how well it is heard."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio
from django.conf import settings
from django.test import override_settings

from gateway.layer import ENVELOPE, Layer
from quickim.backends import channel_layers
from tests.databases import Valkey

SECRET = "of the body only"
KEYS = ("first key, which is 32 bytes long", "second key, which is 32 bytes too")


class Node:
    """One layer, and what it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.losses = 0
        self._news = asyncio.Event()
        self.layer = Layer(self._hear, self._lose)

    def _hear(self, kind: str, payload: Any) -> None:
        self.heard.append((kind, payload))
        self._news.set()

    def _lose(self) -> None:
        self.losses += 1
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for ``condition``, which news or time may bring."""
        async with asyncio.timeout(20):
            while not condition():
                self._news.clear()
                try:
                    async with asyncio.timeout(0.1):
                        await self._news.wait()
                except TimeoutError:
                    continue


@pytest.fixture
def valkeys() -> Iterator[list[Valkey]]:
    """Two of them."""
    servers = [Valkey(), Valkey()]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


@contextmanager
def deployment(valkeys: list[Valkey], keys: tuple[str, ...] = (), partitions: int = 1) -> Iterator[None]:
    """Settings of a deployment on ``valkeys``."""
    urls = tuple(server.url for server in valkeys)
    configuration = replace(settings.QUICKIM, redis_urls=urls, layer_keys=keys, layer_partitions=partitions)
    with override_settings(QUICKIM=configuration, CHANNEL_LAYERS=channel_layers(urls, keys)):
        yield


Start = Callable[..., Any]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a node under the settings of this moment; it has joined its groups when this returns."""
    nodes: list[Node] = []

    async def start(under: AbstractContextManager[None]) -> Node:
        with under:
            node = Node()
        nodes.append(node)
        node.layer.start()
        # Its first pulse came back: from now on it hears everything.
        await node.until(lambda: all(pulse.heard for pulse in node.layer._pulses))
        return node

    yield start
    for node in nodes:
        await node.layer.close()


async def test_a_node_hears_the_others_and_not_itself(valkeys: list[Valkey], start: Start) -> None:
    one, other = [await start(deployment(valkeys[:1])) for _ in range(2)]
    one.layer.publish("kind", 7, {"a": 1})
    await other.until(lambda: other.heard == [("kind", {"a": 1})])
    other.layer.publish("kind", 7, "back")
    await one.until(lambda: one.heard == [("kind", "back")])


async def test_a_batch_is_one_publish_in_its_order(valkeys: list[Valkey], start: Start) -> None:
    one, other = [await start(deployment(valkeys[:1])) for _ in range(2)]
    one.layer.publish_batch("kind", ((number, number) for number in range(100)))
    await other.until(lambda: other.heard == [("kind", list(range(100)))])


async def test_deployments_with_other_secrets_share_a_redis_unheard(valkeys: list[Valkey], start: Start) -> None:
    one, friend = [await start(deployment(valkeys[:1])) for _ in range(2)]
    with override_settings(SECRET_KEY="of another deployment, also long enough"):
        foreign = await start(deployment(valkeys[:1]))
    foreign.layer.publish("kind", 1, "foreign")
    await foreign.layer.published()
    one.layer.publish("kind", 1, "own")
    await friend.until(lambda: bool(friend.heard))
    assert friend.heard == [("kind", "own")]
    assert foreign.heard == []


async def test_what_is_published_is_encrypted_when_there_are_keys(valkeys: list[Valkey], start: Start) -> None:
    one, other = [await start(deployment(valkeys[:1], KEYS[:1])) for _ in range(2)]
    async with redis.asyncio.Redis.from_url(valkeys[0].url) as client, client.pubsub() as listener:
        await listener.psubscribe("*")
        one.layer.publish("kind", 1, SECRET)
        await other.until(lambda: other.heard == [("kind", SECRET)])
        seen: list[bytes] = []
        # The body, and at least two pulses after it.
        while len(seen) < 3:
            message = await listener.get_message(ignore_subscribe_messages=True, timeout=1.0)
            seen += [message["data"]] if message else []
    assert not any(word.encode() in data for data in seen for word in (SECRET, ENVELOPE))


async def test_keys_are_rotated_node_by_node(valkeys: list[Valkey], start: Start) -> None:
    old = await start(deployment(valkeys[:1], KEYS[:1]))
    both = await start(deployment(valkeys[:1], (KEYS[1], KEYS[0])))
    old.layer.publish("kind", 1, "under the old key")
    await both.until(lambda: both.heard == [("kind", "under the old key")])


async def test_what_cannot_be_read_harms_nobody(
    valkeys: list[Valkey], start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = [await start(deployment(valkeys[:1], KEYS[:1])) for _ in range(2)]
    with_other_key = await start(deployment(valkeys[:1], KEYS[1:]))
    for _ in range(3):
        with_other_key.layer.publish("kind", 1, "unreadable")
    await with_other_key.layer.published()
    one.layer.publish("kind", 1, "readable")
    await other.until(lambda: other.heard == [("kind", "readable")])
    complaints = [record for record in caplog.records if "QUICKIM_LAYER_KEYS" in record.getMessage()]
    assert 1 <= len(complaints) <= 3, "once a minute for each node, not for each envelope"


async def test_envelopes_of_another_version_are_left_to_the_sweep(valkeys: list[Valkey], start: Start) -> None:
    one, other = [await start(deployment(valkeys[:1])) for _ in range(2)]
    publisher = one.layer._publishers[0]
    publisher.put({**one.layer.probe(), "format": 99, "kind": "kind", "payload": "of the future"})
    publisher.put({"type": ENVELOPE})
    one.layer.publish("kind", 1, "of today")
    await other.until(lambda: other.heard == [("kind", "of today")])


async def test_partitions_are_spread_over_several_redis(valkeys: list[Valkey], start: Start) -> None:
    one, other = [await start(deployment(valkeys, partitions=16)) for _ in range(2)]
    for number in range(64):
        one.layer.publish("kind", number, number)
    await other.until(lambda: len(other.heard) == 64)
    for server in valkeys:
        async with redis.asyncio.Redis.from_url(server.url) as client:
            published = int((await client.info("commandstats"))["cmdstat_publish"]["calls"])
        assert published > 16


async def test_one_redis_of_several_dies_and_the_others_go_on(valkeys: list[Valkey], start: Start) -> None:
    one, other = [await start(deployment(valkeys, partitions=16)) for _ in range(2)]
    valkeys[1].stop()
    await one.until(lambda: not one.layer.is_up)
    await other.until(lambda: not other.layer.is_up)
    for number in range(16):
        one.layer.publish("kind", number, number)
    # At least those of the partitions whose groups live on the first.
    await other.until(lambda: len(other.heard) >= 2)
    valkeys[1].start()
    await one.until(lambda: one.layer.is_up)
    await other.until(lambda: other.layer.is_up)
    other.heard.clear()
    for number in range(16):
        one.layer.publish("kind", number, number)
    await other.until(lambda: {payload for _, payload in other.heard} == set(range(16)))


async def test_a_redis_that_restarts_is_noticed_and_heard_again(valkeys: list[Valkey], start: Start) -> None:
    one, other = [await start(deployment(valkeys[:1])) for _ in range(2)]
    losses = other.losses
    valkeys[0].stop()
    one.layer.publish("kind", 1, "lost")
    await one.until(lambda: not one.layer.is_up)
    valkeys[0].start()
    await one.until(lambda: one.layer.is_up)
    await other.until(lambda: other.layer.is_up and other.losses > losses)
    one.layer.publish("kind", 1, "heard")
    await other.until(lambda: ("kind", "heard") in other.heard)
    assert ("kind", "lost") not in other.heard, "what waited during the outage is the sweep's"


async def test_a_redis_that_is_absent_at_the_start_is_waited_for(valkeys: list[Valkey]) -> None:
    valkeys[0].stop()
    with deployment(valkeys[:1]):
        node = Node()
    node.layer.start()
    try:
        await node.until(lambda: not node.layer.is_up)
        valkeys[0].start()
        await node.until(lambda: node.layer.is_up and bool(node.layer._pulses[0].heard))
        assert node.losses
    finally:
        await node.layer.close()


async def test_publishing_does_not_wait_for_a_redis_that_hangs(valkeys: list[Valkey], start: Start) -> None:
    one = await start(deployment(valkeys[:1]))
    valkeys[0].pause()
    try:
        for number in range(5_000):
            one.layer.publish("kind", number, number)
        await one.until(lambda: not one.layer.is_up)
    finally:
        valkeys[0].resume()
    await one.until(lambda: one.layer.is_up)
