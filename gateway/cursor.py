"""Cursors: where a client stands, over all conversations of its session. Pure.

A MsgId the client has seen is a cursor: exact in its own conversation, ten seconds early in the others, because
conversations commit and arrive slightly out of MsgId order. A poll's own cursor is exact everywhere: a watermark (all
that lies below it was delivered) and the Seq of each conversation that was delivered past it. The watermark may lie
within a tick: one batch gives thousands of conversations a message of the same tick, and they must not all need a
position.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BadBase64
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from messaging import msgid

MAX_CHARACTERS = 512
EARLY_MICROSECONDS = 10_000_000
"""How far back a bare MsgId reaches in conversations that are not its own."""
_WHOLE_TICKS, _WITHIN_A_TICK = 1, 2
"""The two formats: the second has ``low`` after the tick."""
_LARGEST_LOW = (1 << msgid.LOW_BITS) - 1
_NOTHING: Mapping[int, int] = {}


class BadCursor(ValueError):
    """The text is no cursor of ours."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """``tick``: all of it and below was delivered, and of the next tick what lies below ``low``. ``positions`` and
    ``notices``: by conversation's number, the Seq and the member_version told beyond that. ``msg_id``: the bare MsgId
    it came from, whose own conversation is exact."""

    tick: int
    positions: Mapping[int, int] = field(default_factory=dict)
    notices: Mapping[int, int] = field(default_factory=dict)
    msg_id: str = ""
    low: int = 0
    text: str = field(default="", compare=False)
    """As the client spelled it."""

    @property
    def watermark(self) -> int:
        """All MsgIds whose value lies below this one were delivered."""
        return watermark_after(self.tick) + self.low

    @property
    def bound(self) -> str:
        """The highest MsgId that counts as delivered by the watermark alone."""
        return msgid.encode(self.tick + 1, self.low - 1) if self.low else msgid.after_all(self.tick)

    @property
    def microseconds(self) -> int:
        """The tick's time, in microseconds since the Unix epoch."""
        return msgid.milliseconds_of(self.tick) * 1_000

    def encode(self) -> str:
        """The text, 512 characters at most: positions always fit when the caller asked ``fits``; notices that do not
        are left out (the client hears them once more)."""
        text = _encode(self.tick, self.low, self.positions, self.notices)
        return text if len(text) <= MAX_CHARACTERS else _encode(self.tick, self.low, self.positions, _NOTHING)


def watermark_after(tick: int) -> int:
    """The watermark below which lies ``tick``, all of it."""
    return (tick + 1) << msgid.LOW_BITS


def microseconds_below(watermark: int) -> int:
    """The time of the last tick that lies below ``watermark``, all of it."""
    return msgid.milliseconds_of((watermark >> msgid.LOW_BITS) - 1) * 1_000


def cursor_at(watermark: int, positions: Mapping[int, int], notices: Mapping[int, int]) -> Cursor:
    """The cursor of a watermark that lies above the first tick."""
    return Cursor((watermark >> msgid.LOW_BITS) - 1, positions, notices, low=watermark & _LARGEST_LOW)


@lru_cache(maxsize=1_024)
def parse(text: str) -> Cursor:
    """The cursor that ``text`` spells; the members of one conversation often have the same. Raises BadCursor."""
    if msgid.is_well_formed(text):
        tick = msgid.tick_of(text)
        early = msgid.tick_at(msgid.milliseconds_of(tick) * 1_000 - EARLY_MICROSECONDS)
        return Cursor(early, msg_id=text, text=text)
    if not 0 < len(text) <= MAX_CHARACTERS or not text.isascii():
        raise BadCursor
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (BadBase64, ValueError):
        raise BadCursor from None
    reader = _Reader(raw)
    kind = reader.number()
    if kind not in (_WHOLE_TICKS, _WITHIN_A_TICK):
        raise BadCursor
    tick = reader.number()
    low = reader.number() if kind == _WITHIN_A_TICK else 0
    if tick > msgid.MAX_TICK - bool(low) or low > _LARGEST_LOW:
        raise BadCursor
    cursor = Cursor(tick, reader.pairs(), reader.pairs(), low=low, text=text)
    if reader.rest or _encode(cursor.tick, cursor.low, cursor.positions, cursor.notices) != text:
        raise BadCursor
    return cursor


def fits(positions: Mapping[int, int]) -> bool:
    """Whether a cursor with ``positions`` keeps within its 512 characters."""
    return len(_encode(msgid.MAX_TICK, _LARGEST_LOW, positions, _NOTHING)) <= MAX_CHARACTERS


def _encode(tick: int, low: int, positions: Mapping[int, int], notices: Mapping[int, int]) -> str:
    out = bytearray()
    _put(out, _WITHIN_A_TICK if low else _WHOLE_TICKS)
    _put(out, tick)
    if low:
        _put(out, low)
    for pairs in (positions, notices):
        _put(out, len(pairs))
        previous = 0
        for number in sorted(pairs):
            # Differences of sorted numbers are short.
            _put(out, number - previous)
            _put(out, pairs[number])
            previous = number
    return urlsafe_b64encode(bytes(out)).decode().rstrip("=")


def _put(out: bytearray, value: int) -> None:
    """LEB128: seven bits a byte, the lowest first."""
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    @property
    def rest(self) -> bytes:
        return self.raw[self.at :]

    def number(self) -> int:
        value = shift = 0
        while True:
            if self.at >= len(self.raw) or shift > 63:
                raise BadCursor
            byte = self.raw[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                if value >= 1 << 63:
                    raise BadCursor
                return value
            shift += 7

    def pairs(self) -> dict[int, int]:
        pairs: dict[int, int] = {}
        previous = 0
        for _ in range(self.number()):
            previous += self.number()
            if previous >= 1 << 63:
                raise BadCursor
            pairs[previous] = self.number()
        return pairs
