"""Two nodes of two workers on one PostgreSQL and one Valkey behind a real nginx, as docs/deployment describes it.

``inside`` is what the product's back end talks to, a node itself; ``outside`` is what everybody else sees.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.clients import Api, Person, Protoc, fresh
from tests.deployment.proxy import Nginx, node_line
from tests.servers import Fleet, Server

PROXIED = {"QUICKIM_TRUSTED_PROXIES": "127.0.0.1/32", "QUICKIM_INNER_ALLOW": "127.0.0.1/32"}


@pytest.fixture(scope="session")
def nodes(fleet: Fleet) -> tuple[Server, Server]:
    """Two nodes of two workers each, which trust a proxy on this machine; the tests of this folder share them."""
    first = fleet.start("cluster", **PROXIED, QUICKIM_WORKERS="2")
    return first, fleet.start_beside(first)


@pytest.fixture
def start_nginx(tmp_path: Path) -> Iterator[Callable[..., Nginx]]:
    """Starts nginx with these lines of nodes.conf, ``start_nginx(*lines)``, and ends it afterwards."""
    started: list[Nginx] = []

    def start(*lines: str) -> Nginx:
        started.append(Nginx(tmp_path / f"nginx-{len(started)}", lines))
        return started[-1].start()

    yield start
    for nginx in started:
        nginx.stop()


@pytest.fixture(scope="session")
def nginx(nodes: tuple[Server, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """nginx in front of both nodes."""
    running = Nginx(tmp_path_factory.mktemp("nginx"), [node_line(node.port) for node in nodes]).start()
    yield running
    running.stop()


@pytest_asyncio.fixture(loop_scope="function")
async def inside(nodes: tuple[Server, Server]) -> AsyncIterator[Api]:
    """The first node itself."""
    async with Api(nodes[0].url) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="function")
async def outside(nginx: Nginx) -> AsyncIterator[Api]:
    """Through nginx."""
    async with Api(nginx.url) as api:
        yield api


@pytest.fixture
def alice(outside: Api) -> Person:
    """A member of ``room``, out there."""
    return Person(outside, fresh("alice"))


@pytest.fixture
def bob(outside: Api) -> Person:
    """The other member, out there."""
    return Person(outside, fresh("bob"))


@pytest_asyncio.fixture(loop_scope="function")
async def room(inside: Api, alice: Person, bob: Person) -> str:
    """The id of a conversation of alice and bob."""
    return await inside.conversation(alice.session, bob.session)


@pytest.fixture(params=["ws", "sse", "poll"])
def protoc(request: pytest.FixtureRequest) -> Protoc:
    """Each of the three protocols."""
    protoc: Protoc = request.param
    return protoc
