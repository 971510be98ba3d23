"""One PostgreSQL and few sites for all fault tests; after each test its site is whole again and its logs are clean."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.databases import Postgres
from tests.faults.site import Site

_SHOWN_LOG_CHARACTERS = 6000


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL that may be killed: no server of another test uses it."""
    postgres = Postgres().start()
    yield postgres
    postgres.stop()


@pytest.fixture(scope="session")
def sites(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Sites"]:
    """All sites of this run."""
    sites = Sites(postgres, tmp_path_factory)
    yield sites
    sites.stop()


class Sites:
    """Running sites by what they are made of."""

    def __init__(self, postgres: Postgres, homes: pytest.TempPathFactory) -> None:
        self._postgres, self._homes = postgres, homes
        self._running: dict[str, Site] = {}

    def get(self, **made_of: Any) -> Site:
        """The site that is made of this; the first who asks for it starts it."""
        if repr(made_of) not in self._running:
            site = self._running[repr(made_of)] = Site(self._homes.mktemp("site"), self._postgres, **made_of)
            site.start()
        return self._running[repr(made_of)]

    def stop(self) -> None:
        """All of them."""
        for site in self._running.values():
            site.stop()


@pytest.fixture
def site(request: pytest.FixtureRequest, sites: Sites) -> Iterator[Site]:
    """Two nodes, or what the module's ``SITE`` says. Whatever strikes them, a traceback in a log fails the test."""
    site = sites.get(**getattr(request.module, "SITE", {}))
    site.mark_logs()
    yield site
    site.heal()
    for node in site.nodes:
        log = site.log(node)
        print(f"log of {node.url}:\n{log[-_SHOWN_LOG_CHARACTERS:]}")  # noqa: T201  # pytest shows it when a test fails
        assert "Traceback (most recent call last)" not in log
        assert "was never retrieved" not in log
