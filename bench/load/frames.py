"""WebSocket frames (RFC 6455, section 5) as bytes: the client's masked ones, and a scanner for the server's.

Law: pure, no input or output. Extensions are never offered, so a reserved bit, a masked frame or a fragment
from the server is a failure and not something to cope with.
"""

import os
from functools import cache

from bench.alarm import BenchmarkError

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA

# One key for the whole run is enough: the server does the same work as with a new one for each frame.
_KEY = os.urandom(4)

Frame = tuple[int, bytes]
"""Opcode and payload."""


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One final, masked frame."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    masked = int.from_bytes(payload, "little") ^ _mask(size)
    return head + _KEY + masked.to_bytes(size, "little")


@cache
def _mask(size: int) -> int:
    return int.from_bytes((_KEY * (size // 4 + 1))[:size], "little")


def server_frames(received: bytes) -> tuple[list[Frame], int]:
    """The whole frames at the start of ``received``, and how many bytes they take."""
    frames: list[Frame] = []
    position, end = 0, len(received)
    while end - position >= 2:
        first, size = received[position], received[position + 1]
        if not first & 0x80 or first & 0x70 or size & 0x80:
            raise BenchmarkError(f"a frame that was not agreed on: {received[position : position + 2].hex()}")
        start = position + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if end - start < width:
                break
            size = int.from_bytes(received[start : start + width], "big")
            start += width
        if end - start < size:
            break
        position = start + size
        frames.append((first & 0x0F, received[start:position]))
    return frames, position
