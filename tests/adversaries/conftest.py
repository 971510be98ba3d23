"""The server that is attacked: the embedded one, since no back end hears of such things unless a test says so."""

from collections.abc import Callable

import pytest

from tests.adversaries.wire import RawSocket
from tests.clients import fresh, mint
from tests.servers import Server


@pytest.fixture
def connect(server: Server) -> Callable[[], RawSocket]:
    """Opens a WebSocket of bytes for a session of its own."""
    return lambda: RawSocket(server.port, mint(fresh("mallory")))
