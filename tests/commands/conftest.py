"""A server that nothing is promised to but its data directory and its address: commands run beside it."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.clients import Api
from tests.commands.tailing import TailProcess, Tails
from tests.servers import Server


@pytest_asyncio.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    """The HTTP side of ``server``."""
    async with Api(server.url) as api:
        yield api


@pytest_asyncio.fixture
async def tails() -> AsyncIterator[Tails]:
    """Starts ``manage.py tail``; whatever still runs is killed after the test."""
    started: list[TailProcess] = []

    async def start(environment: dict[str, str], *arguments: str) -> TailProcess:
        process = await TailProcess.start(environment, *arguments)
        started.append(process)
        return process

    yield start
    for process in started:
        await process.kill()
