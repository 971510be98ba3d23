"""A node that answers few polls answers at once; one that answers many lets each hold more, for a bounded time."""

from gateway.transports.poll_connection import MAX_GATHER_SECONDS, Pace


def delays(answers_a_second: int, seconds: float, pace: Pace, begin: float = 100.0) -> list[float]:
    """Of answers at an even rate."""
    return [pace.delay(begin + number / answers_a_second) for number in range(int(seconds * answers_a_second))]


def test_few_answers_wait_for_nothing() -> None:
    assert set(delays(1_500, 5, Pace())) == {0.0}


def test_a_burst_to_a_large_conversation_waits_for_nothing() -> None:
    pace = Pace()
    assert {pace.delay(now) for now in (100.0, 102.0, 104.0) for _ in range(1_000)} == {0.0}


def test_many_answers_wait_for_more_to_say_but_not_for_long() -> None:
    waits = delays(20_000, 3, Pace())[20_000:]
    assert min(waits) > 0
    assert max(waits) == MAX_GATHER_SECONDS


def test_afterwards_nothing_waits_any_more() -> None:
    pace = Pace()
    delays(20_000, 3, pace)
    assert pace.delay(104.5) == 0.0
