"""The rules with figures in them: I0 (did anything happen?), I11 and I12 (how long, how much?), I13 (is all tidy?).

Law: a rule that a run gave no occasion for says nothing; whether it had to is the business of I0.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from tests.chaos.history import Attempt, Census, Fault, History, Stall
from tests.chaos.invariants import SWEEP_SECONDS

OK_SHARE = 0.99
LAYER_SEND_SECONDS = 1.0
DATABASE_SECONDS = 3.0
BUSY_SECONDS = 1.0
"""What a busy machine may add to a limit of seconds."""
MEMORY_BYTES = 64 * 1024 * 1024
OTHERS_FACTOR = 2.0
OTHERS_SECONDS = 0.2
"""Below this, latencies of others are the noise of a machine that also runs the harness."""
REFUSED = range(400, 500)
TIDY = 2
"""How many tasks, sockets or database connections more or less are no leak."""


@dataclass(frozen=True)
class Occasion:
    """What a run must have been, or it shows nothing; rates are by second of its faults."""

    ok_per_second: float = 5.0
    faults_per_second: float = 0.0
    """Of faults that struck while a send was in flight."""
    replays_per_second: float = 0.33
    """Of resumptions that replayed something, for each of ``protocols``."""
    protocols: tuple[str, ...] = ("ws", "sse", "poll")
    counts: dict[str, int] = field(default_factory=dict)
    """What the harness must have counted at least, whatever the length."""
    kinds: tuple[str, ...] = ()
    """Of faults that must have been there."""

    def replays_wanted(self, seconds: float) -> int:
        """Of resumptions that replayed something, for each of ``protocols``."""
        return int(self.replays_per_second * seconds)


def i0(history: History, seconds: float, occasion: Occasion) -> Iterator[str]:
    """Not vacuous: enough was sent, struck and replayed."""
    ok = sum(send.outcome == "ok" for send in history.sends)
    if ok < occasion.ok_per_second * seconds:
        yield f"only {ok} sends were acknowledged"
    yield from unstruck(history.faults, history.counts, seconds, occasion)
    replays = replays_by_protocol(history)
    for protocol in occasion.protocols:
        if replays[protocol] < occasion.replays_wanted(seconds):
            yield f"only {replays[protocol]} resumptions over {protocol} replayed something"


def unstruck(faults: Sequence[Fault], counts: Mapping[str, int], seconds: float, occasion: Occasion) -> Iterator[str]:
    """What has not struck often enough."""
    struck = sum(fault.in_flight > 0 for fault in faults)
    # One that is half through when the time is over is no want.
    if struck < int(occasion.faults_per_second * seconds):
        yield f"only {struck} faults struck while a send was in flight"
    for name, wanted in occasion.counts.items():
        if counts.get(name, 0) < wanted:
            yield f"{name}: {counts.get(name, 0)} times, not {wanted}"
    for kind in occasion.kinds:
        if not any(fault.kind == kind for fault in faults):
            yield f"the {kind} was never away"


def has_replayed_enough(history: History, seconds: float, occasion: Occasion) -> bool:
    """Whether resumptions have replayed as much as the occasion wants of them."""
    replays = replays_by_protocol(history)
    return all(replays[protocol] >= occasion.replays_wanted(seconds) for protocol in occasion.protocols)


def replays_by_protocol(history: History) -> Counter[str]:
    """How many resumed connections brought something that was acknowledged before they opened."""
    opened = {connection.number: connection for connection in history.connections if connection.cursor}
    replayed = {
        delivery.connection
        for delivery in history.deliveries
        if delivery.connection in opened
        and history.acknowledged_at.get(delivery.msg_id, float("inf")) < opened[delivery.connection].opened
    }
    return Counter(opened[number].protocol for number in replayed)


def i11(history: History) -> Iterator[str]:
    """Redis down: sends go on. PostgreSQL down: nothing is acknowledged, refusals are quick, recovery is prompt."""
    for fault in history.faults:
        if fault.kind == "layer":
            yield from _layer_away(history, fault)
        elif fault.kind == "database":
            yield from _database_away(history, fault)


def _layer_away(history: History, fault: Fault) -> Iterator[str]:
    during = attempts_during(history, fault)
    if not during:
        return
    share = sum(attempt.is_ok for attempt in during) / len(during)
    slowest = percentile([attempt.seconds for attempt in during], 0.99)
    if share < OK_SHARE:
        yield f"{fault.name}: only {share:.1%} of {len(during)} sends were acknowledged"
    if slowest > LAYER_SEND_SECONDS:
        yield f"{fault.name}: 99 % of the sends took up to {slowest:.2f} s"
    if (late := slowest_delivery(history, fault)) > 2 * SWEEP_SECONDS + BUSY_SECONDS:
        yield f"{fault.name}: a delivery took {late:.1f} s"


def _database_away(history: History, fault: Fault) -> Iterator[str]:
    for attempt in attempts_during(history, fault):
        if attempt.is_ok and attempt.ended < fault.ended - BUSY_SECONDS:
            yield f"{fault.name}: {attempt.client_msg_id} was acknowledged while it was away"
        if attempt.seconds > DATABASE_SECONDS + BUSY_SECONDS:
            yield f"{fault.name}: {attempt.client_msg_id} was answered after {attempt.seconds:.1f} s ({attempt.status})"
    back = seconds_to_first_ok(history, fault)
    if back is not None and back > DATABASE_SECONDS:
        yield f"{fault.name}: the first send was acknowledged {back:.1f} s after it was back"


def attempts_during(history: History, fault: Fault) -> list[Attempt]:
    """Those that began in it, but for those that were rightly refused."""
    return [
        attempt
        for attempt in history.attempts
        if fault.began <= attempt.began < fault.ended and attempt.status not in REFUSED
    ]


def slowest_delivery(history: History, fault: Fault) -> float:
    """From acknowledgement to delivery, of what was sent in the fault, to readers who stayed connected."""
    return max(
        (
            delivery.at - acknowledged
            for (reader, msg_id), delivery in history.first_deliveries.items()
            if (acknowledged := history.acknowledged_at.get(msg_id)) is not None
            and fault.began <= acknowledged < fault.ended
            and history.was_connected(reader, acknowledged, delivery.at)
        ),
        default=0.0,
    )


def seconds_to_first_ok(history: History, fault: Fault) -> float | None:
    """From the end of the fault to the first acknowledgement; None without any."""
    after = [attempt.ended for attempt in history.attempts if attempt.is_ok and attempt.ended >= fault.ended]
    return min(after) - fault.ended if after else None


def i12(history: History) -> Iterator[str]:
    """A stalled reader is cut off, costs little memory, and the others do not notice."""
    for stall in history.stalls:
        if stall.code is None:
            yield f"a stalled {stall.protocol} reader was never cut off"
        elif stall.code != 4003:
            yield f"a stalled {stall.protocol} reader was cut off with {stall.code}"
    if not history.stalls:
        return
    if (grown := memory_grown(history)) > MEMORY_BYTES:
        yield f"a worker grew by {grown / 2**20:.0f} MiB while readers stalled"
    before, during = others_latency(history)
    if during > max(OTHERS_FACTOR * before, OTHERS_SECONDS):
        yield f"99 % of the others' deliveries took up to {during:.3f} s, before that {before:.3f} s"


def memory_grown(history: History) -> int:
    """Bytes by which a worker's memory grew at most since before the first stall."""
    began = min(stall.began for stall in history.stalls)
    grown = [0]
    for node in {sample.node for sample in history.samples}:
        before = [sample.rss_bytes for sample in history.samples if sample.node == node and sample.at <= began]
        during = [sample.rss_bytes for sample in history.samples if sample.node == node and sample.at > began]
        if before and during:
            grown.append(max(during) - before[-1])
    return max(grown)


def others_latency(history: History) -> tuple[float, float]:
    """The 99th percentile of seconds from acknowledgement to delivery, before readers stalled and while they did."""
    began = min(stall.began for stall in history.stalls)
    ended = max(stall.ended for stall in history.stalls)
    before: list[float] = []
    during: list[float] = []
    for (reader, msg_id), delivery in history.first_deliveries.items():
        acknowledged = history.acknowledged_at.get(msg_id)
        if acknowledged is None or not history.was_connected(reader, acknowledged, delivery.at):
            continue
        if acknowledged < began:
            before.append(delivery.at - acknowledged)
        elif acknowledged < ended:
            during.append(delivery.at - acknowledged)
    if not before or not during:
        return 0.0, 0.0
    return percentile(before, 0.99), percentile(during, 0.99)


def i13(history: History) -> Iterator[str]:
    """Afterwards: tasks, sockets, database connections as at the start; no traceback, nothing odd answered."""
    for complaint in history.complaints:
        yield f"node {complaint.node}: {complaint.what}"
    for start, end in _censuses(history):
        yield from untidy(start, end)


def untidy(start: Census, end: Census) -> Iterator[str]:
    """In what a node is not back at its start."""
    for name in ("tasks", "sockets", "database_connections"):
        more = getattr(end, name) - getattr(start, name)
        if abs(more) > TIDY:
            yield f"node {end.node} has {more:+} {name.replace('_', ' ')}"


def _censuses(history: History) -> Iterator[tuple[Census, Census]]:
    starts = {census.node: census for census in history.censuses if census.when == "start"}
    for census in history.censuses:
        if census.when == "end":
            yield starts[census.node], census


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of ``values`` does not exceed."""
    assert values, "nothing was measured"
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def stall_seconds(stalls: Sequence[Stall]) -> float:
    """The longest time that a reader stood still before it was cut off or given up."""
    return max(chain((stall.ended - stall.began for stall in stalls), (0.0,)))
