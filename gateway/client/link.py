"""One client's connection over time: which protocol, when again, and when never again.

Laws: one stream at a time, but for the moment of a change, in which the new one is up before the old one goes;
whatever fails ends in a pause that grows, or in the one end; nothing here knows what a message is.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol as Interface

from gateway.client.backoff import Backoff
from gateway.client.errors import ASKED, CallFailed, ClientError, Closed, Ending, ending_of_failure
from gateway.client.events import Protocol, StateChanged
from gateway.client.options import Options
from gateway.client.streams import Arrival, Refused, Stream
from quickim.tasks import cancel, spawn

MOST_SILENT_ENDS = 2
"""A protocol that opened so many times without a word does not get through, whatever it claims."""


class Owner(Interface):
    """What a link needs of its client."""

    async def make(self, protocol: Protocol) -> Stream:
        """A stream that begins where the client stands, not open yet. Raises what the token callback raises."""

    async def take(self, arrival: Arrival) -> None:
        """Something came; returns when there is room for more."""

    async def renew(self, refused: str) -> bool:
        """Take a new token; False when there is none. Raises what the token callback raises."""

    async def tell(self, state: StateChanged) -> None:
        """The state changed."""

    async def failed(self, error: Exception) -> None:
        """Something of the app's failed."""


class Link:
    """See the module."""

    def __init__(self, options: Options, owner: Owner, backoff: Backoff) -> None:
        self._options, self._owner, self._backoff = options, owner, backoff
        self._order = list(options.protocols)
        self._upgrade_seconds = options.upgrade_seconds
        self._silent_ends: Counter[Protocol] = Counter()
        self._stirred = asyncio.Event()
        """A wish, or the end of the stream."""
        self._must_restart = False
        self._wanted: tuple[Protocol, asyncio.Future[None]] | None = None
        self._streams: dict[Stream, asyncio.Task[None]] = {}
        """Those that are open, and who reads each."""
        self.protocol: Protocol | None = None

    async def run(self) -> Ending:
        """Keep a connection until the server says stop; returns why."""
        while True:
            self._must_restart = False
            await self._owner.tell(StateChanged("connecting"))
            opened = await self._open_first()
            ending = await self._stay(opened) if isinstance(opened, Stream) else opened
            if ending.stops:
                self._reject("the connection ended for good")
                return ending
            if ending.is_asked:
                continue
            pause = self._backoff.next(ending.least_seconds)
            await self._owner.tell(StateChanged("waiting", None, pause, ending.reason, ending.error))
            await self._rest(pause)

    async def close(self) -> None:
        """Let go of everything; ``run`` was cancelled."""
        self._reject("the client was closed")
        for stream in list(self._streams):
            await self._drop(stream)

    def restart(self) -> None:
        """End the connection, and begin anew where the client stands now."""
        self._must_restart = True
        self._stirred.set()

    async def use(self, protocol: Protocol) -> None:
        """Put ``protocol`` first and go over to it. Raises ClientError when that cannot be opened now."""
        self._order = [protocol, *(other for other in self._order if other != protocol)]
        del self._silent_ends[protocol]
        self._reject("another protocol was asked for")
        if self.protocol == protocol:
            return
        wanted = asyncio.get_running_loop().create_future()
        self._wanted = (protocol, wanted)
        self._stirred.set()
        await wanted

    async def _open_first(self) -> Stream | Ending:
        working = [protocol for protocol in self._order if self._silent_ends[protocol] < MOST_SILENT_ENDS]
        last = Ending(reason="no protocol is left")
        for protocol in working or self._order:
            opened = await self._open(protocol)
            if isinstance(opened, Stream):
                return opened
            last = opened
            # Where the server itself answered, it would answer the same elsewhere.
            if not last.is_blocked:
                break
        return last

    async def _open(self, protocol: Protocol) -> Stream | Ending:
        is_renewed = False
        while True:
            try:
                stream = await self._owner.make(protocol)
            except CallFailed as error:
                # A refused token was renewed by the call itself.
                return _without_renewal(ending_of_failure(error))
            except Exception as error:  # noqa: BLE001  # the app's callback may raise anything
                await self._owner.failed(error)
                return Ending(reason="no token", error=error)
            try:
                await stream.open()
            except Refused as refused:
                await stream.close()
                ending = refused.ending
            except asyncio.CancelledError:
                await stream.close()
                raise
            else:
                self._streams[stream] = spawn(self._read(stream), f"read {protocol}")
                return stream
            if not ending.renews:
                return ending
            # A token that was made just now and is refused all the same will not get better.
            if is_renewed:
                return _without_renewal(ending)
            if (hindrance := await self._renewed(stream.token, ending)) is not None:
                return hindrance
            is_renewed = True

    async def _stay(self, stream: Stream) -> Ending:
        await self._connected(stream)
        while (better := await self._next_wish(stream)) is not None:
            for protocol in better:
                opened = await self._open(protocol)
                if isinstance(opened, Stream):
                    before, stream = stream, opened
                    await self._connected(stream)
                    await self._drop(before)
                    break
            else:
                self._reject(f"{better[0]} cannot be opened now")
                self._upgrade_seconds = min(self._upgrade_seconds * 2, self._options.longest_upgrade_seconds)
        return await self._left(stream)

    async def _connected(self, stream: Stream) -> None:
        self.protocol = stream.protocol
        await self._owner.tell(StateChanged("connected", stream.protocol))
        if self._wanted is not None and self._wanted[0] == stream.protocol:
            (_, wanted), self._wanted = self._wanted, None
            if not wanted.done():
                wanted.set_result(None)

    async def _next_wish(self, stream: Stream) -> list[Protocol] | None:
        """The protocols to go over to; None when the stream is over, or is to be."""
        while True:
            better = self._order[: self._order.index(stream.protocol)]
            if self._must_restart or self._streams[stream].done():
                return None
            if self._wanted is not None:
                return [self._wanted[0]]
            self._stirred.clear()
            seconds = self._upgrade_seconds * random.uniform(0.5, 1) if better else None  # noqa: S311  # jitter
            try:
                async with asyncio.timeout(seconds):
                    await self._stirred.wait()
            except TimeoutError:
                return better

    async def _read(self, stream: Stream) -> None:
        try:
            async for arrival in stream.arrivals():
                await self._owner.take(arrival)
        finally:
            self._stirred.set()

    async def _left(self, stream: Stream) -> Ending:
        is_over = self._streams[stream].done()
        await self._drop(stream)
        self.protocol = None
        ending = stream.ending if is_over else ASKED
        if stream.has_heard:
            del self._silent_ends[stream.protocol]
            if stream.protocol == self._order[0]:
                self._upgrade_seconds = self._options.upgrade_seconds
        elif not ending.is_asked:
            self._silent_ends[stream.protocol] += 1
        if ending.error is not None and ending.is_blocked:
            await self._owner.failed(ending.error)
        if ending.renews:
            return await self._renewed(stream.token, ending) or ending
        return ending

    async def _renewed(self, token: str, ending: Ending) -> Ending | None:
        """None when there is another token than ``token``; else what becomes of it."""
        try:
            return None if await self._owner.renew(token) else _without_renewal(ending)
        except Exception as error:  # noqa: BLE001  # the app's callback may raise anything: try again after the pause
            await self._owner.failed(error)
            return Ending(reason="no token", error=error)

    async def _drop(self, stream: Stream) -> None:
        await cancel([self._streams.pop(stream)])
        await stream.close()

    async def _rest(self, seconds: float) -> None:
        sleep: Callable[[float], Awaitable[None]] = self._options.sleep or asyncio.sleep
        if self._must_restart or self._wanted is not None:
            return
        self._stirred.clear()

        async def pause() -> None:
            await sleep(seconds)

        tasks = [spawn(pause(), "pause"), spawn(self._stir(), "stirred")]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel(tasks)

    async def _stir(self) -> None:
        await self._stirred.wait()

    def _reject(self, why: str) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None and not wanted[1].done():
            wanted[1].set_exception(Closed(why) if "closed" in why else ClientError(why))


def _without_renewal(ending: Ending) -> Ending:
    """There is no other token."""
    return replace(ending, stops=True) if ending.renews else ending
