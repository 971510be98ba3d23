"""Traffic without faults is flawless, and what it proves is no formality: each planted flaw is found."""

from dataclasses import replace

from tests.chaos.history import History
from tests.faults.site import Site
from tests.faults.traffic import Traffic, violations


async def test_traffic_without_faults_is_flawless_and_planted_flaws_are_found(site: Site) -> None:
    async with Traffic(site) as traffic:
        await traffic.acknowledges(200)
        history = await traffic.settled()
        assert traffic.reconnections == 0
    assert {attempt.node for attempt in traffic.log.attempts} == {0, 1}
    assert len(history.deliveries) == len(history.rows) * len(traffic.receivers)
    for rule, flawed in flaws(history).items():
        assert any(found.startswith(f"{rule}:") for found in violations(flawed)), rule


def flaws(history: History) -> dict[str, History]:
    """The history with one flaw each, by the rule that must find it."""
    rows, deliveries = list(history.rows), list(history.deliveries)
    one = deliveries[0]
    another = next(
        other
        for other in deliveries
        if (other.connection, other.conversation) == (one.connection, one.conversation) and other is not one
    )
    others = [delivery for delivery in deliveries if delivery not in (one, another)]
    return {
        "I1": replace(history, rows=rows[:-1]),
        "I2": replace(history, sends=history.sends[:-1]),
        "I3": replace(history, rows=[*rows, rows[-1]]),
        "I4": replace(history, deliveries=[replace(one, at=another.at), replace(another, at=one.at), *others]),
        "I5": replace(history, deliveries=deliveries[1:]),
        "I6": replace(history, deliveries=[delivery for delivery in deliveries if delivery.seq != 2]),
        "I7": replace(history, deliveries=[replace(one, content="another"), *deliveries[1:]]),
        "I9": replace(history, rows=[replace(row, seq=row.seq + (row.seq > 3)) for row in rows]),
    }
