"""The proxy does to connections what its switches say, and nothing without them."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio

from tests.faults.proxy import Cut, Proxy, Way
from tests.faults.spotters import CommitSpotter

QUIET_SECONDS = 0.2
"""How long nothing must come before it counts as held back."""


class Echo:
    """A server that answers every line with itself, and knows what it got."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.chunks: list[bytes] = []
        self._writers: list[asyncio.StreamWriter] = []

    def reset(self) -> None:
        """Resets all connections."""
        for writer in self._writers:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._writers.append(writer)
        try:
            while chunk := await reader.read(100):
                self.got += chunk
                self.chunks.append(chunk)
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


class Client:
    """A client of the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        """Without waiting for anything."""
        self.writer.write(data)

    async def hears(self, data: bytes) -> bool:
        """Whether this comes, and comes next."""
        async with asyncio.timeout(5):
            return await self.reader.readexactly(len(data)) == data

    async def hears_nothing(self) -> bool:
        """Whether nothing comes for a moment."""
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                await self.reader.readexactly(1)
        except TimeoutError:
            return True
        return False

    async def is_reset(self) -> bool:
        """Whether the connection ends with a RST."""
        try:
            async with asyncio.timeout(5):
                await self.reader.read(1)
        except ConnectionResetError:
            return True
        return False


@pytest_asyncio.fixture
async def echo() -> AsyncIterator[tuple[Echo, int]]:
    """A server and its port."""
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    yield echo, server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
def proxy(echo: tuple[Echo, int]) -> Iterator[Proxy]:
    """In front of ``echo``."""
    proxy = Proxy(echo[1], CommitSpotter).start()
    yield proxy
    proxy.stop()


Connect = Callable[[], Awaitable[Client]]


@pytest_asyncio.fixture
async def connect(proxy: Proxy) -> AsyncIterator[Connect]:
    """Makes a new connection; all are closed afterwards."""
    clients: list[Client] = []

    async def connect() -> Client:
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", proxy.port)))
        return clients[-1]

    yield connect
    for client in clients:
        client.writer.transport.abort()


async def test_without_switches_all_passes_and_ends_pass_too(proxy: Proxy, connect: Connect) -> None:
    client = await connect()
    for data in (b"one", b"two" * 50_000):
        client.send(data)
        assert await client.hears(data)
    client.writer.write_eof()
    assert await client.reader.read() == b""
    assert not proxy.count


@pytest.mark.parametrize("ways", [("to_server",), ("to_client",), ()])
async def test_a_blackhole_holds_until_it_is_healed(
    echo: tuple[Echo, int], proxy: Proxy, connect: Connect, ways: tuple[Way, ...]
) -> None:
    before = await connect()
    before.send(b"a")
    assert await before.hears(b"a")
    proxy.blackhole(*ways)
    after = await connect()
    for client in (before, after):
        client.send(b"b")
        assert await client.hears_nothing()
    assert bytes(echo[0].got) == (b"abb" if ways == ("to_client",) else b"a")
    proxy.heal()
    assert await before.hears(b"b")
    assert await after.hears(b"b")
    assert proxy.count["held"] == 2


async def test_a_lost_path_concerns_only_the_connections_of_that_moment(proxy: Proxy, connect: Connect) -> None:
    old = await connect()
    old.send(b"a")
    assert await old.hears(b"a")
    assert proxy.lose() == 1
    new = await connect()
    for client in (old, new):
        client.send(b"b")
    assert await new.hears(b"b")
    assert await old.hears_nothing()


async def test_refused_and_accepted_again_at_the_same_port(proxy: Proxy, connect: Connect) -> None:
    client = await connect()
    client.send(b"a")
    assert await client.hears(b"a")
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect()
    client.send(b"still here")
    assert await client.hears(b"still here")
    proxy.heal()
    again = await connect()
    again.send(b"open")
    assert await again.hears(b"open")


async def test_a_reset_ends_all_connections_and_no_later_one(proxy: Proxy, connect: Connect) -> None:
    clients = [await connect() for _ in range(3)]
    for client in clients:
        client.send(b"a")
        assert await client.hears(b"a")
    assert proxy.reset() == 3
    assert all([await client.is_reset() for client in clients])
    client = await connect()
    client.send(b"b")
    assert await client.hears(b"b")


async def test_a_reset_by_the_server_reaches_the_client(proxy: Proxy, connect: Connect, echo: tuple[Echo, int]) -> None:
    client = await connect()
    client.send(b"a")
    assert await client.hears(b"a")
    echo[0].reset()
    assert await client.is_reset()


async def test_delay_and_trickle_change_no_byte(echo: tuple[Echo, int], proxy: Proxy, connect: Connect) -> None:
    client = await connect()
    proxy.delay(0.1)
    started = asyncio.get_running_loop().time()
    client.send(b"late")
    assert await client.hears(b"late")
    assert asyncio.get_running_loop().time() - started >= 0.2
    proxy.heal()
    proxy.trickle()
    slowly = b"slowly" * 50
    client.send(slowly)
    assert await client.hears(slowly)
    assert bytes(echo[0].got) == b"late" + slowly
    # Some may meet on the way, but never all.
    assert len(echo[0].chunks) > 2


STARTUP = (8).to_bytes(4, "big") + (196608).to_bytes(4, "big")
COMMIT = b"Q" + (11).to_bytes(4, "big") + b"COMMIT\0"


@pytest.mark.parametrize(("how", "arrived"), [("before the server has it", b""), ("after the server answered", COMMIT)])
async def test_a_commit_is_cut_on_either_side_of_the_server(
    echo: tuple[Echo, int], proxy: Proxy, connect: Connect, how: Cut, arrived: bytes
) -> None:
    proxy.cut(how)
    for is_cut in (True, False):
        client = await connect()
        client.send(STARTUP)
        assert await client.hears(STARTUP)
        client.send(COMMIT)
        if is_cut:
            assert await client.is_reset()
            assert bytes(echo[0].got) == STARTUP + arrived
        else:
            assert await client.hears(COMMIT)
    assert proxy.count["cut"] == 1
