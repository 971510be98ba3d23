"""Token buckets: how often somebody may do something, counted in this process, in bounded memory."""

import time
from collections import OrderedDict
from typing import Protocol

from quickim.errors import TooManyRequests

MAX_BUCKETS = 50_000


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


class Buckets:
    """A bucket for each key; the least recently used go first when there are too many.

    A forgotten bucket is full again: 50,000 others must have been busy since, so its owner gained next to nothing.
    """

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def spend(self, key: str, rate: Rate | None) -> None:
        """Take a token of ``key``; no ``rate``: no limit. Raises TooManyRequests with the time to wait."""
        if rate is None:
            return
        now = time.monotonic()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(rate, now)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        if wait := bucket.take(rate, now):
            raise TooManyRequests(retry_after_seconds=wait)
