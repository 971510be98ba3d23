"""A node that is none: takes what nginx sends, tells what came, and answers or fails as it is told to.

Law: it shows what nginx does, byte for byte; what the real nodes make of it is shown with real ones.
"""

import asyncio
from types import TracebackType
from typing import Self


class StandIn:
    """Answers every request with 200 and its own head as the body, or hangs up when ``hangs_up``."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = port
        self.hangs_up = False
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self._server: asyncio.Server | None = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                fields = headers_of(head)
                self.bodies.append(await reader.readexactly(int(fields.get("content-length", "0"))))
                if self.hangs_up:
                    return
                answer = head.encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(answer))
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()


def headers_of(head: str) -> dict[str, str]:
    """The header fields of a request's head, names in lower case; fails when one comes twice."""
    pairs = [line.split(": ", 1) for line in head.strip().splitlines()[1:]]
    fields = {name.lower(): value for name, value in pairs}
    assert len(fields) == len(pairs), head
    return fields


class NameServer(asyncio.DatagramProtocol):
    """A name server that answers every question for an IPv4 address with ``addresses``, or that there is none."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self._transport.get_extra_info("sockname")[1]
        return self

    def datagram_received(self, question: bytes, peer: tuple[str, int]) -> None:
        """RFC 1035: the question back, then an A record for each address; code 3 says that there is no such name."""
        assert self._transport is not None
        end = question.index(b"\0", 12) + 5
        code = 0 if self.addresses else 3
        counts = (1).to_bytes(2) + len(self.addresses).to_bytes(2) + bytes(4)
        answer = question[:2] + bytes([0x81, 0x80 | code]) + counts + question[12:end]
        for address in self.addresses:
            # A pointer to the name in the question; type A, class IN, one minute.
            answer += b"\xc0\x0c" + bytes([0, 1, 0, 1, 0, 0, 0, 60, 0, 4]) + bytes(map(int, address.split(".")))
        self._transport.sendto(answer, peer)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._transport is not None
        self._transport.close()
