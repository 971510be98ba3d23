"""Nodes die or are restarted under traffic: their clients go on elsewhere, and nothing acknowledged is lost."""

import asyncio
from typing import Final

from tests.faults.site import Site
from tests.faults.traffic import PROTOCOLS, Traffic

DRAIN_SECONDS: Final = 16.0
"""A node drains within this, whatever its clients do (gateway.server.workers)."""
SPREAD_MS: Final = (200, 3_000)


async def test_the_clients_of_a_killed_node_resume_on_the_other(site: Site) -> None:
    async with Traffic(site, receivers=2) as traffic:
        for number, node in enumerate(site.nodes):
            async with traffic.fault("kill -9", node=number):
                node.kill9()
                await traffic.acknowledges(60)
                await traffic.send_to_all()  # whoever was on that node is on the other
            await asyncio.to_thread(node.restart)
            await traffic.acknowledges(30)
        history = await traffic.settled()
        killed = [attempt for attempt in traffic.log.attempts if attempt.status is None]
        assert {attempt.node for attempt in killed} == {0, 1}, "no kill hit a send under way"
        resumed = {connection.protocol for connection in history.connections if connection.cursor}
        assert resumed == set(PROTOCOLS)
        assert all(len(receiver.connections) >= 1 for receiver in traffic.receivers)


async def test_nodes_restarted_one_after_another_say_goodbye_and_nothing_fails(site: Site) -> None:
    async with Traffic(site, receivers=4) as traffic:
        for number, node in enumerate(site.nodes):
            async with traffic.fault("SIGTERM", node=number):
                assert await asyncio.to_thread(node.terminate, DRAIN_SECONDS) == 0
            await asyncio.to_thread(node.restart)
            await traffic.acknowledges(60)
        history = await traffic.settled()
        check_goodbyes(traffic)
        assert {attempt.status for attempt in traffic.log.attempts} <= {200, 503, None}
        check_repeats(traffic)
    assert {connection.node for connection in history.connections} == {0, 1}


def check_goodbyes(traffic: Traffic) -> None:
    """Everybody who was connected when a node drained was told so, with a delay of his own."""
    byes = [bye for receiver in traffic.receivers for bye in receiver.byes]
    # A poller may be between two polls in that moment.
    assert all(receiver.byes for receiver in traffic.receivers if receiver.protoc != "poll")
    assert {bye["Code"] for bye in byes} == {1012}
    delays = [bye["RetryAfterMs"] for bye in byes]
    assert all(SPREAD_MS[0] <= delay <= SPREAD_MS[1] for delay in delays)
    assert len(set(delays)) > len(delays) // 2, "they all come back at once"
    for receiver in traffic.receivers:
        said = [ending for ending in receiver.endings if ending.bye is not None]
        assert {ending.code for ending in said} <= ({1012} if receiver.protoc == "ws" else {None})


def check_repeats(traffic: Traffic) -> None:
    """What came twice came around a reconnect: polls repeat nothing, others at most what a bare MsgId cannot tell."""
    for receiver in traffic.receivers:
        came = [delivery.msg_id for delivery in receiver.deliveries]
        if receiver.protoc == "poll":
            assert len(came) == len(set(came)), f"{receiver.session} got {len(came) - len(set(came))} twice"
        first = receiver.deliveries[0].connection
        firsts = [delivery.msg_id for delivery in receiver.deliveries if delivery.connection == first]
        assert len(firsts) == len(set(firsts))
