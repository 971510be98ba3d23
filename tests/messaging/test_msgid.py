"""MsgIds: their form, their order, and what can be read back from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging import msgid

TICKS = st.integers(0, msgid.MAX_TICK)
LOWS = st.integers(0, (1 << msgid.LOW_BITS) - 1)
NUMBERS = st.integers(0, (1 << 22) - 1)
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
EARLIEST, LATEST = 0, (1 << 42) * 1_000 - 1


def by_the_book(tick: int, low: int) -> str:
    """The contract's words, literally: 80 bits, big-endian, five a character."""
    bits = f"{tick:054b}{low:026b}"
    text = "".join(ALPHABET[int(bits[at : at + 5], 2)] for at in range(0, 80, 5))
    return "-".join((text[:5], text[5:9], text[9:13], text[13:]))


@given(TICKS, LOWS)
def test_a_msgid_is_eighty_bits_in_sixteen_characters(tick: int, low: int) -> None:
    assert msgid.encode(tick, low) == by_the_book(tick, low)
    assert len(msgid.encode(tick, low)) == msgid.LENGTH


@given(TICKS, LOWS)
def test_it_can_be_read_back(tick: int, low: int) -> None:
    text = msgid.encode(tick, low)
    assert msgid.decode(text) == (tick, low)
    assert msgid.tick_of(text) == tick
    assert msgid.is_well_formed(text)


@given(st.tuples(TICKS, LOWS), st.tuples(TICKS, LOWS))
def test_bytewise_order_is_the_order_of_ticks(first: tuple[int, int], second: tuple[int, int]) -> None:
    one, other = msgid.encode(*first).encode(), msgid.encode(*second).encode()
    assert (one < other) == (first < second)


@given(TICKS, LOWS)
def test_nothing_of_a_tick_lies_outside_its_bounds(tick: int, low: int) -> None:
    assert msgid.before_all(tick) <= msgid.encode(tick, low) <= msgid.after_all(tick)


@given(st.integers(0, msgid.MAX_TICK - 1), LOWS, LOWS)
def test_the_bounds_of_neighbouring_ticks_do_not_overlap(tick: int, low: int, other: int) -> None:
    assert msgid.after_all(tick) < msgid.before_all(tick + 1)
    assert msgid.encode(tick, low) < msgid.encode(tick + 1, other)


@given(st.integers(EARLIEST, LATEST))
def test_a_time_becomes_the_first_tick_of_its_millisecond(microseconds: int) -> None:
    tick = msgid.tick_at(microseconds)
    assert msgid.milliseconds_of(tick) == microseconds // 1_000
    assert tick == 0 or msgid.milliseconds_of(tick - 1) == microseconds // 1_000 - 1


@given(st.integers(-(2**80), 2**80))
def test_any_time_at_all_gives_a_tick_that_fits(microseconds: int) -> None:
    assert 0 <= msgid.tick_at(microseconds) <= msgid.MAX_TICK


@given(NUMBERS, NUMBERS)
def test_conversations_are_spread_by_a_bijection(one: int, other: int) -> None:
    assert (msgid.scramble(one) == msgid.scramble(other)) == (one == other)
    assert msgid.unscramble(msgid.scramble(one)) == one


@given(st.integers(0, 2**63 - 1))
def test_large_numbers_count_modulo_two_to_the_22nd(number: int) -> None:
    assert msgid.unscramble(msgid.scramble(number)) == number % (1 << 22)


@given(st.integers(0, 2**63 - 1), NUMBERS)
def test_the_low_bits_hold_the_types_low_bits_and_the_conversation(kind: int, number: int) -> None:
    low = msgid.low_bits(kind, number)
    assert low >> 22 == kind % 16
    assert msgid.unscramble(low & ((1 << 22) - 1)) == number


@given(st.text(alphabet=ALPHABET + "-01OIabz\n ", max_size=21))
def test_only_the_exact_form_is_well_formed(text: str) -> None:
    groups = text.split("-")
    expected = [len(group) for group in groups] == [5, 4, 4, 3] and set("".join(groups)) <= set(ALPHABET)
    assert msgid.is_well_formed(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "EDCZL-SY32-243Y-VWQ\n", "edczl-sy32-243y-vwq", "EDCZLSY32243YVWQ", "EDCZ1-SY32-243Y-VWQ", "-" * 19],
)
def test_what_is_no_msgid_cannot_be_read(text: str) -> None:
    assert not msgid.is_well_formed(text)
    with pytest.raises(ValueError, match="not a MsgId"):
        msgid.decode(text)


def test_the_contracts_example_is_one() -> None:
    tick, _ = msgid.decode("EDCZL-SY32-243Y-VWQ")
    assert 1_500_000_000_000 < msgid.milliseconds_of(tick) < 1_800_000_000_000
