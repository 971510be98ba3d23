"""The cast of the contract tests: alice and bob are members of ``room``, charlie is a stranger.

Names are fresh in every test, so that all tests can share a server. A test that does not say on which servers it runs
runs on both back ends.
"""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.clients import Api, Person, Protoc, fresh
from tests.servers import Flavour, Server

BACK_ENDS: tuple[Flavour, ...] = ("embedded", "cluster")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The same contract on SQLite with the in-memory layer and on PostgreSQL with Valkey."""
    if "server" in metafunc.fixturenames and not any(
        "server" in marker.args[0] for marker in metafunc.definition.iter_markers("parametrize")
    ):
        metafunc.parametrize("server", BACK_ENDS, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test has a loop of its own, whatever the default: a leaked task cannot reach the next test."""
    for item in items:
        if pytest_asyncio.is_async_test(item) and "contract" in item.path.parts:
            item.add_marker(pytest.mark.asyncio(loop_scope="function"), append=False)


@pytest_asyncio.fixture(loop_scope="function")
async def api(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Api]:
    """The HTTP side of ``server``, spread over all of its nodes and workers."""
    urls = [node.url for node in server.nodes]
    async with Api(*urls, keep_alive=server.flavour != "workers", seed=request.node.name) as api:
        yield api


@pytest.fixture
def person(api: Api) -> Callable[[str], Person]:
    """Makes a new session: ``person("dave")``."""
    return lambda name: Person(api, fresh(name))


@pytest.fixture
def alice(person: Callable[[str], Person]) -> Person:
    """A member of ``room``."""
    return person("alice")


@pytest.fixture
def bob(person: Callable[[str], Person]) -> Person:
    """The other member of ``room``."""
    return person("bob")


@pytest.fixture
def charlie(person: Callable[[str], Person]) -> Person:
    """A stranger."""
    return person("charlie")


@pytest_asyncio.fixture(loop_scope="function")
async def room(api: Api, alice: Person, bob: Person) -> str:
    """The id of a conversation of alice and bob."""
    return await api.conversation(alice.session, bob.session)


@pytest.fixture(params=["ws", "sse", "poll"])
def protoc(request: pytest.FixtureRequest) -> Protoc:
    """Each of the three protocols."""
    protoc: Protoc = request.param
    return protoc
