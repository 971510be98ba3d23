"""HTTP/1.1 by hand: requests as bytes, and one keep-alive connection with one request in flight.

Law: an answer other than 200, or one without Content-Length, or bytes that belong to no request, ring the
alarm.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from bench.alarm import Alarm, BenchmarkError

JSON_CONTENT = "Content-Type: application/json\r\n"


def request(method: str, path: str, token: str = "", headers: str = "") -> bytes:
    """A request's head with its empty line; ``headers`` are whole lines, each ended by CR LF."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}{headers}\r\n".encode()


def post(path: str, body_bytes: int, token: str = "") -> bytes:
    """The head of a POST whose JSON body of ``body_bytes`` follows."""
    return request("POST", path, token, f"{JSON_CONTENT}Content-Length: {body_bytes}\r\n")


def head_of(received: bytes) -> tuple[int, dict[str, str], int]:
    """Status, headers (names in lower case) and size of the answer's head; 0 when it is not whole yet."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return 0, {}, 0
    lines = received[:end].decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(lines[0].split(" ", 2)[1]), headers, end + 4


class HttpConnection(asyncio.Protocol):
    """One keep-alive connection; ``on_body`` gets the body of every answer."""

    def __init__(self, alarm: Alarm) -> None:
        self.on_body: Callable[[bytes], None] = _unasked
        self._alarm = alarm
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""
        self._waiting = False

    @property
    def is_open(self) -> bool:
        """Whether the server still holds the connection."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def send(self, whole_request: bytes) -> None:
        """Writes the next request; the one before must have been answered."""
        if self._transport is None or self._waiting:
            raise BenchmarkError("a request on a connection that is closed or still waits for its answer")
        self._waiting = True
        self._transport.write(whole_request)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        body = self._whole_body()
        if body is not None:
            self._received, self._waiting = b"", False
            self.on_body(body)

    def _whole_body(self) -> bytes | None:
        """The body of the one answer on its way, or None while a part is missing.

        Reads only the status and the length: a dictionary of all headers would double the cost of an answer.
        """
        received = self._received
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = received[:end].lower()
        place = head.find(b"\r\ncontent-length:")
        if not self._waiting or place < 0 or received[9:12] != b"200":
            raise BenchmarkError(f"unexpected answer: {received[:500].decode('utf-8', 'replace')}")
        line_end = head.find(b"\r\n", place + 2)
        size = int(head[place + 17 : line_end if line_end > 0 else None])
        missing = end + 4 + size - len(received)
        if missing < 0:
            raise BenchmarkError("the server sent more than the answer")
        return received[end + 4 :] if missing == 0 else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting:
            self._alarm.ring(BenchmarkError(f"the server closed an HTTP connection that waited ({exc})"))

    def close(self) -> None:
        """Ends the connection from our side."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None


def _unasked(body: bytes) -> None:
    raise BenchmarkError(f"nobody takes the answer {body!r}")


async def connect(port: int, alarm: Alarm) -> HttpConnection:
    """A new connection to the server on ``port`` of the loopback."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: HttpConnection(alarm), "127.0.0.1", port)
    return connection
