"""The cast of the contract tests: alice and bob are members of ``room``, charlie is a stranger.

Names are fresh in every test, so that all tests can share a server.
"""

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from tests.clients import Api, Person, Protoc, fresh
from tests.servers import Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test has a loop of its own, whatever the default: a leaked task cannot reach the next test."""
    for item in items:
        if pytest_asyncio.is_async_test(item) and "contract" in item.path.parts:
            item.add_marker(pytest.mark.asyncio(loop_scope="function"), append=False)


@pytest_asyncio.fixture(loop_scope="function")
async def api(server: Server) -> AsyncIterator[Api]:
    """The HTTP side of ``server``."""
    async with Api(server.url) as api:
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
