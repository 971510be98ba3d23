"""``python -m tests.faults.outage [SECONDS]``: figures of a Valkey outage under traffic, before, during and after it.

Sends: how many attempts were acknowledged, and how long they took. Deliveries: from the begin of the send to the
arrival at a receiver, over all receivers on both nodes. Ends with an error when anything was lost or doubled.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.chaos.history import History
from tests.chaos.limits import percentile
from tests.databases import Postgres
from tests.faults.site import Site
from tests.faults.traffic import Traffic, ok_share

CALM_SECONDS: Final = 10.0
"""How long the time before the outage lasts, and the one after it."""


async def run(site: Site, outage_seconds: float) -> Iterator[str]:
    """The lines of the report."""
    marks = [time.monotonic()]
    async with Traffic(site) as traffic:
        marks[0] = time.monotonic()
        await traffic.lasts(CALM_SECONDS)
        marks.append(time.monotonic())
        async with traffic.fault("killed"):
            site.valkey.kill9()
            await traffic.lasts(outage_seconds)
            site.valkey.start()
        marks.append(time.monotonic())
        await traffic.comes_true(lambda: all(site.readiness(node)[1] == {"status": "ok"} for node in site.nodes))
        back = time.monotonic() - marks[-1]
        await traffic.lasts(CALM_SECONDS)
        marks.append(time.monotonic())
        history = await traffic.settled()
    return report(traffic, history, marks, back)


def report(traffic: Traffic, history: History, marks: list[float], back: float) -> Iterator[str]:
    """A line for each phase; ``marks`` are its borders."""
    invoked = {msg_id: send.invoked for send in history.sends for msg_id in send.msg_ids}
    yield f"{'':8}{'sends':>8}{'ok':>9}{'p50':>9}{'p99':>9}   {'deliveries':>10}{'p50':>9}{'p99':>9}{'longest':>10}"
    for name, begin, end in zip(("before", "during", "after"), marks, marks[1:], strict=False):
        attempts = [attempt for attempt in traffic.log.attempts if begin <= attempt.began < end]
        sends = [attempt.seconds for attempt in attempts]
        arrivals = [
            delivery.at - invoked[delivery.msg_id]
            for delivery in history.deliveries
            if begin <= invoked[delivery.msg_id] < end
        ]
        yield (
            f"{name:8}{len(sends):>8}{ok_share(attempts):>9.2%}{_ms(sends, 0.5)}{_ms(sends, 0.99)}"
            f"   {len(arrivals):>10}{_ms(arrivals, 0.5)}{_ms(arrivals, 0.99)} {_ms(arrivals, 1.0)}"
        )
    yield f"outage {marks[2] - marks[1]:.1f} s; all nodes well {back:.1f} s after its end; nothing lost or doubled"


def _ms(seconds: list[float], share: float) -> str:
    return f"{percentile(seconds, share) * 1_000:>6.0f} ms"


def main(outage_seconds: float) -> None:
    """Starts what is needed, prints the report, and removes all of it."""
    postgres = Postgres().start()
    try:
        with tempfile.TemporaryDirectory() as home:
            site = Site(Path(home), postgres, settings={"QUICKIM_SWEEP_SECONDS": "2"})
            try:
                site.start()
                for line in asyncio.run(run(site, outage_seconds)):
                    print(line)  # noqa: T201  # its purpose
            finally:
                site.stop()
    finally:
        postgres.stop()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0)
