"""A network that can be cut, and servers behind it, for the client that is written in Python."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from tests.clients import Api, Person, fresh
from tests.faults.proxy import Proxy
from tests.servers import Server


@pytest_asyncio.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    """The HTTP side of ``server``, not through the network that is cut."""
    async with Api(server.url) as api:
        yield api


@pytest.fixture
def alice(api: Api) -> Person:
    """Who sends."""
    return Person(api, fresh("alice"))


@pytest.fixture
def bob() -> str:
    """The client's session."""
    return fresh("bob")


@pytest_asyncio.fixture
async def room(api: Api, alice: Person, bob: str) -> str:
    """A conversation of both."""
    return await api.conversation(alice.session, bob)


@pytest.fixture
def network() -> Iterator[Callable[[Server], Proxy]]:
    """``network(server)``: what stands between a client and this server; its ``port`` is where the client connects."""
    proxies: list[Proxy] = []

    def between(server: Server) -> Proxy:
        proxies.append(Proxy(server.port).start())
        return proxies[-1]

    yield between
    for proxy in proxies:
        proxy.reset()
        proxy.stop()
