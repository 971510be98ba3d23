"""A message's content, the same 300 bytes for every peer: its number in ten digits, a space, and filling.

Law: the filling is found as a whole, so a message that was cut or changed under way does not count.
"""

from collections.abc import Iterator

from bench.load.senders import CONTENT_BYTES

_DIGITS = 10
_FILLING = b" " + b"m" * (CONTENT_BYTES - _DIGITS - 1)


def content(number: int) -> bytes:
    """The content of message ``number``."""
    return b"%010d%b" % (number, _FILLING)


def number_in(received: bytes) -> int:
    """The number of the message in ``received``; 0 when there is none."""
    place = received.find(_FILLING)
    return int(received[place - _DIGITS : place]) if place >= _DIGITS else 0


def numbers_in(received: bytes) -> Iterator[tuple[int, int]]:
    """The number of each message in ``received``, and where its content ends."""
    end = 0
    while (place := received.find(_FILLING, end)) >= _DIGITS:
        end = place + len(_FILLING)
        yield int(received[place - _DIGITS : place]), end
