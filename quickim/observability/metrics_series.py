"""What metrics are counted in: plain numbers in this process, cheap enough for the paths that every message takes.

Laws: counting never fails, never waits and never grows without bound (``MAX_SERIES``); any thread may count. Nothing
is told to anybody here: `quickim.observability.metrics_sharing` reads the numbers when somebody asks.

These are not prometheus-client's own counters, because its values that several processes share cost a microsecond and
a lock each, and its gauges cannot be read at the time of a scrape in processes other than the one that is asked.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Literal

MAX_SERIES = 1_000
"""Of one family; whatever comes beyond them is counted together, with ``OTHER`` for every label."""
OTHER = "other"

Labels = tuple[str, ...]
Kind = Literal["counter", "gauge", "histogram"]
Across = Literal["sum", "min", "max"]


class Family:
    """One metric and its series by their labels' values. ``across``: how the values of several processes become one."""

    kind: ClassVar[Kind]
    all: ClassVar[dict[str, "Family"]] = {}

    def __init__(self, name: str, text: str, labels: Labels = (), *, across: Across = "sum") -> None:
        self.name, self.text, self.labels, self.across = name, text, labels, across
        self._lock = threading.Lock()
        Family.all[name] = self

    def values(self) -> dict[Labels, list[float]]:
        """A copy of what was counted, by the labels' values."""
        raise NotImplementedError

    def _series(self, known: Mapping[Labels, object], labels: Labels) -> Labels:
        if labels in known or len(known) < MAX_SERIES:
            return labels
        return (OTHER,) * len(self.labels)


class Counter(Family):
    """A number that rises. ``known``: series that are told from the start, with 0, so that a first rise is seen."""

    kind = "counter"

    def __init__(self, name: str, text: str, labels: Labels = (), known: Iterable[Labels] = ()) -> None:
        super().__init__(name, text, labels)
        self._counts: dict[Labels, float] = dict.fromkeys(known if labels else [()], 0)

    def inc(self, amount: float, *labels: str) -> None:
        """Count ``amount`` more of the series with these ``labels``' values."""
        counts = self._counts
        with self._lock:
            try:
                counts[labels] += amount
            except KeyError:
                series = self._series(counts, labels)
                counts[series] = counts.get(series, 0) + amount

    def values(self) -> dict[Labels, list[float]]:
        """See Family: one number."""
        with self._lock:
            return {labels: [count] for labels, count in self._counts.items()}


class Histogram(Family):
    """How values are spread over ``bounds`` (upper ones, each included; infinity is added)."""

    kind = "histogram"

    def __init__(self, name: str, text: str, bounds: tuple[float, ...], labels: Labels = ()) -> None:
        super().__init__(name, text, labels)
        self.bounds = bounds
        self._counts: dict[Labels, list[float]] = {} if labels else {(): self._empty()}

    def observe(self, value: float, *labels: str) -> None:
        """Count one ``value``."""
        with self._lock:
            counts = self._counts.get(labels)
            if counts is None:
                counts = self._counts.setdefault(self._series(self._counts, labels), self._empty())
            counts[bisect_left(self.bounds, value)] += 1
            counts[-1] += value

    def values(self) -> dict[Labels, list[float]]:
        """See Family: the count of each bucket by itself, then the sum of all values."""
        with self._lock:
            return {labels: list(counts) for labels, counts in self._counts.items()}

    def _empty(self) -> list[float]:
        return [0.0] * (len(self.bounds) + 2)


class Gauge(Family):
    """What a number is now: nobody keeps it up to date, its source (``read_from``) is asked when it is told."""

    kind = "gauge"

    def __init__(self, name: str, text: str, labels: Labels = (), *, across: Across = "sum") -> None:
        super().__init__(name, text, labels, across=across)
        self._source: Callable[[], Mapping[Labels, float]] = dict

    def read_from(self, source: Callable[[], Mapping[Labels, float]]) -> None:
        """``source`` gives the number of each series now; it is called on the event loop, and must be quick."""
        self._source = source

    def values(self) -> dict[Labels, list[float]]:
        """See Family: one number; none without a source."""
        values: dict[Labels, list[float]] = {}
        for labels, value in self._source().items():
            values.setdefault(self._series(values, labels), [0.0])[0] += value
        return values
