"""What the tests of metrics and logs share: a scrape, as Prometheus reads it, and the people of the contract tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from tests.clients import Api, Person, fresh
from tests.clients.protocols import PLAIN
from tests.servers import Server


class Scrape:
    """One answer of /metrics."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def sum(self, name: str, **labels: str) -> float:
        """Of all series of ``name`` with these labels. Fails when there is no such metric."""
        found = [sample for sample in self.samples if sample.name == name]
        assert found, f"no {name}"
        return sum(sample.value for sample in found if labels.items() <= sample.labels.items())

    def labels(self, name: str) -> set[str]:
        """The names of the labels that the series of ``name`` have."""
        return {label for sample in self.samples if sample.name == name for label in sample.labels}


def scrape(url: str, **headers: str) -> Scrape:
    """Ask ``url`` now, over a connection of its own."""
    with httpx.Client(trust_env=False, verify=PLAIN, timeout=20) as http:
        answer = http.get(f"{url}/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return Scrape(answer.text)


async def scraped(url: str, condition: Callable[[Scrape], bool], seconds: float = 30) -> Scrape:
    """The first scrape that ``condition`` holds of; fails when none comes in time."""
    deadline = time.monotonic() + seconds
    while not condition(now := scrape(url)):
        assert time.monotonic() < deadline, [
            sample for sample in now.samples if sample.value and "_bucket" not in sample.name
        ]
        await asyncio.sleep(0.2)
    return now


@pytest_asyncio.fixture(loop_scope="function")
async def api(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Api]:
    """The HTTP side of ``server``."""
    async with Api(server.url, keep_alive=False, seed=request.node.name) as api:
        yield api


@pytest.fixture
def alice(api: Api) -> Person:
    """A member of the conversations that a test makes."""
    return Person(api, fresh("alice"))


@pytest.fixture
def bob(api: Api) -> Person:
    """Another one, on a platform that has no class of its own."""
    return Person(api, fresh("bob"), platform=77)
