"""A verdict on one page: what was done, what was seen, what was broken."""

from collections.abc import Iterator

from tests.chaos.history import History
from tests.chaos.invariants import slowest_after_heal
from tests.chaos.limits import (
    attempts_during,
    memory_grown,
    others_latency,
    percentile,
    replays_by_protocol,
    seconds_to_first_ok,
    slowest_delivery,
    stall_seconds,
)
from tests.chaos.run import Verdict
from tests.chaos.scenarios import SCENARIOS

SHOWN_VIOLATIONS = 12


def page(verdict: Verdict) -> str:
    """The whole of it."""
    return "\n".join(_lines(verdict)) + "\n"


def headline(verdict: Verdict) -> str:
    """One line."""
    what = "ok" if not verdict.broken else f"BROKEN {', '.join(sorted(verdict.invariants))}"
    figures = figures_of(verdict.history)
    planted = f" with {verdict.bug}" if verdict.bug else ""
    return (
        f"{verdict.scenario:4} seed {verdict.seed:<3}{planted} {what}: {figures['acknowledged']:.0f} sends,"
        f" {figures['deliveries']:.0f} deliveries, {figures['faults']:.0f} faults, {figures['kills']:.0f} kills,"
        f" level {figures['level after heal']:.1f} s after heal"
    )


def figures_of(history: History) -> dict[str, float]:
    """By name; seconds where it is a time."""
    outcomes = [send.outcome for send in history.sends]
    figures = {
        "acknowledged": outcomes.count("ok"),
        "refused": outcomes.count("failed"),
        "attempts": len(history.attempts),
        "deliveries": len(history.deliveries),
        "connections": len(history.connections),
        "pages": len(history.pages),
        "faults": len(history.faults),
        "in flight": sum(fault.in_flight > 0 for fault in history.faults),
        "kills": sum(count for name, count in history.counts.items() if name.endswith(" killed")),
        "level after heal": slowest_after_heal(history)[0],
    }
    figures |= {f"replays over {name}": count for name, count in sorted(replays_by_protocol(history).items())}
    for kind in ("layer", "database"):
        away = [fault for fault in history.faults if fault.kind == kind]
        during = [attempt for fault in away for attempt in attempts_during(history, fault)]
        if not during:
            continue
        figures[f"{kind} away: sends"] = len(during)
        figures[f"{kind} away: ok share"] = sum(attempt.is_ok for attempt in during) / len(during)
        figures[f"{kind} away: send p99"] = percentile([attempt.seconds for attempt in during], 0.99)
        figures[f"{kind} away: slowest delivery"] = max(slowest_delivery(history, fault) for fault in away)
        figures[f"{kind} back: first ok"] = max(seconds_to_first_ok(history, fault) or 0.0 for fault in away)
    if history.stalls:
        before, while_stalled = others_latency(history)
        figures |= {
            "stalled: MiB grown": memory_grown(history) / 2**20,
            "stalled: longest": stall_seconds(history.stalls),
            "others p99 before": before,
            "others p99 meanwhile": while_stalled,
        }
    return figures


def _lines(verdict: Verdict) -> Iterator[str]:
    scenario = SCENARIOS[verdict.scenario]
    yield headline(verdict)
    yield f"{scenario.purpose}; faults for {verdict.seconds:.0f} s"
    yield ""
    for name, value in figures_of(verdict.history).items():
        yield f"  {name:32}{value:>12.3f}".rstrip("0").rstrip(".")
    for name, count in sorted(verdict.history.counts.items()):
        yield f"  {name:32}{count:>8}"
    yield ""
    for fault in verdict.history.faults:
        began = fault.began - verdict.history.marks.get("began", 0.0)
        yield f"  {began:>7.2f} s  {fault.ended - fault.began:>6.2f} s  {fault.in_flight} in flight  {fault.name}"
    yield ""
    for violation in verdict.broken[:SHOWN_VIOLATIONS]:
        yield f"  {violation.invariant}: {violation.what}"
    if len(verdict.broken) > SHOWN_VIOLATIONS:
        yield f"  and {len(verdict.broken) - SHOWN_VIOLATIONS} more"
