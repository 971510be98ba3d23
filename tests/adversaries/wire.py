"""A WebSocket client of bytes: writes whatever it is told, right or wrong, and reads what comes back."""

import base64
import json
import os
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

TEXT: Final = 1
BINARY: Final = 2
CONTINUATION: Final = 0
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
SECONDS: Final = 10.0


@dataclass(frozen=True)
class Piece:
    """One frame as a client writes it. ``length`` is what it says, by default what is true."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    reserved: int = 0
    masked: bool = True
    length: int | None = None

    def encode(self, key: bytes = b"\x01\x02\x03\x04") -> bytes:
        """The frame's bytes."""
        length = len(self.payload) if self.length is None else self.length
        first = self.fin << 7 | self.reserved << 4 | self.opcode
        bit = self.masked << 7
        if length < 126:
            head = bytes((first, bit | length))
        elif length < 65_536:
            head = bytes((first, bit | 126)) + length.to_bytes(2, "big")
        else:
            head = bytes((first, bit | 127)) + length.to_bytes(8, "big")
        if not self.masked:
            return head + self.payload
        return head + key + bytes(byte ^ key[number % 4] for number, byte in enumerate(self.payload))


def closing(code: int, reason: bytes = b"") -> Piece:
    """A close frame."""
    return Piece(CLOSE, code.to_bytes(2, "big") + reason)


class RawSocket:
    """A connection to ``/notify`` that has been upgraded; a context manager."""

    def __init__(self, port: int, token: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET /notify?protoc=ws&token={token} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        )
        self.write("\r\n".join((*lines, "", "")).encode())
        while b"\r\n\r\n" not in self._buffer:
            assert self._fill(), f"no handshake: {self._buffer!r}"
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def write(self, data: bytes) -> None:
        """Bytes as they are; one that the server has closed takes none."""
        self._socket.sendall(data)

    def send(self, *pieces: Piece) -> None:
        """Whole frames, in one write."""
        self.write(b"".join(piece.encode() for piece in pieces))

    def end(self) -> None:
        """Nothing more will be written."""
        self._socket.shutdown(socket.SHUT_WR)

    def read(self) -> tuple[int, bytes] | None:
        """The next frame's opcode and payload; None once the server has ended the connection."""
        while (frame := self._take()) is None:
            if not self._fill():
                return None
        return frame

    def answer(self) -> dict[str, Any]:
        """The next text frame, as JSON; notices are passed over. Fails when the connection ends instead."""
        while (frame := self.read()) is not None:
            opcode, payload = frame
            assert opcode == TEXT, frame
            answer: dict[str, Any] = json.loads(payload)
            if "Event" not in answer:
                return answer
        raise AssertionError("the server ended the connection")

    def close_code(self) -> int | None:
        """Of the close frame that comes before the end: 1005 for one without; None when the end comes without it."""
        code = None
        while (frame := self.read()) is not None:
            opcode, payload = frame
            if opcode == CLOSE:
                assert code is None, "two close frames"
                code = int.from_bytes(payload[:2], "big") if payload else 1005
        return code

    def _take(self) -> tuple[int, bytes] | None:
        data = self._buffer
        if len(data) < 2:
            return None
        assert data[0] & 0xF0 == 0x80, "a frame in pieces, or with reserved bits"
        assert not data[1] & 0x80, "a masked frame"
        start, length = 2, data[1]
        if length == 126:
            start, length = 4, int.from_bytes(data[2:4], "big")
        elif length == 127:
            start, length = 10, int.from_bytes(data[2:10], "big")
        if len(data) < start + length:
            return None
        self._buffer = data[start + length :]
        return data[0] & 0x0F, data[start : start + length]

    def _fill(self) -> bool:
        try:
            data = self._socket.recv(65_536)
        except ConnectionResetError:
            return False
        self._buffer += data
        return bool(data)
