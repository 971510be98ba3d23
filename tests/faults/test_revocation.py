"""Revocations and tickets while the layer is away: what no announcement tells, the next sweep does."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.clients import Api, Person, fresh
from tests.contract.test_connecting import check_bye
from tests.contract.test_revocation import holder, is_good, revoke
from tests.contract.test_tickets import poll, ticket_of
from tests.databases import holds_within
from tests.faults.site import Site
from tests.faults.test_layer import is_degraded


@pytest_asyncio.fixture
async def nodes(site: Site) -> AsyncIterator[tuple[Api, Api]]:
    """Both nodes."""
    async with Api(site.nodes[0].url) as here, Api(site.nodes[1].url) as there:
        yield here, there


async def layer_dies(site: Site) -> None:
    """Valkey is killed, and both nodes know it."""
    site.valkey.kill9()
    assert await asyncio.to_thread(holds_within, 20, lambda: is_degraded(site, 0) and is_degraded(site, 1))


async def test_with_valkey_away_a_revocation_holds_by_the_next_sweep(site: Site, nodes: tuple[Api, Api]) -> None:
    here, there = nodes
    who = await holder(here, fresh("alice"))
    other = Person(there, who.session, token=who.token)
    listeners = [await one.listen(protoc) for one in (who, other) for protoc in ("ws", "sse", "poll")]
    await layer_dies(site)
    assert await is_good(other)
    await revoke(here, session=who.session)
    assert not await is_good(who), "the node that was told knows it at once"
    for listener in listeners:
        ending = await listener.ended()
        if listener.protoc == "ws":
            check_bye(ending.bye, 4503, reconnect=False)
    assert not await is_good(other)


async def test_with_valkey_away_a_ticket_is_still_good_once(site: Site, nodes: tuple[Api, Api]) -> None:
    here, _ = nodes
    alice = Person(here, fresh("alice"))
    room = await here.conversation(alice.session)
    position = (await here.post(room, "before"))["MsgID"]
    await here.post(room, "hello")
    await layer_dies(site)
    for _ in range(3):
        ticket = await ticket_of(alice)
        answers = await asyncio.gather(*(poll(node, ticket, since=position) for node in nodes for _ in range(6)))
        assert sorted(answer.status for answer in answers) == [200] + [401] * 11
