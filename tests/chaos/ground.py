"""What a scenario works with: the place, its load, the run's chances, and what it has done so far."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from tests.chaos.embedded import EmbeddedSite
from tests.chaos.history import Census, Complaint, Sample, Stall
from tests.chaos.load import Load
from tests.chaos.planting.signals import census_file, failpoint_file
from tests.databases import DidNotStartError, holds_within
from tests.faults.place import Place
from tests.faults.site import Site
from tests.servers import Server

T = TypeVar("T")

SAMPLE_SECONDS = 0.25
SIGNAL_SECONDS = 5.0


@dataclass
class Ground:
    """See the module. ``until``: when no new fault begins any more."""

    place: Place
    load: Load
    chances: random.Random
    signals: Path
    """Where harness and server processes leave each other what signals cannot carry."""
    until: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    stalls: list[Stall] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    complaints: list[Complaint] = field(default_factory=list)

    @property
    def site(self) -> Site:
        """The place, when it is one of PostgreSQL and Valkey."""
        assert isinstance(self.place, Site)
        return self.place

    @property
    def embedded(self) -> EmbeddedSite:
        """The place, when it is the embedded one."""
        assert isinstance(self.place, EmbeddedSite)
        return self.place

    @property
    def now(self) -> float:
        """By the harness's clock."""
        return time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the time of the faults is."""
        return self.now >= self.until

    def any_node(self) -> int:
        """One of them."""
        return self.chances.randrange(len(self.place.nodes))

    async def lasts(self, seconds: float) -> None:
        """Time passes, under load."""
        await self.load.lasts(seconds)

    async def on_thread(self, work: Callable[[], T]) -> T:
        """Runs what blocks, while the load goes on."""
        return await self.load.within(asyncio.to_thread(work), 60)

    async def sample(self) -> None:
        """Looks at the memory of all nodes until cancelled."""
        while True:
            for number, node in enumerate(self.place.nodes):
                if node.is_running:
                    try:
                        size = psutil.Process(node.pid).memory_info().rss
                    except psutil.NoSuchProcess:
                        continue
                    self.samples.append(Sample(time.monotonic(), number, size))
            await asyncio.sleep(SAMPLE_SECONDS)

    def arm(self, node: Server, failpoint: str) -> None:
        """The node meets the failpoint from now on."""
        failpoint_file(self.signals, node.pid).write_text(failpoint)
        os.kill(node.pid, signal.SIGUSR2)

    def census(self, number: int, when: str) -> Census:
        """What the node holds now."""
        node = self.place.nodes[number]
        file = census_file(self.signals, node.pid)
        file.unlink(missing_ok=True)
        os.kill(node.pid, signal.SIGUSR1)
        if not holds_within(SIGNAL_SECONDS, file.exists):
            raise DidNotStartError(f"node {number} does not count its tasks: {node.log_text()[-2000:]}")
        process = psutil.Process(node.pid)
        sockets = process.net_connections("tcp")
        database = self.site.database_proxies[number].port if isinstance(self.place, Site) else 0
        return Census(
            "start" if when == "start" else "end",
            number,
            int(file.read_text()),
            sum(one.status in ("ESTABLISHED", "LISTEN", "CLOSE_WAIT") for one in sockets),
            sum(bool(one.raddr) and one.raddr.port == database and one.status == "ESTABLISHED" for one in sockets),
        )
