"""Revocations and tickets on two nodes: what one of them knows, both know."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.clients import Api, Person, Protoc, fresh, mint
from tests.contract.test_connecting import check_bye
from tests.contract.test_revocation import holder, is_good, revoke
from tests.contract.test_tickets import poll, ticket_of
from tests.servers import Server

SEVERAL = 4
CUT_SECONDS = 4.0
"""For several revocations, one after the other; by sweeps alone, one every five seconds, they take about twenty."""

pytestmark = [
    pytest.mark.parametrize("server", ["nodes", "daphne nodes"], indirect=True),
    pytest.mark.settings(QUICKIM_SWEEP_SECONDS="5", QUICKIM_POLL_WAIT_SECONDS="1"),
]


@pytest_asyncio.fixture(loop_scope="function")
async def api(server: Server) -> AsyncIterator[Api]:
    """One node, and nothing but this one."""
    async with Api(server.nodes[0].url) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="function")
async def there(server: Server) -> AsyncIterator[Api]:
    """The other node."""
    async with Api(server.nodes[1].url) as api:
        yield api


async def test_a_revoked_session_is_cut_on_both_nodes_at_once(api: Api, there: Api, protoc: Protoc) -> None:
    people = [await holder(api, fresh("alice")) for _ in range(SEVERAL)]
    elsewhere = [Person(there, who.session, token=who.token) for who in people]
    listeners = [
        await asyncio.gather(who.listen(protoc), other.listen(protoc))
        for who, other in zip(people, elsewhere, strict=True)
    ]
    async with asyncio.timeout(CUT_SECONDS):
        for number, pair in enumerate(listeners):
            await revoke((api, there)[number % 2], session=people[number].session)
            for listener in pair:
                ending = await listener.ended()
                if protoc == "ws":
                    check_bye(ending.bye, 4503, reconnect=False)
    for who in (*people, *elsewhere):
        assert not await is_good(who)


async def test_everybodys_old_tokens_end_on_both_nodes(start_server: Callable[..., Server], server: Server) -> None:
    # Of this test alone: all tokens without iat end with these.
    own = start_server(server.flavour, QUICKIM_SWEEP_SECONDS="5")
    async with Api(own.nodes[0].url) as api, Api(own.nodes[1].url) as there:
        session, an_hour_ago = fresh("alice"), int(time.time()) - 3_600
        old, young = mint(session, iat=an_hour_ago), (await api.inner("get_token", session=session, platform=1)).data
        cut = [await Person(node, session, token=old).listen("ws") for node in (api, there)]
        stays = await Person(there, session, token=young).listen("ws")
        await revoke(api, before=an_hour_ago * 1_000_000)
        for listener in cut:
            check_bye((await listener.ended()).bye, 4503, reconnect=False)
        await Person(there, session, token=young).caught_up(stays)


async def test_a_node_that_started_just_then_knows_it(
    start_server: Callable[..., Server], server: Server, api: Api
) -> None:
    who = await holder(api, fresh("alice"))
    await revoke(api, session=who.session)
    late = start_server(beside=server)
    async with Api(late.url) as there:
        assert not await is_good(Person(there, who.session, token=who.token))
        assert await is_good(await holder(there, who.session))


async def test_a_token_issued_there_after_a_revocation_here_is_good_everywhere(api: Api, there: Api) -> None:
    session = fresh("alice")
    for _ in range(10):
        await revoke(api, session=session)
        # Whoever asks there may be faster than the announcement: then he asks again.
        async with asyncio.timeout(CUT_SECONDS):
            while not await is_good(who := await holder(there, session)):
                pass
        assert await is_good(Person(api, session, token=who.token))


async def test_a_ticket_of_one_node_opens_the_other_once(api: Api, there: Api, alice: Person, room: str) -> None:
    position = (await api.post(room, "before"))["MsgID"]
    await api.post(room, "hello")
    for _ in range(5):
        ticket = await ticket_of(alice)
        answers = await asyncio.gather(*(poll(node, ticket, since=position) for node in (api, there) for _ in range(6)))
        assert sorted(answer.status for answer in answers) == [200] + [401] * 11


async def test_a_command_revokes_on_both_nodes(server: Server, api: Api, there: Api) -> None:
    who = await holder(api, fresh("alice"))
    listeners = [await Person(node, who.session, token=who.token).listen("ws") for node in (api, there)]
    printed = (await asyncio.to_thread(server.manage, "revoke_token", "--session", who.session)).stdout
    assert printed.strip().isdecimal()
    for listener in listeners:
        check_bye((await listener.ended()).bye, 4503, reconnect=False)
    assert not await is_good(who)
