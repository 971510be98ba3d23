"""Fixtures for all tests that talk to a real server, and its log beside the failure it belongs to."""

import logging
import signal
from collections.abc import Callable, Generator, Iterator

import pytest

from tests.servers import Flavour, Fleet, Server

_SHOWN_LOG_CHARACTERS = 6000


def pytest_configure(config: pytest.Config) -> None:
    """Registers the markers these fixtures read, and quiets a client that logs a line for each request."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts what is to run in the background; the processes that tests interrupt would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    config.addinivalue_line("markers", "settings(**environment): environment variables of the server that `server` is")
    config.addinivalue_line("markers", "slow: takes longer than ten seconds by its nature")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under ``-n``, all tests of a module on one server are run by one worker: it is started once."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if "server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(f"{item.path.stem} on {parameters.get('server', 'embedded')}"))


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """All servers of this run; ended with it."""
    servers = Fleet(tmp_path_factory.mktemp("fleet"))
    yield servers
    servers.stop()


@pytest.fixture
def server(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Server]:
    """A running server, shared by all tests with the same ``flavour`` and ``settings`` markers.

    Whatever a test does to it from outside, it must not crash: a traceback in its log fails the test.
    """
    flavour: Flavour = getattr(request, "param", "embedded")
    settings: dict[str, str] = {}
    for marker in request.node.iter_markers("settings"):
        settings = {**marker.kwargs, **settings}
    fleet.marks.clear()
    running = fleet.shared(flavour, **settings)
    yield running
    for node in running.nodes:
        log = node.log_text(fleet.marks[node])
        shown = log[-_SHOWN_LOG_CHARACTERS:]
        assert "Traceback (most recent call last)" not in log, f"the server logged a crash:\n{shown}"
        assert "was never retrieved" not in log, f"the server lost an exception:\n{shown}"


@pytest.fixture
def start_server(fleet: Fleet) -> Iterator[Callable[..., Server]]:
    """Starts a server for this test alone, ``start_server(flavour, **settings)``, and kills it afterwards."""
    fleet.marks.clear()
    started: list[Server] = []

    def start(flavour: Flavour = "embedded", *, beside: Server | None = None, **settings: str) -> Server:
        server = fleet.start_beside(beside, **settings) if beside else fleet.start(flavour, **settings)
        started.append(server)
        return server

    yield start
    for server in started:
        for node in server.nodes:
            node.kill9()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds what the servers printed during a failed test to its report."""
    report = yield
    fleet = getattr(item, "funcargs", {}).get("fleet")
    if report.failed and isinstance(fleet, Fleet):
        for server, start in fleet.marks.items():
            report.sections.append((f"log of {server.url}", server.log_text(start)[-_SHOWN_LOG_CHARACTERS:]))
    return report
