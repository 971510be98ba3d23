"""Token buckets: how often somebody may do something, counted in this process, in bounded memory.

Laws: taking a token never waits and never asks another process. Buckets with a name are compared between nodes
afterwards (gateway.shares): what was taken here is told, and what is left for all is learnt. So each node alone keeps
the rate, whether or not the others can be reached, and together they keep it but for what was taken in the moment
before they had compared.
"""

from collections import OrderedDict
from time import monotonic
from typing import Protocol

from quickim.errors import RateExceeded

MAX_BUCKETS = 50_000
SLACK_SECONDS = 0.1
"""By which two nodes' views of a bucket may differ for the way between them, and nobody's taking."""


class Rate(Protocol):
    """``per_second`` on average, ``burst`` at once (see QUICKIM_SEND_RATE)."""

    @property
    def per_second(self) -> float:
        """Tokens that flow in each second."""

    @property
    def burst(self) -> int:
        """Tokens that a bucket holds."""


class Bucket:
    """One bucket, full at first."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, rate: Rate, now: float) -> None:
        self._tokens, self._at = float(rate.burst), now

    def take(self, rate: Rate, now: float) -> float:
        """Take a token: 0.0, or the seconds until there is one."""
        self._tokens = min(float(rate.burst), self._tokens + (now - self._at) * rate.per_second)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / rate.per_second

    def lower(self, rate: Rate, now: float, tokens: float) -> None:
        """Let there be no more than ``tokens``, which may be a debt; what flows in within ``SLACK_SECONDS`` is no
        difference."""
        held = min(float(rate.burst), self._tokens + (now - self._at) * rate.per_second)
        if tokens < held - max(0.5, rate.per_second * SLACK_SECONDS):
            self._tokens, self._at = tokens, now


class Buckets:
    """A bucket for each key; the least recently used go first when there are too many.

    A forgotten bucket is full again: 50,000 others must have been busy since, so its owner gained next to nothing.
    Those with a ``name`` are shared between the nodes.
    """

    shared: dict[str, "Buckets"] = {}
    """By name."""

    def __init__(self, name: str = "") -> None:
        self.rate: Rate | None = None
        """By which a token was last taken."""
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._taken: dict[str, int] | None = None
        """Not yet told to the other nodes; None while nobody listens."""
        self._taken_since = 0.0
        if name:
            self.shared[name] = self

    def spend(self, key: str, rate: Rate | None) -> None:
        """Take a token of ``key``; no ``rate``: no limit. Raises RateExceeded with the time to wait."""
        if rate is None:
            return
        now = monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(rate, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        if wait := bucket.take(rate, now):
            raise RateExceeded(retry_after_seconds=wait)
        taken = self._taken
        if taken is not None:
            if not taken:
                self.rate, self._taken_since = rate, now
            taken[key] = taken.get(key, 0) + 1

    def share(self) -> None:
        """From now on ``taken`` is asked for."""
        self._taken = {}

    def taken(self) -> tuple[dict[str, int], float]:
        """Tokens taken of each key since this was last asked, at most of ``MAX_BUCKETS`` keys; and for how many seconds
        now the first of them."""
        taken, self._taken = self._taken or {}, {}
        while len(taken) > MAX_BUCKETS:
            taken.popitem()
        return taken, monotonic() - self._taken_since

    def learn(self, key: str, tokens: float) -> None:
        """All nodes together left ``tokens`` of ``key``, before what was taken here since."""
        bucket, rate = self._buckets.get(key), self.rate
        if bucket is not None and rate is not None:
            bucket.lower(rate, monotonic(), tokens - (self._taken or {}).get(key, 0))


CALLS = Buckets("calls")
"""Calls of a session other than sends, and its polls."""
_addresses = Buckets("addresses")


def spend_of_address(limit_key: str, rate: Rate | None) -> None:
    """Count a request, or a call over WebSocket, of an address (quickim.rest.addresses). Raises RateExceeded."""
    if limit_key:
        _addresses.spend(limit_key, rate)
