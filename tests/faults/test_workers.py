"""Several workers behind one port: a killed one is replaced, SIGHUP replaces all, none outlives its supervisor."""

import asyncio
import os
import signal
from functools import partial
from typing import Final

import httpx
import pytest

from tests.faults.site import Site
from tests.faults.test_nodes import DRAIN_SECONDS, check_goodbyes, check_repeats
from tests.faults.traffic import PROTOCOLS, Traffic

WORKERS: Final = 2
MOST_KILLS: Final = 10
SITE: Final = {"nodes": 1, "settings": {"QUICKIM_WORKERS": f"{WORKERS}"}}


def are_replaced(site: Site, old: list[int]) -> bool:
    """Whether none of ``old`` lives and as many others do."""
    now = site.workers(site.nodes[0])
    return len(now) == WORKERS and not set(now) & set(old)


async def test_each_worker_that_is_killed_is_replaced(site: Site) -> None:
    (node,) = site.nodes
    kills = 0
    async with Traffic(site, receivers=4) as traffic:

        def were_hit() -> bool:
            """Whether kills hit a send and a receiver of each protocol: what is under way may be on another worker."""
            broken = {receiver.protoc for receiver in traffic.receivers if receiver.connections}
            return broken == set(PROTOCOLS) and any(attempt.status is None for attempt in traffic.log.attempts)

        while kills < WORKERS or not were_hit():
            assert kills < MOST_KILLS, "no kill hit a send and each protocol"
            worker = site.workers(node)[0]
            async with traffic.fault("kill -9"):
                os.kill(worker, signal.SIGKILL)
                kills += 1
                await traffic.acknowledges(50)
                await traffic.comes_true(partial(are_replaced, site, [worker]))
        await traffic.acknowledges(50)
        history = await traffic.settled()
        assert {connection.protocol for connection in history.connections if connection.cursor} == set(PROTOCOLS)
    assert site.log(node).count("replaces it") == kills


async def test_sighup_replaces_the_workers_and_nothing_fails(site: Site) -> None:
    (node,) = site.nodes
    old = site.workers(node)
    async with Traffic(site, receivers=4) as traffic:
        async with traffic.fault("SIGHUP"):
            os.kill(node.pid, signal.SIGHUP)
            await traffic.comes_true(lambda: are_replaced(site, old))
        await traffic.acknowledges(50)
        await traffic.settled()
        check_goodbyes(traffic)
        check_repeats(traffic)
        # The new one serves before the old one drains: nobody ever found the door closed.
        assert not [attempt.why for attempt in traffic.log.attempts if "ConnectError" in attempt.why]


async def test_sigterm_drains_all_workers_within_its_bound(site: Site) -> None:
    (node,) = site.nodes
    async with Traffic(site) as traffic:
        async with traffic.fault("SIGTERM"):
            assert await asyncio.to_thread(node.terminate, DRAIN_SECONDS + 5) == 0
        await asyncio.to_thread(node.restart)
        await traffic.acknowledges(50)
        await traffic.settled()
        check_goodbyes(traffic)


async def test_no_worker_outlives_a_killed_supervisor(site: Site) -> None:
    (node,) = site.nodes
    async with Traffic(site) as traffic:
        async with traffic.fault("kill -9 of the supervisor"):
            os.kill(node.pid, signal.SIGKILL)
            await traffic.comes_true(lambda: not node.processes())
        assert not node.processes()
        with pytest.raises(httpx.ConnectError):
            await asyncio.to_thread(site.is_alive, node)
        node.kill9()
        await asyncio.to_thread(node.restart)
        await traffic.acknowledges(50)
        await traffic.settled()
