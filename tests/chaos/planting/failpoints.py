"""Places where a process dies on demand, as by kill -9 (nothing after them is done, no handler runs), or sleeps."""

import os
import random
import signal
import time
from typing import Any

from django.db import transaction

from messaging import append, ledger
from messaging.message import Outcome
from tests.chaos.planting.bugs import put

SLEEP_SECONDS = (0.05, 0.1, 0.3, 1.0, 3.5)

_passed: dict[str, int] = {}


def arm(failpoint: str) -> None:
    """``name:times``. ``in_transaction``: all is written, COMMIT not sent. ``after_commit``: committed, nobody told.
    ``before_announcement``: the senders know, the other nodes do not. ``sleep_in_transaction``: every so many."""
    name, _, times = failpoint.partition(":")
    {
        "in_transaction": _arm_in_transaction,
        "after_commit": _arm_after_commit,
        "before_announcement": _arm_before_announcement,
        "sleep_in_transaction": _arm_sleep_in_transaction,
    }[name](int(times))


def _die_after(name: str, times: int) -> None:
    _passed[name] = _passed.get(name, 0) + 1
    if _passed[name] >= times:
        os.kill(os.getpid(), signal.SIGKILL)


def _arm_in_transaction(times: int) -> None:
    def append_and_die(*args: Any) -> list[Outcome]:
        outcomes: list[Outcome] = original(*args)
        _die_after("in_transaction", times)
        return outcomes

    original = put(append, "_append", append_and_die)


def _arm_after_commit(times: int) -> None:
    def append_and_die(*args: Any) -> list[Outcome]:
        outcomes: list[Outcome] = original(*args)
        transaction.on_commit(lambda: _die_after("after_commit", times))
        return outcomes

    original = put(append, "_append", append_and_die)


def _arm_before_announcement(times: int) -> None:
    def announce(fact: Any) -> None:
        # The answers are on their way to the event loop: it gets a moment to write them.
        time.sleep(0.02)
        _die_after("before_announcement", times)
        original(fact)

    original = put(ledger, "announce", announce)


def _arm_sleep_in_transaction(times: int) -> None:
    def append_slowly(*args: Any) -> list[Outcome]:
        outcomes: list[Outcome] = original(*args)
        if chances.randrange(times) == 0:
            # Sometimes longer than a transaction may take: it is given up then.
            time.sleep(chances.choice(SLEEP_SECONDS))
        return outcomes

    chances = random.Random(os.getpid())
    original = put(append, "_append", append_slowly)
