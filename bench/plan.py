"""How much to measure and where, and the shape of what comes out: the contract between the scripts and the
report.
"""

import statistics
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """``rounds`` of ``seconds`` each for every case; the server and the generator on their cores."""

    rounds: int
    seconds: float
    server_core: int
    generator_core: int
    output: Path = Path("var/bench")
    messages: int = 1_000_000
    """The largest table of ``reads_postgres``."""
    connections: int = 10_000
    """WebSockets of the benchmarks with several workers."""


@dataclass
class Case:
    """One row of a benchmark's table: its label, and each round's figures by their column."""

    label: str
    rounds: list[dict[str, float]] = field(default_factory=list)

    def medians(self) -> dict[str, float]:
        """Of each column over the rounds."""
        return {column: statistics.median(row[column] for row in self.rounds) for column in self.rounds[0]}

    def spread(self) -> tuple[float, float]:
        """The least and the greatest of the first column."""
        first = next(iter(self.rounds[0]))
        return min(row[first] for row in self.rounds), max(row[first] for row in self.rounds)


@dataclass
class Result:
    """A benchmark's answer, or why there is none."""

    name: str
    question: str
    cases: list[Case] = field(default_factory=list)
    failure: str = ""
