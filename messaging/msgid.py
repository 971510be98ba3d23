"""MsgId: 80 bits as 16 characters, whose byte order is time order. Pure.

Layout, most significant first: 42 bits of Unix milliseconds and 12 bits of counter (together the *tick*), the low 4
bits of the conversation type, 22 bits of the conversation: its internal number through a bijection modulo 2^22. Inside
a conversation the lower 26 bits are constant, so ticks alone order its messages.
"""

import re

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
LENGTH = 19
COUNTER_BITS, TYPE_BITS, CONVERSATION_BITS = 12, 4, 22
LOW_BITS = TYPE_BITS + CONVERSATION_BITS
MAX_TICK = (1 << 54) - 1

_CONVERSATION_MASK = (1 << CONVERSATION_BITS) - 1
_LOW_MASK = (1 << LOW_BITS) - 1
# Any odd factor makes a bijection modulo a power of two; these spread neighbouring numbers.
_FACTOR, _SUMMAND = 2_654_435, 1_597_463
_INVERSE = pow(_FACTOR, -1, 1 << CONVERSATION_BITS)
_PATTERN = re.compile(rf"[{ALPHABET}]{{5}}-[{ALPHABET}]{{4}}-[{ALPHABET}]{{4}}-[{ALPHABET}]{{3}}")
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
# A MsgId is a number to the base of 32, with an alphabet of its own.
_DIGITS = str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv", "-")


def scramble(number: int) -> int:
    """The 22 bits that stand for the conversation with internal ``number``."""
    return (number * _FACTOR + _SUMMAND) & _CONVERSATION_MASK


def unscramble(bits: int) -> int:
    """The conversation's internal number modulo 2^22: the reverse of ``scramble``."""
    return ((bits - _SUMMAND) * _INVERSE) & _CONVERSATION_MASK


def low_bits(conversation_type: int, number: int) -> int:
    """The 26 bits that all MsgIds of a conversation share."""
    return (conversation_type & 15) << CONVERSATION_BITS | scramble(number)


def encode(tick: int, low: int) -> str:
    """The MsgId of ``tick`` (54 bits) and ``low`` (26 bits)."""
    value = tick << LOW_BITS | low
    pairs = _PAIRS
    text = (
        pairs[value >> 70 & 1023]
        + pairs[value >> 60 & 1023]
        + pairs[value >> 50 & 1023]
        + pairs[value >> 40 & 1023]
        + pairs[value >> 30 & 1023]
        + pairs[value >> 20 & 1023]
        + pairs[value >> 10 & 1023]
        + pairs[value & 1023]
    )
    return f"{text[:5]}-{text[5:9]}-{text[9:13]}-{text[13:]}"


def decode(msg_id: str) -> tuple[int, int]:
    """``(tick, low)`` of a well-formed MsgId. Raises ValueError for anything else."""
    if not is_well_formed(msg_id):
        raise ValueError("not a MsgId")
    value = int(msg_id.translate(_DIGITS), 32)
    return value >> LOW_BITS, value & _LOW_MASK


def is_well_formed(text: str) -> bool:
    """Whether ``text`` has the form of a MsgId; it need not exist."""
    return _PATTERN.fullmatch(text) is not None


def tick_at(microseconds: int) -> int:
    """The first tick of the millisecond of ``microseconds`` since the Unix epoch, held within its 54 bits."""
    return min(max(microseconds // 1_000, 0) << COUNTER_BITS, MAX_TICK)


def tick_of(msg_id: str) -> int:
    """The tick of a well-formed MsgId."""
    return decode(msg_id)[0]


def value_of(msg_id: str) -> int:
    """All 80 bits of a well-formed MsgId, as a number in the same order."""
    tick, low = decode(msg_id)
    return tick << LOW_BITS | low


def milliseconds_of(tick: int) -> int:
    """Unix milliseconds of ``tick``."""
    return tick >> COUNTER_BITS


def before_all(tick: int) -> str:
    """The lowest MsgId of ``tick``: nothing of that tick lies below it."""
    return encode(tick, 0)


def after_all(tick: int) -> str:
    """The highest MsgId of ``tick``: nothing of that tick lies above it."""
    return encode(tick, _LOW_MASK)
