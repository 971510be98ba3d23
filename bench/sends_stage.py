"""What sends are measured on: SQLite with nothing beside it, or PostgreSQL with Valkey, which share the server's core,
so that what a send costs there is in the figures; and conversations of ten members that are all connected.
"""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import chain

from bench.backing import postgresql_and_valkey
from bench.load.senders import Call, Sender, websocket_call, websocket_sender
from bench.load.streams import Tally, connect
from bench.load.wide import Clock, Mailbox, WideStream
from bench.plan import Plan
from bench.stage import Stage, stage

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL and Valkey"
BACK_ENDS = (SQLITE, POSTGRESQL)
MEMBERS = 10
_CONVERSATIONS = 32


@asynccontextmanager
async def stage_on(back_end: str, plan: Plan, settings: Mapping[str, str] | None = None) -> AsyncIterator[Stage]:
    """A stage on one of ``BACK_ENDS``, all of it on the server's core, with ``settings``."""
    if back_end == SQLITE:
        async with stage(plan, settings=settings) as on:
            yield on
        return
    with postgresql_and_valkey({plan.server_core}) as backing:
        async with stage(plan, settings={**backing.settings, **(settings or {})}, backing=backing.pids) as on:
            yield on


class LastClock(Clock):
    """A clock that stops when the last of a message's ``MEMBERS`` has it."""

    def __init__(self) -> None:
        super().__init__()
        self._missing: dict[int, int] = {}

    def restart(self) -> None:
        """Forget the delays so far."""
        del self.delays[:]

    def figures(self) -> dict[str, float]:
        """The columns about them."""
        return {f"last of {MEMBERS}: p{percent} ms": self.percentile_ms(percent) for percent in (50, 99)}

    def delivered(self, number: int, now: float) -> None:
        """See Clock."""
        missing = self._missing.get(number, MEMBERS) - 1
        if missing:
            self._missing[number] = missing
        else:
            self._missing.pop(number, None)
            super().delivered(number, now)
            self.sent_at.pop(number, None)


class Rooms:
    """Conversations of ten members each, all of them connected; the senders go through the conversations in turn."""

    def __init__(self, on: Stage) -> None:
        self.on = on
        self.tally, self.clock = Tally(), LastClock()
        self.streams: list[WideStream] = []
        self.senders: list[Sender] = []
        """First one of each conversation, then another of each."""
        self._readers: dict[str, str] = {}

    async def open(self) -> None:
        """Make them and connect everybody."""
        on, rooms = self.on, []
        for room in range(_CONVERSATIONS):
            sessions = [f"member-{room}-{number}" for number in range(MEMBERS)]
            conversation, tokens = await on.population.conversation(sessions), await on.population.tokens(sessions)
            streams = [WideStream(on.alarm, token, Mailbox(self.tally, self.clock)) for token in tokens]
            for stream in streams:
                await on.guard(connect(on.server.port, stream), "connecting")
            self._readers[conversation] = tokens[0]
            rooms.append([websocket_sender(each, [self._call(conversation)], on.receipts) for each in streams])
            self.streams += streams
        self.senders = list(chain.from_iterable(zip(*rooms, strict=True)))

    async def close(self) -> None:
        """Compare what everybody got with the histories, then leave."""
        await self.on.population.compare(self._readers, self.on.receipts)
        for stream in self.streams:
            stream.close()

    def _call(self, conversation: str) -> Call:
        call, sent_at = websocket_call(conversation), self.clock.sent_at

        def timed(number: int) -> bytes:
            sent_at[number] = time.perf_counter()
            return call(number)

        return timed
