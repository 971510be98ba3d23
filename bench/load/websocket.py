"""One WebSocket client connection: handshake, pings answered, text frames handed on.

Law: a close, a lost connection or a frame that was not agreed on rings the alarm, unless we closed it
ourselves.
"""

import asyncio
import base64
import hashlib
import os
from typing import cast

from bench.alarm import Alarm, BenchmarkError
from bench.load.frames import CLOSE, PING, PONG, TEXT, client_frame, server_frames
from bench.load.http import head_of, request

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class WebSocketConnection(asyncio.Protocol):
    """Subclasses say in ``text_received`` what a text frame means."""

    def __init__(self, alarm: Alarm, path: str, token: str) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._alarm = alarm
        self._key = base64.b64encode(os.urandom(16))
        self._handshake = request(
            "GET",
            path,
            token,
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {self._key.decode()}\r\n",
        )
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""
        self._upgraded = False

    def text_received(self, payload: bytes) -> None:
        """One text frame; whatever this raises rings the alarm."""
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(self._handshake)

    def send(self, payload: bytes) -> None:
        """One text frame to the server."""
        self._write(client_frame(payload))

    def _write(self, frame: bytes) -> None:
        if self._transport is None:
            raise BenchmarkError("a frame for a WebSocket that is closed")
        self._transport.write(frame)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if not self._upgraded:
            self._upgrade()
        if self._upgraded:
            frames, used = server_frames(self._received)
            self._received = self._received[used:]
            for opcode, payload in frames:
                if opcode == TEXT:
                    self.text_received(payload)
                else:
                    self._control_received(opcode, payload)

    def _upgrade(self) -> None:
        status, headers, size = head_of(self._received)
        if not size:
            return
        accept = base64.b64encode(hashlib.sha1(self._key + _ACCEPT_GUID, usedforsecurity=False).digest()).decode()
        if status != 101 or headers.get("sec-websocket-accept") != accept:
            raise BenchmarkError(f"no WebSocket: {self._received[:500].decode('utf-8', 'replace')}")
        self._received = self._received[size:]
        self._upgraded = True
        self.opened.set_result(None)

    def _control_received(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._write(client_frame(payload, PONG))
        elif opcode == CLOSE:
            code, reason = int.from_bytes(payload[:2], "big"), payload[2:].decode()
            raise BenchmarkError(f"the server closed a WebSocket: {code} {reason}")
        elif opcode != PONG:
            raise BenchmarkError(f"a frame of opcode {opcode}")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._alarm.ring(BenchmarkError(f"the server dropped a WebSocket ({exc})"))

    def close(self) -> None:
        """Ends the connection from our side; without the closing handshake, which nobody waits for."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
