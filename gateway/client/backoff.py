"""Pauses between attempts: doubling up to a limit, with randomness, so that clients do not come back all at once."""

import random


class Backoff:
    """Pure: it counts, the caller waits."""

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._first, self._longest = first_seconds, longest_seconds
        self._limit = 0.0

    def next(self, least_seconds: float = 0.0) -> float:
        """The next pause in seconds: ``least_seconds``, and then half to all of the present limit."""
        self._limit = min(max(self._limit * 2, self._first), self._longest)
        return least_seconds + random.uniform(0.5, 1) * self._limit  # noqa: S311  # jitter, no secret

    def reset(self) -> None:
        """Something worked: the next pause is the shortest again."""
        self._limit = 0.0
