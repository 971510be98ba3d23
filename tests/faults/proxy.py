"""A TCP proxy of 127.0.0.1 with switches: what a network, or a peer that half died, does to connections.

Laws: it runs on a thread of its own, so that it serves whatever the test's own loop does; a switch holds when the call
returns; what is held back is not lost, as TCP loses nothing, until the connection is reset. ``count`` tells what each
fault hit: a fault that hit nothing shows nothing.
"""

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final, Literal, Self, TypeVar

from tests.faults.spotters import NothingSpotter, Spotter

T = TypeVar("T")

Way = Literal["to_server", "to_client"]
BOTH_WAYS: Final[tuple[Way, Way]] = ("to_server", "to_client")
Cut = Literal["before the server has it", "after the server answered"]
CHUNK_BYTES: Final = 65536
CALL_SECONDS: Final = 10.0
TEAR_SECONDS: Final = 0.02


class Link:
    """One client's connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter, spotter: Spotter) -> None:
        self.client, self.server = client, server
        self.spotter = spotter
        self.is_spotted = False
        """Whether its client once sent what the spotter looks for."""
        self.flows: dict[Way, asyncio.Event] = {way: asyncio.Event() for way in BOTH_WAYS}
        self.is_cut = False

    def reset(self) -> None:
        """Ends both sides with a RST."""
        for writer in (self.client, self.server):
            raw = writer.get_extra_info("socket")
            with suppress(OSError):  # it is closed already
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        for gate in self.flows.values():
            gate.set()


class Proxy:
    """See the module. ``spotter`` makes what looks at each connection's client."""

    def __init__(self, target_port: int, spotter: Callable[[], Spotter] = NothingSpotter) -> None:
        self._target_port = target_port
        self._make_spotter = spotter
        self.count: Counter[str] = Counter()
        """Chunks ``held``, ``delayed`` and ``trickled``, connections ``reset``, ``cut`` and ``torn``."""
        self._latency_seconds = 0.0
        self._trickles = False
        self._closed_ways: tuple[Way, ...] = ()
        """For connections to come, too."""
        self._cuts: list[Cut] = []
        self._tears = 0
        self._links: set[Link] = set()
        self._is_ending = False
        """A connection that is being made then ends, too: behind a closed way it would wait for ever."""
        # Bound, but not listening: keeps the port while connections are refused.
        self._place = self._bound(0)
        self.port: int = self._place.getsockname()[1]
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {self.port}", daemon=True)

    def start(self) -> Self:
        """Takes connections from now on."""
        self._thread.start()
        self._do(self._listen())
        return self

    def stop(self) -> None:
        """Resets all connections and ends."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._place.close()

    def heal(self) -> None:
        """Every switch off; what was held back flows on."""
        self._do(self._heal())

    # Switches

    def delay(self, seconds: float) -> None:
        """What is forwarded waits so long first, each way."""
        self._do(self._set("_latency_seconds", seconds))

    def trickle(self) -> None:
        """What is forwarded goes one byte at a time."""
        self._do(self._set("_trickles", True))

    def refuse(self) -> None:
        """New connections are refused; those that are there stay."""
        self._do(self._stop_listening())

    def blackhole(self, *ways: Way) -> None:
        """Nothing gets through in these ways (without any: in both), on connections of now and to come."""
        self._do(self._hold(ways or BOTH_WAYS, lambda link: True, and_new=True))

    def lose(self, *ways: Way, only_spotted: bool = False) -> int:
        """As ``blackhole``, but a connection made from now on works: the path died, the peer did not. Returns how many
        connections that concerns. ``only_spotted``: those whose client sent what the spotter looks for."""
        return self._do(self._hold(ways or BOTH_WAYS, lambda link: link.is_spotted or not only_spotted))

    def reset(self) -> int:
        """Resets every connection; returns how many."""
        return self._do(self._reset(lambda link: True))

    def reset_lost(self) -> int:
        """Resets those that ``lose`` concerned, as TCP does by itself after a while; returns how many they were."""
        return self._do(self._reset(lambda link: not all(gate.is_set() for gate in link.flows.values())))

    def cut(self, how: Cut, times: int = 1) -> None:
        """The next connections whose client sends what the spotter looks for are reset in that moment."""
        self._do(self._arm([how] * times))

    def tear(self, times: int = 1) -> None:
        """The next connections whose server sends something are reset amid it."""
        self._do(self._set("_tears", times))

    # On the proxy's own loop

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    async def _set(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    async def _arm(self, cuts: Iterable[Cut]) -> None:
        self._cuts.extend(cuts)

    async def _listen(self) -> None:
        listener = self._bound(self.port)
        self._listener = await asyncio.start_server(self._serve, sock=listener, backlog=256)

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            for bound in self._listener.sockets:
                self._loop.remove_reader(bound.fileno())
            # asyncio forgets a connection that is being accepted while its listener closes.
            for _ in range(3):
                await asyncio.sleep(0)
            self._listener.close()
            self._listener = None

    async def _hold(self, ways: tuple[Way, ...], concerns: Callable[[Link], bool], *, and_new: bool = False) -> int:
        links = [link for link in self._links if concerns(link)]
        for link in links:
            for way in ways:
                link.flows[way].clear()
        if and_new:
            self._closed_ways = ways
        return len(links)

    async def _reset(self, concerns: Callable[[Link], bool]) -> int:
        links = [link for link in self._links if concerns(link)]
        for link in links:
            link.reset()
        self.count["reset"] += len(links)
        return len(links)

    async def _heal(self) -> None:
        self._latency_seconds, self._trickles, self._closed_ways, self._cuts, self._tears = 0.0, False, (), [], 0
        for link in self._links:
            for gate in link.flows.values():
                gate.set()
        if self._listener is None:
            await self._listen()

    async def _end(self) -> None:
        self._is_ending = True
        await self._stop_listening()
        await self._reset(lambda link: True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others, timeout=CALL_SECONDS / 2) if others else None

    def _bound(self, port: int) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", port))
        return bound

    async def _serve(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            server_reader, server = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            # Its client sees what it would see without us, a moment later.
            client.transport.abort()
            return
        link = Link(client, server, self._make_spotter())
        for way in BOTH_WAYS:
            if way not in self._closed_ways:
                link.flows[way].set()
        self._links.add(link)
        if self._is_ending:
            link.reset()
        try:
            await asyncio.gather(
                self._pump(link, "to_server", client_reader, server),
                self._pump(link, "to_client", server_reader, client),
            )
        finally:
            self._links.discard(link)
            client.close()
            server.close()

    async def _pump(self, link: Link, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                if not link.flows[way].is_set():
                    self.count["held"] += 1
                    await link.flows[way].wait()
                if self._latency_seconds:
                    self.count["delayed"] += 1
                    await asyncio.sleep(self._latency_seconds)
                if not self._lets_pass(link, way, chunk):
                    return
                if self._tears and way == "to_client" and len(chunk) > 1:
                    await self._tear(link, chunk)
                    return
                await self._write(writer, chunk)
            # The end takes the same way as the bytes.
            await link.flows[way].wait()
            writer.write_eof()
        except OSError:
            await link.flows[way].wait()
            link.reset()

    async def _write(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        if not self._trickles:
            writer.write(chunk)
            await writer.drain()
            return
        self.count["trickled"] += 1
        for position in range(len(chunk)):
            writer.write(chunk[position : position + 1])
            await writer.drain()
            await asyncio.sleep(0)  # a segment of its own

    async def _tear(self, link: Link, chunk: bytes) -> None:
        self._tears -= 1
        self.count["torn"] += 1
        link.client.write(chunk[: len(chunk) // 2])
        await link.client.drain()
        # A reset throws away what its receiver has not read yet.
        await asyncio.sleep(TEAR_SECONDS)
        link.reset()

    def _lets_pass(self, link: Link, way: Way, chunk: bytes) -> bool:
        """Whether ``chunk`` goes on; if not, its connection is reset."""
        if way == "to_server" and link.spotter.spots(chunk):
            link.is_spotted = True
            if self._cuts:
                self.count["cut"] += 1
                if self._cuts.pop(0) == "before the server has it":
                    link.reset()
                    return False
                link.is_cut = True
        elif way == "to_client" and link.is_cut:
            # The server answers only what it has done.
            link.reset()
            return False
        return True
