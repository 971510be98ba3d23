"""Fixtures of the gateway's own tests."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.gateway.in_process import Clock, InProcess, use_clock


@pytest_asyncio.fixture
async def world(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InProcess]:
    """A node in this test's loop, the one that ``gateway.node.node()`` answers with."""
    clock = Clock()
    use_clock(monkeypatch, clock)
    world = InProcess(clock)
    monkeypatch.setattr("gateway.node._node", world.node)  # undone when the world ends
    await world.start()
    yield world
    await world.stop()
