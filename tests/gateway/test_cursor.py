"""Cursors: what is written can be read back, what is not ours is refused, and none grows over 512 characters."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cursor import EARLY_MICROSECONDS, MAX_CHARACTERS, BadCursor, Cursor, cursor_at, fits, parse
from messaging import msgid

TICKS = st.integers(0, msgid.MAX_TICK)
NUMBERS = st.integers(0, 2**63 - 1)
PAIRS = st.dictionaries(NUMBERS, NUMBERS, max_size=60)
LOWS = st.integers(0, (1 << msgid.LOW_BITS) - 1)
FEW = st.dictionaries(st.integers(1, 2**22), st.integers(1, 2**31), max_size=12)


@given(TICKS, LOWS, FEW, FEW)
def test_what_is_encoded_can_be_read_back(
    tick: int, low: int, positions: dict[int, int], notices: dict[int, int]
) -> None:
    cursor = Cursor(tick, positions, notices, low=low if tick < msgid.MAX_TICK else 0)
    text = cursor.encode()
    assert parse(text) == cursor
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)


@given(st.integers(0, msgid.MAX_TICK - 1), LOWS, PAIRS, PAIRS)
def test_it_fits_512_characters_when_its_positions_do(
    tick: int, low: int, positions: dict[int, int], notices: dict[int, int]
) -> None:
    text = Cursor(tick, positions, notices, low=low).encode()
    if fits(positions):
        assert len(text) <= MAX_CHARACTERS
        read = parse(text)
        assert (read.tick, read.low, read.positions) == (tick, low, positions)
        # Notices are left out as a whole, never in part: the client hears them once more.
        assert read.notices in (notices, {})


@given(st.dictionaries(NUMBERS, NUMBERS, min_size=30, max_size=30))
def test_thirty_ordinary_positions_always_fit(positions: dict[int, int]) -> None:
    ordinary = {number % 2**40: seq % 2**40 for number, seq in positions.items()}
    assert fits(ordinary)


@given(TICKS, LOWS)
def test_a_msgid_is_a_cursor_ten_seconds_early_in_other_conversations(tick: int, low: int) -> None:
    text = msgid.encode(tick, low)
    cursor = parse(text)
    assert cursor.msg_id == text
    assert (cursor.positions, cursor.notices) == ({}, {})
    milliseconds = msgid.milliseconds_of(tick)
    assert cursor.microseconds == max(0, milliseconds * 1_000 - EARLY_MICROSECONDS)
    assert cursor.bound <= msgid.after_all(tick)


@given(TICKS, LOWS)
def test_a_cursors_bound_is_the_last_msgid_of_its_tick(tick: int, low: int) -> None:
    cursor = Cursor(tick)
    assert msgid.encode(tick, low) <= cursor.bound
    assert msgid.value_of(cursor.bound) == cursor.watermark - 1


@given(st.integers(1, msgid.MAX_TICK), LOWS)
def test_a_watermark_within_a_tick_has_delivered_what_lies_below_it(tick: int, low: int) -> None:
    watermark = msgid.value_of(msgid.encode(tick, low))
    cursor = parse(cursor_at(watermark, {}, {}).encode())
    assert (cursor.watermark, cursor.tick) == (watermark, tick - 1)
    assert cursor.bound < msgid.encode(tick, low)
    assert msgid.value_of(cursor.bound) == watermark - 1
    assert tick == msgid.MAX_TICK or cursor.bound < msgid.before_all(tick + 1)


@given(st.one_of(st.text(max_size=600), st.text(alphabet="ABCDabcd0189_-=", max_size=40)))
def test_any_text_is_a_cursor_of_ours_or_refused(text: str) -> None:
    try:
        cursor = parse(text)
    except BadCursor:
        return
    assert text in (cursor.encode(), cursor.msg_id)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_cursor_of_ours_or_refused(raw: bytes) -> None:
    text = urlsafe_b64encode(raw).decode().rstrip("=")
    try:
        cursor = parse(text)
    except BadCursor:
        return
    assert cursor.encode() == text


@given(TICKS, FEW, FEW, st.data())
def test_a_cursor_that_was_cut_or_lengthened_is_refused(
    tick: int, positions: dict[int, int], notices: dict[int, int], data: st.DataObject
) -> None:
    text = Cursor(tick, positions, notices).encode()
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    shorter = raw[: data.draw(st.integers(0, len(raw) - 1))]
    longer = raw + data.draw(st.binary(min_size=1, max_size=4))
    for other in (shorter, longer):
        with pytest.raises(BadCursor):
            parse(urlsafe_b64encode(other).decode().rstrip("="))


@pytest.mark.parametrize(
    "text",
    ["", "x" * 513, "EDCZL-SY32-243Y-VW1", "AQ", "AQAAAA==", " AQAAAA", "AQAAAA\n", "AgAAAA", "ÄQAAAA", "AQAAAB"],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        parse(text)


def test_the_beginning_of_time_is_a_cursor() -> None:
    assert parse(Cursor(0).encode()) == Cursor(0)
