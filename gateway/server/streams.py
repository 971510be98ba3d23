"""An answer that goes on for hours, once its request is forgotten: ``scope["extensions"]["quickim.stream"]``.

Laws: nothing of the request is kept, and no task; what the client sends now is not looked at, and too much of it drops
the connection; an end that nobody takes is given up.
"""

import asyncio
from typing import Any, Protocol

from gateway.server.arrivals import FLOOR_BYTES_PER_SECOND, arrivals

UNTAKEN_SECONDS = 10.0
"""How often it is looked whether the rest of an answer is still being taken."""
MOST_STRAY_BYTES = 65_536
_LAST_CHUNK = b"0\r\n\r\n"


class Source(Protocol):
    """Who writes a stream."""

    def more(self) -> None:
        """The socket takes more."""

    def gone(self) -> None:
        """The connection is over."""


class Stream(asyncio.Protocol):
    """The rest of one chunked answer, after which its connection is closed (gateway.transports.sse.EventWriter)."""

    __slots__ = ("_connections", "_limit_key", "_source", "_stray", "_transport", "takes")

    def __init__(self, transport: Any, source: Source, connections: set[Any], limit_key: str, *, takes: bool) -> None:
        self._transport = transport
        self._source: Source | None = source
        self._connections = connections
        self._limit_key = limit_key
        self._stray = 0
        self.takes = takes
        """Whether the socket takes more at once."""
        connections.add(self)
        transport.set_protocol(self)

    def write(self, data: bytes) -> None:
        """A piece of the answer, at once."""
        global _framed
        if data is not _framed[0]:
            _framed = data, b"%x\r\n%b\r\n" % (len(data), data)
        self._transport.write(_framed[1])

    def end(self) -> None:
        """That was the last piece."""
        self._source, self.takes = None, False
        self._transport.write(_LAST_CHUNK)
        self._transport.close()

    def hurry(self, seconds: float) -> None:
        """The end is near: whoever takes nothing for so long is dropped."""
        asyncio.get_running_loop().call_later(seconds, give_up_untaken, self._transport)

    def pause_writing(self) -> None:
        """The socket is behind."""
        self.takes = False

    def resume_writing(self) -> None:
        """It took most of what was written."""
        if self._source is not None:
            self.takes = True
            self._source.more()

    def data_received(self, data: bytes) -> None:
        """The answer said that the connection will be closed: there is nothing more to ask for."""
        self._stray += len(data)
        if self._stray > MOST_STRAY_BYTES:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self.takes = False
        self._connections.discard(self)
        arrivals().leave(self._limit_key)
        source, self._source = self._source, None
        if source is not None:
            source.gone()

    def shutdown(self) -> None:
        """uvicorn shuts down, which the source was told before."""


_framed = (b"", b"")
"""The last piece and its chunk: one event goes to many streams in a row."""


def give_up_untaken(transport: asyncio.Transport, before: int | None = None) -> None:
    """Drop ``transport`` once it stays behind with what it had to write ``before``."""
    pending = transport.get_write_buffer_size()
    if before is not None and before - pending < UNTAKEN_SECONDS * FLOOR_BYTES_PER_SECOND:
        transport.abort()
    else:
        asyncio.get_running_loop().call_later(UNTAKEN_SECONDS, give_up_untaken, transport, pending)
