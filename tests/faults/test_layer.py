"""The channel layer dies, hangs, goes deaf, forgets: sends go on, messages come from the database, nothing is lost.

The layer is a fast path. That it carries again afterwards is shown by messages that arrive sooner than sweeps alone
could bring them: a sweep comes every five seconds here.
"""

import asyncio
import os
from typing import Final

import pytest
import redis

from tests.chaos.history import Attempt, Fault, History
from tests.databases import Valkey
from tests.faults.site import LAYER_IS_AWAY, LAYER_IS_BACK, SWEEP_SECONDS, Site
from tests.faults.traffic import Traffic, lateness, ok_share

OUTAGE_SECONDS: Final = float(os.environ.get("QUICKIM_TEST_OUTAGE_SECONDS", "30"))
CARRIED_SECONDS: Final = 12.0
"""For six messages, one after the other; by sweeps alone they take about thirty."""
LATEST_SECONDS: Final = 2.0 * SWEEP_SECONDS + 1


def is_degraded(site: Site, number: int = 0) -> bool:
    """Whether this node says that the layer, and nothing else, is away."""
    status, found = site.readiness(site.nodes[number])
    assert status == 200, found
    return found == {"status": "degraded", "layer": "does not answer"}


def is_well(site: Site) -> bool:
    """Whether all nodes say that nothing is wrong."""
    return [site.readiness(node) for node in site.nodes] == [(200, {"status": "ok"})] * len(site.nodes)


def check_sends(attempts: list[Attempt]) -> None:
    """They went on as if nothing were wrong; how fast, `python -m tests.faults.outage` measures."""
    assert ok_share(attempts) >= 0.99


async def check_history(traffic: Traffic) -> None:
    """Nothing lost, doubled or out of order on connections that never ended, nothing late beyond two sweeps."""
    history = await traffic.settled()
    assert traffic.reconnections == 0
    assert len(history.deliveries) == len(history.rows) * len(traffic.receivers)
    assert max(lateness(history).values()) <= LATEST_SECONDS
    check_hit(history)


def check_hit(history: History) -> None:
    """Every fault struck amid sends, and others were stored while it lasted."""

    def stored_during(fault: Fault) -> int:
        return sum(fault.began < send.invoked and send.ended < fault.ended for send in history.sends)

    assert history.faults
    assert all(fault.in_flight and stored_during(fault) >= 10 for fault in history.faults)


async def check_layer_carries(traffic: Traffic) -> None:
    """After the traffic: messages arrive on all nodes sooner than by sweeps, that is through the layer."""
    # Each poll makes its node look into the database.
    await traffic.hang_up("poll")

    async def send_one_by_one() -> None:
        for _ in range(6):
            await traffic.send_to_all()

    await traffic.within(send_one_by_one(), CARRIED_SECONDS)


async def test_what_shows_that_the_layer_carries_does_not_hold_by_sweeps_alone(site: Site) -> None:
    """The second node listens to another Valkey: both think that all is well, and never hear each other."""
    other = Valkey()
    ours = site.nodes[1].environment["QUICKIM_REDIS_URL"]
    try:
        site.nodes[1].environment["QUICKIM_REDIS_URL"] = other.start()
        await asyncio.to_thread(site.nodes[1].terminate)
        await asyncio.to_thread(site.nodes[1].restart)
        async with Traffic(site) as traffic:
            await traffic.settled()
            assert is_well(site)
            with pytest.raises(AssertionError, match=f"not within {CARRIED_SECONDS} s"):
                await check_layer_carries(traffic)
    finally:
        site.nodes[1].environment["QUICKIM_REDIS_URL"] = ours
        site.nodes[1].kill9()
        site.nodes[1].restart()
        other.stop()


@pytest.mark.slow
async def test_with_valkey_killed_all_goes_on_through_the_database(site: Site) -> None:
    async with Traffic(site) as traffic:
        with traffic.phase() as attempts:
            async with traffic.fault("killed"):
                site.valkey.kill9()
                await traffic.comes_true(lambda: is_degraded(site, 0) and is_degraded(site, 1))
                await traffic.lasts(OUTAGE_SECONDS)
                assert is_degraded(site, 0)
                assert is_degraded(site, 1)
            site.valkey.start()
            await traffic.comes_true(lambda: is_well(site))
        check_sends(attempts)
        await check_history(traffic)
        await check_layer_carries(traffic)
    for node in site.nodes:
        assert site.log(node).count(LAYER_IS_AWAY) >= 1
        assert site.log(node).rstrip().rfind(LAYER_IS_BACK) > site.log(node).rfind(LAYER_IS_AWAY)


async def test_flushed_and_with_its_subscribers_cut_off_it_carries_again_at_once(site: Site) -> None:
    async with Traffic(site) as traffic:
        with redis.Redis(port=site.valkey.port) as administrator:
            async with traffic.fault("flushed"):
                administrator.flushall()
                await traffic.acknowledges(20)
            async with traffic.fault("cut off"):
                assert administrator.execute_command("CLIENT", "KILL", "TYPE", "pubsub") >= len(site.nodes)
                await traffic.acknowledges(20)
        await traffic.comes_true(lambda: is_well(site))
        await check_history(traffic)
        await check_layer_carries(traffic)


async def test_a_layer_that_hangs_delays_no_send(site: Site) -> None:
    async with Traffic(site) as traffic:
        with traffic.phase() as attempts:
            async with traffic.fault("hung"):
                site.valkey.pause()
                await traffic.comes_true(lambda: is_degraded(site, 0) and is_degraded(site, 1))
                await traffic.acknowledges(50)
            site.valkey.resume()
            await traffic.comes_true(lambda: is_well(site))
        check_sends(attempts)
        await check_history(traffic)
        await check_layer_carries(traffic)


async def test_a_node_cut_off_from_the_layer_goes_on_through_the_database(site: Site) -> None:
    async with Traffic(site) as traffic:
        with traffic.phase() as attempts:
            async with traffic.fault("blackhole", node=0):
                site.layer_proxy.blackhole()
                await traffic.comes_true(lambda: is_degraded(site))
                await traffic.acknowledges(50)
            assert site.layer_proxy.count["held"]
            assert site.readiness(site.nodes[1])[1] == {"status": "ok"}
            site.layer_proxy.heal()
            await traffic.comes_true(lambda: is_well(site))
            async with traffic.fault("refused", node=0):
                site.layer_proxy.refuse()
                assert site.layer_proxy.reset() >= 2
                await traffic.comes_true(lambda: is_degraded(site))
                await traffic.acknowledges(50)
            site.layer_proxy.heal()
            await traffic.comes_true(lambda: is_well(site))
        check_sends(attempts)
        await check_history(traffic)
        await check_layer_carries(traffic)


@pytest.mark.parametrize("only_subscriptions", [True, False])
async def test_connections_to_the_layer_that_died_in_silence_are_made_anew(
    site: Site, only_subscriptions: bool
) -> None:
    """Nothing is reset and nothing healed from outside: the node itself notices that it is deaf."""
    async with Traffic(site) as traffic:
        with traffic.phase() as attempts:
            async with traffic.fault("deaf", node=0):
                ways = ("to_client",) if only_subscriptions else ("to_client", "to_server")
                lost = site.layer_proxy.lose(*ways, only_spotted=only_subscriptions)
                assert lost >= 1
                await traffic.comes_true(lambda: is_degraded(site))
                await traffic.comes_true(lambda: is_well(site))
        check_sends(attempts)
        await check_history(traffic)
        await check_layer_carries(traffic)


async def test_a_node_may_start_without_the_layer_and_finds_it_later(site: Site) -> None:
    site.valkey.kill9()
    assert await asyncio.to_thread(site.nodes[1].terminate) == 0
    await asyncio.to_thread(site.nodes[1].restart)
    assert is_degraded(site, 1)
    async with Traffic(site) as traffic:
        async with traffic.fault("absent"):
            await traffic.acknowledges(50)
        site.valkey.start()
        await traffic.comes_true(lambda: is_well(site))
        await check_history(traffic)
        await check_layer_carries(traffic)
