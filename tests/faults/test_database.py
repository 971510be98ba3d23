"""PostgreSQL dies, drops connections, falls silent: nothing is acknowledged that is not stored, and all comes back."""

import asyncio
import time
from typing import Final

import httpx
import pytest

from tests.chaos.history import Attempt
from tests.clients import Api, Person, fresh
from tests.faults.proxy import Cut
from tests.faults.site import WRITER_WAS_REPLACED, Site
from tests.faults.traffic import PROTOCOLS, Traffic

OUTAGE_SECONDS: Final = 8.0
LONGEST_SECONDS: Final = 4.5
"""A send is refused after three seconds; the rest is for a busy machine."""
BACK_SECONDS: Final = 5.0
"""The first send is acknowledged three seconds after the database is back; the rest as above."""
KEPT_TRANSACTIONS: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
    " AND clock_timestamp() - xact_start > interval '2 seconds'"
)
CUTS: Final[tuple[Cut, Cut]] = ("before the server has it", "after the server answered")


def is_without_database(site: Site, number: int) -> bool:
    """Whether this node says that it lives, and that it lacks its database."""
    assert site.is_alive(site.nodes[number])
    status, found = site.readiness(site.nodes[number])
    return status == 503 and found.get("database") == "does not answer"


def is_ready(site: Site) -> bool:
    """Whether all nodes are."""
    return all(site.readiness(node)[0] == 200 for node in site.nodes)


def check_refusals(attempts: list[Attempt]) -> None:
    """Only retryable ones, in time and in form."""
    assert {attempt.status for attempt in attempts} <= {200, 503}, {attempt.why for attempt in attempts}
    assert all("'code': 10002" in attempt.why for attempt in attempts if attempt.status == 503)
    assert max(attempt.seconds for attempt in attempts) <= LONGEST_SECONDS


@pytest.mark.parametrize(("how", "stored"), [(CUTS[0], 0), (CUTS[1], 1)])
async def test_a_send_whose_commit_was_cut_off_is_refused_and_its_repeat_finds_the_truth(
    site: Site, how: Cut, stored: int
) -> None:
    async with Api(site.urls[0]) as here, Api(site.urls[1]) as there:
        alice = Person(here, fresh("alice"))
        room = await here.conversation(alice.session)
        listeners = [await Person(there, alice.session).listen(protoc) for protoc in PROTOCOLS]
        await alice.send(room, "first")

        def rows() -> list[tuple[str, ...]]:
            return site.ask("SELECT msg_id FROM messaging_message WHERE client_msg_id = %s", room)

        site.database_proxy.cut(how)
        answer = await alice.call("send_msg", conversation_id=room, content="x", client_msg_id=room)
        answer.refused(10002, status=503)
        assert answer.headers["retry-after"]
        assert site.database_proxy.count["cut"]
        assert len(rows()) == stored
        sent = await Person(there, alice.session).send(room, "x", client_msg_id=room)
        assert rows() == [(sent["MsgID"],)]
        for listener in listeners:
            await listener.messages_in(room, 2)
            assert listener.texts(room) == ["first", "x"]


async def test_commits_cut_off_amid_traffic_lose_and_double_nothing(site: Site) -> None:
    async with Traffic(site) as traffic:
        with traffic.phase() as attempts:
            for how in CUTS * 3:
                async with traffic.fault(how, node=0):
                    refused = sum(attempt.status == 503 for attempt in traffic.log.attempts)
                    site.database_proxy.cut(how)
                    await traffic.within(
                        traffic.log.wait_until(
                            lambda: sum(attempt.status == 503 for attempt in traffic.log.attempts) > refused  # noqa: B023
                        )
                    )
                # Refused senders went to the other node: the next fault needs some on this one.
                traffic.send_from_home()
        await traffic.settled()
        check_refusals(attempts)
        assert traffic.reconnections == 0


async def test_with_postgresql_killed_nothing_is_acknowledged_until_it_is_back(site: Site) -> None:
    async with Traffic(site) as traffic:
        async with traffic.fault("kill -9"):
            await asyncio.to_thread(site.postgres.kill9)
            with traffic.phase() as attempts:
                await traffic.comes_true(lambda: is_without_database(site, 0) and is_without_database(site, 1))
                await traffic.lasts(OUTAGE_SECONDS)
        assert len(attempts) >= 10
        assert {attempt.status for attempt in attempts} == {503}
        check_refusals(attempts)
        await asyncio.to_thread(site.postgres.restart)
        back = time.monotonic()
        await traffic.acknowledges(1)
        assert time.monotonic() - back <= BACK_SECONDS
        await traffic.comes_true(lambda: is_ready(site))
        await traffic.acknowledges(50)
        await traffic.settled()


async def test_back_ends_terminated_amid_traffic_are_nothing_but_a_reason_to_repeat(site: Site) -> None:
    async with Traffic(site) as traffic:
        with traffic.phase() as attempts:
            for _ in range(5):
                async with traffic.fault("terminated"):
                    assert await asyncio.to_thread(site.terminate_back_ends) >= len(site.nodes)
                    await traffic.acknowledges(30)
        await traffic.settled()
        check_refusals(attempts)
        # A poll may be refused like any other request; streams do not notice.
        assert all(not receiver.connections for receiver in traffic.receivers if receiver.protoc != "poll")
        await traffic.comes_true(lambda: is_ready(site))


@pytest.mark.slow
async def test_a_writer_on_a_connection_that_fell_silent_is_replaced(site: Site) -> None:
    kept = False

    def look() -> bool:
        """Again and again: the database itself ends such a transaction after some seconds."""
        nonlocal kept
        kept = kept or bool(site.ask(KEPT_TRANSACTIONS)[0][0])
        return True

    async with Traffic(site) as traffic:
        with traffic.phase() as attempts:
            async with traffic.fault("silent", node=0):
                assert site.database_proxy.lose() >= 1
                await traffic.comes_true(lambda: look() and WRITER_WAS_REPLACED in site.log(site.nodes[0]))
                await traffic.comes_true(lambda: look() and site.readiness(site.nodes[0])[0] == 503)
                # As TCP does by itself with a peer that acknowledges nothing: see tcp_user_timeout.
                site.database_proxy.reset_lost()
            await traffic.comes_true(lambda: is_ready(site))
            traffic.send_from_home()
            await traffic.acknowledges(50)
        await traffic.settled()
        check_refusals(attempts)
        # A transaction that fell silent keeps its conversations from the other node, too; nothing else does.
        others = {attempt.status for attempt in attempts if attempt.node == 1}
        assert others == {200} or (kept and others == {200, 503})
        assert any(attempt.status == httpx.codes.SERVICE_UNAVAILABLE for attempt in attempts)


async def test_slow_and_crumbling_connections_take_time_and_nothing_else(site: Site) -> None:
    async with Traffic(site) as traffic:
        with traffic.phase() as attempts:
            async with traffic.fault("slow", node=0):
                site.database_proxy.delay(0.02)
                site.layer_proxy.trickle()
                await traffic.acknowledges(60)
        await traffic.settled()
        assert {attempt.status for attempt in attempts} == {200}
        assert traffic.reconnections == 0
    assert site.database_proxy.count["delayed"]
    assert site.layer_proxy.count["trickled"]
