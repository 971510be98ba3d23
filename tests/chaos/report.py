"""What all runs of one command came to: a line each as they end, and a table in the end."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.chaos.lanes import Outcome
from tests.chaos.planting.table import EXPECTED
from tests.chaos.scenarios import SCENARIOS


class Report:
    """See the module. It is printed, and left as ``report.md`` in ``out``."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._outcomes: list[Outcome] = []
        self._began = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self._outcomes.append(outcome)
        for line in outcome.headlines:
            _say(line)
        if outcome.failed:
            _say(outcome.failed)
        (self._out / "report.md").write_text("\n".join(self._lines()) + "\n")

    def close(self) -> int:
        """Prints the table; the exit status of the command."""
        for line in self._lines():
            _say(line)
        return 1 if any(outcome.failed for outcome in self._outcomes) else 0

    def _lines(self) -> Iterator[str]:
        runs = [outcome for outcome in self._outcomes if not outcome.job.bug]
        planted = [outcome for outcome in self._outcomes if outcome.job.bug]
        if runs:
            yield from _table_of_runs(runs)
        if planted:
            yield from _table_of_bugs(planted)
        yield f"{(time.monotonic() - self._began) / 60:.0f} minutes."


def _table_of_runs(runs: list[Outcome]) -> Iterator[str]:
    yield "| scenario | runs | broken | sends acknowledged | deliveries | faults | kills | level after heal, worst |"
    yield "|---|---|---|---|---|---|---|---|"
    by_scenario: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in runs:
        by_scenario[outcome.job.scenario].append(outcome)
    for name in SCENARIOS:
        if found := by_scenario.get(name):
            yield f"| {name}: {SCENARIOS[name].purpose} {_row(found)}"
    yield f"| all {_row(runs)}"
    yield ""
    counts: Counter[str] = Counter()
    for outcome in runs:
        counts.update(outcome.counts)
    yield "; ".join(f"{name}: {count}" for name, count in sorted(counts.items()))
    yield ""
    yield "| figure | median | worst |"
    yield "|---|---|---|"
    for figure, values in sorted(_figures(runs).items()):
        worst = min(values) if "share" in figure else max(values)
        yield f"| {figure} | {median(values):.3f} | {worst:.3f} |"
    yield ""


def _row(found: list[Outcome]) -> str:
    def total(figure: str) -> int:
        return round(sum(outcome.figures.get(figure, 0) for outcome in found))

    level = max(outcome.figures.get("level after heal", 0.0) for outcome in found)
    broken = sum(bool(outcome.failed) for outcome in found)
    return (
        f"| {len(found)} | {broken} | {total('acknowledged')} | {total('deliveries')} | {total('faults')}"
        f" | {total('kills')} | {level:.1f} s |"
    )


def _figures(runs: list[Outcome]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for outcome in runs:
        for name, value in outcome.figures.items():
            if ":" in name or name.startswith("others"):
                found[name].append(value)
    return found


def _table_of_bugs(planted: list[Outcome]) -> Iterator[str]:
    yield "| planted bug | scenario | expected | found |"
    yield "|---|---|---|---|"
    for outcome in sorted(planted, key=lambda outcome: list(EXPECTED).index(outcome.job.bug)):
        name = outcome.job.bug
        found = outcome.failed or f"with the seed number {len(outcome.headlines)}"
        yield f"| {name} | {outcome.job.scenario} | {' or '.join(EXPECTED[name].finds)} | {found} |"
    yield ""


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
