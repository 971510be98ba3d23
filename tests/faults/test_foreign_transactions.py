"""A product's own transactions hold conversations for long: whoever wants something else does not notice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import psycopg
import pytest

from tests.chaos.history import Attempt
from tests.clients import Api, Person, fresh
from tests.faults import product
from tests.faults.site import Site
from tests.faults.traffic import PROTOCOLS, Traffic, ok_share

HELD_SECONDS: Final = 10.0
LONGEST_SECONDS: Final = 4.5
"""A draft waits three seconds; the rest is for a busy machine."""
TRANSACTIONS: Final = 60


@asynccontextmanager
async def held(site: Site, conversation: str) -> AsyncIterator[None]:
    """A foreign transaction has the conversation's row to itself."""
    async with await psycopg.AsyncConnection.connect(site.database_url) as foreign, foreign.transaction():
        await foreign.execute(
            "SELECT 1 FROM conversations_conversation WHERE public_id = %s FOR UPDATE", [conversation]
        )
        yield


def of(attempts: list[Attempt], conversation: str) -> list[Attempt]:
    """Those that were about this conversation."""
    return [attempt for attempt in attempts if attempt.conversation == conversation]


def check_held(attempts: list[Attempt], conversation: str) -> None:
    """Sends to a held conversation were refused in time, and no other send waited for them."""
    waited = of(attempts, conversation)
    assert len(waited) >= 4
    assert {attempt.status for attempt in waited} == {503}
    assert all(attempt.seconds <= LONGEST_SECONDS for attempt in waited), [attempt.seconds for attempt in waited]
    others = [attempt for attempt in attempts if attempt.conversation != conversation]
    assert len(others) >= 100
    assert ok_share(others) == 1.0
    assert max(attempt.seconds for attempt in others) < min(attempt.seconds for attempt in waited)


@pytest.mark.slow
async def test_sends_to_a_held_conversation_wait_in_order_and_no_others_do(site: Site) -> None:
    async with Traffic(site, quiet=1) as traffic:
        (room,) = traffic.quiet

        async def send_in_order(number: int) -> None:
            for count in range(5):
                await traffic.spares[number].send(room, f"spare {number}: {count}")

        async with traffic.fault("held"), held(site, room):
            began = len(traffic.log.attempts)
            waiting = [asyncio.create_task(send_in_order(number)) for number in range(2)]
            await traffic.lasts(HELD_SECONDS)
            attempts = traffic.log.attempts[began:]
        check_held(attempts, room)
        await traffic.within(asyncio.gather(*waiting))
        await traffic.settled()


async def test_a_transaction_that_kicks_archives_and_sleeps_stops_nobody_else(site: Site) -> None:
    async with Traffic(site, quiet=2) as traffic:
        kicking, archiving = traffic.quiet
        victims = [receiver.session for receiver in traffic.receivers[-3:]]
        await traffic.spares[0].send(kicking, "everybody sees this")
        process = await product.run(site, f"kick_and_archive({kicking!r}, {victims}, {archiving!r}, 6)")
        assert process.stdout is not None
        async with traffic.fault("kick and archive"):
            assert await traffic.within(process.stdout.readline()) == b"stands\n"
            began = len(traffic.log.attempts)
            sends = [
                asyncio.create_task(spare.send(kicking, f"after the kick {number}"))
                for number, spare in enumerate(traffic.spares)
            ]
            assert await traffic.within(process.wait()) == 0
            attempts = traffic.log.attempts[began:]
            await traffic.within(asyncio.gather(*sends))
        others = [attempt for attempt in attempts if attempt.conversation != kicking]
        assert len(others) >= 50
        assert ok_share(others) == 1.0
        person = Person(traffic.apis[0], traffic.spares[0].session)
        (await person.call("send_msg", conversation_id=archiving, content="too late")).refused(90016)
        await traffic.settled()
        for receiver in traffic.receivers:
            texts = {one.content for one in receiver.deliveries if one.conversation == kicking}
            assert ("after the kick 0" in texts) == (receiver.session not in victims)


async def test_transactions_that_post_crosswise_wait_for_nobody(site: Site) -> None:
    async with Api(site.urls[0]) as here, Api(site.urls[1]) as there:
        members = [fresh(protoc) for protoc in PROTOCOLS]
        one, other = [await here.conversation(*members) for _ in range(2)]
        listeners = [
            await Person(node, session).listen(protoc)
            for node in (here, there)
            for session, protoc in zip(members, PROTOCOLS, strict=True)
        ]
        slow = await product.run(site, f"post_slowly({other!r}, {one!r}, 'slow')")
        assert slow.stdout is not None
        assert await asyncio.wait_for(slow.stdout.readline(), 30) == b"stands\n"
        crossing = [
            await product.run(site, f"post_crosswise({first!r}, {second!r}, {name!r}, {TRANSACTIONS})")
            for first, second, name in ((one, other, "this way"), (other, one, "that way"))
        ]
        assert await asyncio.wait_for(asyncio.gather(*(process.wait() for process in crossing)), 60) == [0, 0]
        # All of these are delivered while the slow one still stands between its two messages.
        expected = {f"{name} {number}" for name in ("this way", "that way") for number in range(TRANSACTIONS)}
        for listener in listeners:
            for room in (one, other):
                await listener.messages_in(room, len(expected), 30)
                assert sorted(listener.texts(room)) == sorted(expected)
        await asyncio.wait_for(slow.communicate(b"go on\n"), 30)
        for listener in listeners:
            for room in (one, other):
                await listener.messages_in(room, len(expected) + 1, 30)
                assert listener.texts(room)[-1] == "slow"
                history = await Person(here, members[0]).history(room)
                assert listener.of(room) == history
                assert [message["Seq"] for message in history] == list(range(1, len(expected) + 2))
    assert site.ask("SELECT count(*) FROM messaging_draft") == [(0,)]
