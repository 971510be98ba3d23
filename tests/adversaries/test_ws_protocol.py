"""RFC 6455 against the server itself: the groups 1 to 7 of what Autobahn asks, through frames made by hand.

``script/autobahn`` runs the suite itself where there is a Python 2.7 (docs/security.md); these run everywhere.
"""

import json
import random
import time
from collections.abc import Callable

import pytest

from tests.adversaries.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Piece, RawSocket, closing

Connect = Callable[[], RawSocket]

PROTOCOL_ERROR = 1002
INVALID_DATA = 1007


def a_call(identifier: str) -> bytes:
    """A call that is answered with this id."""
    return json.dumps({"id": identifier, "method": "ping"}, ensure_ascii=False).encode()


def still_answers(socket: RawSocket) -> bool:
    """Whether the connection goes on."""
    socket.send(Piece(TEXT, a_call("still here")))
    return bool(socket.answer()["id"] == "still here")


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 1, 64, 125, 126, 127, 128, 65_535, 65_536, 200_000])
def test_a_message_of_any_size_is_read_whole(connect: Connect, opcode: int, size: int) -> None:
    payload = a_call("." * size)
    padding = b" " * max(0, size - len(payload))
    with connect() as socket:
        socket.send(Piece(opcode, payload + padding))
        answer = socket.answer()
        assert answer == {"id": "." * size, "code": 0, "data": answer["data"]}


def test_a_message_may_come_byte_by_byte(connect: Connect) -> None:
    with connect() as socket:
        for byte in Piece(TEXT, a_call("slowly")).encode():
            socket.write(bytes((byte,)))
        assert socket.answer()["id"] == "slowly"


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(range(125)), b"\xfe" * 125], ids=len)
def test_a_ping_is_answered_with_what_it_held(connect: Connect, payload: bytes) -> None:
    with connect() as socket:
        socket.send(Piece(PING, payload))
        assert socket.read() == (PONG, payload)
        assert still_answers(socket)


def test_pings_are_answered_in_order_also_amid_a_message(connect: Connect) -> None:
    call = a_call("amid")
    with connect() as socket:
        socket.send(
            Piece(PING, b"1"),
            Piece(TEXT, call[:5], fin=False),
            Piece(PING, b"2"),
            Piece(CONTINUATION, b"", fin=False),
            Piece(PING, b"3"),
            Piece(CONTINUATION, call[5:]),
        )
        assert [socket.read() for _ in range(3)] == [(PONG, b"1"), (PONG, b"2"), (PONG, b"3")]
        assert socket.answer()["id"] == "amid"


def test_pongs_that_nobody_asked_for_are_passed_over(connect: Connect) -> None:
    with connect() as socket:
        socket.send(Piece(PONG), Piece(PONG, b"unasked"))
        assert still_answers(socket)


VIOLATIONS: dict[str, tuple[Piece, ...]] = {
    **{f"reserved bits {bits}": (Piece(TEXT, b"x", reserved=bits),) for bits in range(1, 8)},
    **{f"reserved bits {bits} of a ping": (Piece(PING, b"x", reserved=bits),) for bits in (1, 2, 4)},
    **{f"opcode {opcode}": (Piece(opcode, b"x"),) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "an unmasked frame": (Piece(TEXT, b"{}", masked=False),),
    "a ping of 126 bytes": (Piece(PING, b"." * 126),),
    "a ping in pieces": (Piece(PING, b"x", fin=False), Piece(CONTINUATION, b"y")),
    "a pong in pieces": (Piece(PONG, b"x", fin=False), Piece(CONTINUATION, b"y")),
    "a close in pieces": (Piece(CLOSE, b"\x03\xe8", fin=False), Piece(CONTINUATION, b"y")),
    "a continuation of nothing": (Piece(CONTINUATION, b"x"),),
    "an unfinished continuation of nothing": (Piece(CONTINUATION, b"x", fin=False), Piece(TEXT, b"y")),
    "a continuation after the end": (
        Piece(TEXT, b"{", fin=False),
        Piece(CONTINUATION, b"}"),
        Piece(CONTINUATION, b"x"),
    ),
    "a text amid a text": (Piece(TEXT, b"{", fin=False), Piece(TEXT, b"{}")),
    "a binary amid a text": (Piece(TEXT, b"{", fin=False), Piece(BINARY, b"{}")),
    "a close of one byte": (Piece(CLOSE, b"\x03"),),
    "a close of 126 bytes": (closing(1000, b"." * 124),),
    **{
        f"close code {code}": (closing(code),)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
}


@pytest.mark.parametrize("pieces", VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_violation_of_the_protocol_ends_the_connection(connect: Connect, pieces: tuple[Piece, ...]) -> None:
    with connect() as socket:
        socket.send(*pieces)
        assert socket.close_code() == PROTOCOL_ERROR


@pytest.mark.parametrize("pieces", VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_violation_amid_good_messages_ends_the_connection(connect: Connect, pieces: tuple[Piece, ...]) -> None:
    """Short messages in a row are read on a shorter way: what breaks the row must still be noticed."""
    with connect() as socket:
        assert still_answers(socket)
        socket.send(Piece(TEXT, a_call("one")), Piece(TEXT, a_call("two")), *pieces)
        assert socket.close_code() == PROTOCOL_ERROR


@pytest.mark.parametrize("seed", range(20))
def test_messages_may_be_cut_and_joined_anywhere(connect: Connect, seed: int) -> None:
    choice = random.Random(seed)
    pieces, expected = [], []
    for number in range(40):
        name = f"{number} " + "é" * choice.choice([0, 1, 40, 50, 60, 200, 32_800])
        call = a_call(name)
        expected.append(name)
        kind = choice.randrange(6)
        if kind == 0:
            cut = choice.randrange(len(call))
            pieces += [Piece(TEXT, call[:cut], fin=False), Piece(PONG), Piece(CONTINUATION, call[cut:])]
        elif kind == 1:
            pieces += [Piece(BINARY, call), Piece(PONG, b"x")]
        else:
            pieces.append(Piece(TEXT, call))
    data = b"".join(piece.encode(choice.randbytes(4)) for piece in pieces)
    with connect() as socket:
        while data:
            size = choice.choice([1, 2, 5, 7, 100, 1_000, 100_000])
            socket.write(data[:size])
            data = data[size:]
            if choice.random() < 0.05:
                time.sleep(0.002)
        assert [socket.answer()["id"] for _ in expected] == expected


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999], ids=str
)
def test_a_close_is_answered_with_its_code(connect: Connect, code: int) -> None:
    with connect() as socket:
        socket.send(closing(code, "schön war’s".encode()))
        assert socket.close_code() == code


def test_a_close_may_be_empty_or_as_long_as_a_control_frame(connect: Connect) -> None:
    with connect() as socket:
        socket.send(Piece(CLOSE))
        assert socket.close_code() == 1005
    with connect() as socket:
        socket.send(closing(1000, b"." * 123))
        assert socket.close_code() == 1000


def test_a_close_may_come_amid_a_message(connect: Connect) -> None:
    with connect() as socket:
        socket.send(Piece(TEXT, b'{"id', fin=False), closing(1000), Piece(CONTINUATION, b"}"))
        assert socket.close_code() == 1000


def test_nothing_counts_after_a_close(connect: Connect) -> None:
    with connect() as socket:
        socket.send(closing(1000), Piece(PING, b"x"), Piece(TEXT, a_call("too late")), closing(1001))
        assert socket.read() == (CLOSE, b"\x03\xe8")
        assert socket.read() is None


def test_a_reason_that_is_no_text_is_an_error(connect: Connect) -> None:
    with connect() as socket:
        socket.send(closing(1000, b"\xce\xba\xff"))
        assert socket.close_code() in (PROTOCOL_ERROR, INVALID_DATA)


TEXTS = {
    "of two bytes": "é",
    "of three bytes": "€ \ufeff \ufffd \uffff",
    "of four bytes": "🦀 \U0010ffff",
    "of all sizes": "$¢ह€𐍈",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_utf_8_may_be_cut_anywhere(connect: Connect, text: str) -> None:
    call = a_call(text)
    with connect() as socket:
        for place in range(len(call) + 1):
            socket.send(Piece(TEXT, call[:place], fin=False), Piece(CONTINUATION, call[place:]))
            assert socket.answer()["id"] == text


NO_TEXT = {
    "a lone continuation": b"\x80",
    "a byte that never occurs": b"\xff",
    "an overlong slash": b"\xc0\xaf",
    "an overlong NUL": b"\xe0\x80\x80",
    "a surrogate": b"\xed\xa0\x80",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "a cut character": b"\xe2\x82",
    "five bytes": b"\xf8\x88\x80\x80\x80",
}


@pytest.mark.parametrize("data", NO_TEXT.values(), ids=NO_TEXT)
def test_text_that_is_none_ends_the_connection(connect: Connect, data: bytes) -> None:
    with connect() as socket:
        socket.send(Piece(TEXT, b'{"id":"' + data + b'"}'))
        assert socket.close_code() == INVALID_DATA
    with connect() as socket:
        socket.send(Piece(TEXT, b'{"id":"' + data[:1], fin=False), Piece(CONTINUATION, data[1:]))
        assert socket.close_code() == INVALID_DATA


def test_binary_that_is_no_text_is_a_bad_call(connect: Connect) -> None:
    with connect() as socket:
        socket.send(Piece(BINARY, b"\xff\xfe"))
        assert socket.answer()["code"] == 10001
        assert still_answers(socket)
