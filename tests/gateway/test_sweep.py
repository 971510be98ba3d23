"""What the sweep finds late: changes of transactions that lasted longer than ours may."""

import pytest

from gateway.sweep import FULL_COMPARISON_SECONDS
from messaging import msgid
from tests.gateway.in_process import InProcess

pytestmark = pytest.mark.asyncio


async def test_a_joining_that_a_long_transaction_committed_late_is_found_within_a_minute(world: InProcess) -> None:
    bob = await world.connect("bob")
    with world.unheard():
        # A product's own transaction stamps the change, takes its time, and commits when sweeps have passed that time.
        room = await world.create("alice", "bob")
        await world.send(room, "alice", "missed")
    world.clock.advance(30)
    world.hub.moved(msgid.tick_at(world.clock.now))
    await world.sweep()
    assert bob.events == [], "the usual sweep looks only at what is new"
    world.node.sweep._compared_at -= FULL_COMPARISON_SECONDS + 1
    await world.sweep()
    assert (bob.events, bob.texts) == (["conversation.joined"], ["missed"])
