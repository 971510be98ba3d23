"""The arithmetic of token buckets, under a clock that only the test moves."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from quickim.errors import RateExceeded
from quickim.rest import rates
from quickim.rest.rates import Bucket, Buckets
from quickim.variables import Rate

PER_SECOND = some.floats(0.01, 1_000, allow_nan=False)
PAUSES = some.lists(some.floats(0, 30, allow_nan=False), max_size=200)
TOLERANCE = 1e-6
unhurried = settings(deadline=None)
"""How fast the machine is, is no question here."""


@unhurried
@given(PER_SECOND, some.integers(1, 500), PAUSES)
def test_no_stretch_of_time_sees_more_than_a_burst_and_what_flowed_in(
    per_second: float, burst: int, pauses: list[float]
) -> None:
    rate = Rate(per_second, burst)
    bucket, now, passed = Bucket(rate, 0.0), 0.0, []
    for pause in pauses:
        now += pause
        if not bucket.take(rate, now):
            passed.append(now)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= burst + (passed[last] - begin) * per_second + TOLERANCE


@unhurried
@given(PER_SECOND, some.integers(1, 50), PAUSES)
def test_who_waits_as_long_as_he_was_told_is_let_pass(per_second: float, burst: int, pauses: list[float]) -> None:
    rate = Rate(per_second, burst)
    bucket, now = Bucket(rate, 0.0), 0.0
    for pause in pauses:
        now += pause
        if wait := bucket.take(rate, now):
            assert wait <= 1 / per_second + TOLERANCE
            now += wait + TOLERANCE * (1 + 1 / per_second)
            assert bucket.take(rate, now) == 0


@unhurried
@given(PER_SECOND, some.integers(1, 50), some.floats(-50, 50), some.floats(0, 10))
def test_what_others_took_only_ever_lowers_a_bucket(per_second: float, burst: int, left: float, later: float) -> None:
    rate = Rate(per_second, burst)
    alone, told = Bucket(rate, 0.0), Bucket(rate, 0.0)
    told.lower(rate, 0.0, left)
    waits = [bucket.take(rate, later) for bucket in (alone, told)]
    assert waits[1] >= waits[0]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the time that buckets see."""
    now = [0.0]
    monkeypatch.setattr("quickim.rest.rates.monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def passes(buckets: Buckets, key: str, rate: Rate) -> bool:
    """Whether a token could be had."""
    try:
        buckets.spend(key, rate)
    except RateExceeded:
        return False
    return True


def test_keys_have_buckets_of_their_own(clock: Callable[[float], None]) -> None:
    buckets, rate = Buckets(), Rate(1, 2)
    assert [passes(buckets, "alice", rate) for _ in range(3)] == [True, True, False]
    assert passes(buckets, "bob", rate)
    clock(1)
    assert [passes(buckets, "alice", rate) for _ in range(2)] == [True, False]


def test_however_many_come_the_table_has_an_end_and_the_busy_stay_in_it(
    clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "MAX_BUCKETS", 100)
    buckets, rate = Buckets(), Rate(0.001, 1)
    assert passes(buckets, "busy", rate)
    for number in range(1_000):
        assert passes(buckets, f"visitor {number}", rate)
        assert not passes(buckets, "busy", rate)
    assert len(buckets._buckets) == 100


def test_what_is_shared_is_told_once_and_what_others_took_is_heeded(clock: Callable[[float], None]) -> None:
    buckets, rate = Buckets(), Rate(1, 10)
    buckets.share()
    for _ in range(4):
        assert passes(buckets, "alice", rate)
    assert (buckets.taken()[0], buckets.taken()[0]) == ({"alice": 4}, {})
    assert passes(buckets, "alice", rate)
    # Of the ten others had taken five; one that was taken here meanwhile is not among those.
    buckets.learn("alice", 1)
    assert not passes(buckets, "alice", rate)
    buckets.learn("nobody", -5)
    clock(1)
    assert passes(buckets, "alice", rate)
