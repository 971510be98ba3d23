"""The load of one run: six people in four conversations, each sending, and each receiving on two devices.

In many more conversations somebody says something now and then: what is missing there is not found by what comes next.

Laws: all chances come from the run's seed. Every receiver has received before the first fault, so that its cursor holds
everything. What a client must not see ends the run.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count, cycle
from types import TracebackType
from typing import Any, Final

from tests.chaos.clients import PROTOCOLS, Roamer, WsSender, read_history
from tests.chaos.history import Page
from tests.clients import mint
from tests.faults.place import Place
from tests.faults.senders import Sender
from tests.faults.traffic import Traffic

PEOPLE: Final = 6
ROOMS: Final = 4
QUIET_ROOMS: Final = 16
WHISPER_SECONDS: Final = 0.5
LASTING: Final = 3
"""So many receivers stay where they are."""
PAUSE_SECONDS: Final = 0.2
WS_SENDERS: Final = 2
REPEATS: Final = 0.1
LONG_SECONDS: Final = 3600
RECEIVING: Final = 2
"""The platform of the receivers; that of the senders is another one."""
FOR_EVER: Final = (3600.0, 3600.0)


@dataclass(frozen=True)
class Shape:
    """What differs from scenario to scenario: ``movers`` who come and go with two devices each, a ``crowd`` of
    WebSockets in the first room, the life of a receiver's token.

    ``steady``: nobody roams, and polls go to the first node only. Each poll and each resumption looks into the
    database, and what it finds there its node gives to everybody: on the other node, only the sweep can find it.
    """

    steady: bool = False
    movers: int = 0
    crowd: int = 0
    token_seconds: int = LONG_SECONDS


class Load(Traffic):
    """See the module."""

    def __init__(self, site: Place, chances: random.Random, shape: Shape) -> None:
        super().__init__(site, pause_seconds=PAUSE_SECONDS)
        self.chances = chances
        self.shape = shape
        self.pages: list[Page] = []
        self.movers: list[str] = []
        self.crowd: list[Roamer] = []
        self.is_warm = False
        """Whether every receiver has a cursor."""
        self._numbers = count()

    async def _people(self) -> None:
        people = [f"person{number}" for number in range(PEOPLE)]
        self.movers = [f"mover{number}" for number in range(self.shape.movers)]
        crowd = [f"crowd{number}" for number in range(self.shape.crowd)]
        self.rooms = [
            await self.apis[0].conversation(*people, *self.movers, *(() if number else crowd))
            for number in range(ROOMS)
        ]
        self.quiet = [await self.apis[0].conversation(*people) for _ in range(QUIET_ROOMS)]
        self.rooms += self.quiet
        protocols = cycle(PROTOCOLS)
        for session in (*people, *self.movers):
            for device in ("phone", "desk"):
                self.receivers.append(self._roamer(session, device, next(protocols)))
        for session in crowd:
            receiver = self._roamer(session, "only", "ws")
            receiver.stays = FOR_EVER
            self.crowd.append(receiver)
        self.receivers += self.crowd
        for number, session in enumerate(people):
            kind: Callable[..., Sender] = WsSender if number < WS_SENDERS else Sender
            self.senders.append(kind(session, self.apis, number, self.loud, self.log, repeats=REPEATS))
        # Refused whenever they are out; some of what they say is under way when they are put out.
        self.senders += [Sender(session, self.apis, 0, self.loud, self.log) for session in self.movers]
        self._whisperer = Sender(people[0], self.apis, 0, self.quiet, self.log)
        self._reading = partial(read_history, self.apis, people[0], self.rooms, self._chances(), self.pages)

    def _roamer(self, session: str, device: str, protoc: Any) -> Roamer:
        first = self.chances.randrange(len(self.site.urls))
        if self.shape.steady and protoc == "poll":
            first = 0

        def token() -> str:
            # Without a cursor, a connection that ends loses what comes before the next one.
            seconds = self.shape.token_seconds if self.is_warm else LONG_SECONDS
            return mint(session, RECEIVING, lifetime_seconds=seconds, iat=time.time())

        roamer = Roamer(session, token, protoc, self.site.urls, first, self._numbers, f"{session} {device}")
        roamer.chances = self._chances()
        if self.shape.steady or len(self.receivers) < LASTING:
            roamer.stays = FOR_EVER
        roamer.renews_tokens = self.shape.token_seconds < 0
        return roamer

    def _chances(self) -> random.Random:
        return random.Random(self.chances.random())

    async def __aenter__(self) -> "Load":
        await super().__aenter__()
        self.is_warm = True
        self._talks.append(asyncio.create_task(self._whisper()))
        self._tasks.append(asyncio.create_task(self._reading()))
        return self

    @property
    def loud(self) -> list[str]:
        """The conversations that are not quiet."""
        return self.rooms[:ROOMS]

    async def _whisper(self) -> None:
        """Through one node after the other, so that what is said here is news to the others."""
        for number in count():
            if self._stopping.is_set():
                return
            self._whisperer.turn_to(number // len(self.quiet) + number)
            await self._whisperer.send(self.quiet[number % len(self.quiet)], f"whisper {number}")
            with suppress(TimeoutError):
                async with asyncio.timeout(WHISPER_SECONDS):
                    await self._stopping.wait()

    async def fall_silent(self) -> None:
        """See Traffic; nobody reads history any more, either."""
        await super().fall_silent()
        reading = self._tasks.pop()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            for sender in self.senders:
                if isinstance(sender, WsSender):
                    await sender.close()
