"""HTTP/1.1 as far as a client of quickim needs it, on asyncio's streams and httptools: one connection a request, but
for requests that follow each other at once and may be repeated.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httptools

from gateway.client.errors import CallFailed

_CHUNK_BYTES = 65_536
_OK = 200


class Answer:
    """One answer: its status and headers, and its body as it comes. Filled by httptools' parser."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.headers: dict[str, str] = {}
        self.is_complete = False
        self.leaves_connection = False
        """Whether another request may follow on its connection."""
        self._reader = reader
        self._has_headers = False
        self._body = bytearray()
        self._parser = httptools.HttpResponseParser(self)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self._parser.get_status_code())

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools'."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """httptools'."""
        self._has_headers = True

    def on_body(self, body: bytes) -> None:
        """httptools'."""
        self._body += body

    def on_message_complete(self) -> None:
        """httptools'."""
        self.is_complete = True
        # A moment later the parser has forgotten it.
        self.leaves_connection = bool(self._parser.should_keep_alive())

    async def begin(self) -> None:
        """Reads the headers."""
        while not self._has_headers:
            await self._read()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, to its end. Raises CallFailed when it breaks off."""
        while True:
            if self._body:
                chunk = bytes(self._body)
                self._body.clear()
                yield chunk
            elif self.is_complete:
                return
            else:
                await self._read()

    async def _read(self) -> None:
        chunk = await self._reader.read(_CHUNK_BYTES)
        if not chunk:
            raise CallFailed(0, "the answer broke off")
        self._parser.feed_data(chunk)


class _Connection:
    """One that is open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, whole_request: bytes) -> Answer:
        """The answer, once its headers are there. Raises CallFailed, OSError or HttpParserError."""
        self._writer.write(whole_request)
        await self._writer.drain()
        answer = Answer(self._reader)
        await answer.begin()
        return answer

    def abort(self) -> None:
        """It ends."""
        with suppress(OSError):
            self._writer.transport.abort()


class Kept:
    """The connection of the request before, for the next one. What is asked may be asked twice: a server that closes a
    connection while a request is under way has answered it or not."""

    def __init__(self) -> None:
        self._connection: _Connection | None = None

    def take(self) -> _Connection | None:
        """It, if there is one; whoever takes it has it alone."""
        connection, self._connection = self._connection, None
        return connection

    def put(self, connection: _Connection) -> None:
        """For the next one."""
        self.close()
        self._connection = connection

    def close(self) -> None:
        """Let go of it; may be repeated."""
        if (connection := self.take()) is not None:
            connection.abort()


@asynccontextmanager
async def request(
    address: str,
    *,
    token: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float,
    kept: Kept | None = None,
) -> AsyncIterator[Answer]:
    """A GET, or with ``body`` a POST; its answer, once its headers are there. Raises CallFailed with code 0 for
    whatever is no answer, also inside the block; ``seconds`` count to the headers. With ``kept``, on the connection
    there if there is one, which then stays."""
    parts = urlsplit(address)
    is_secure = parts.scheme == "https"
    port = parts.port or (443 if is_secure else 80)
    lines = {
        "Host": parts.netloc.rpartition("@")[2],
        "Authorization": f"Bearer {token}",
        "Connection": "close" if kept is None else "keep-alive",
        **(headers or {}),
    }
    if body is not None:
        lines |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = f"{'GET' if body is None else 'POST'} {target} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
    whole_request = head.encode("latin-1") + (body or b"")
    connection = kept.take() if kept is not None else None
    answer: Answer | None = None
    try:
        async with asyncio.timeout(seconds):
            if connection is not None:
                # One that the server closed since says nothing about the server.
                with suppress(CallFailed, OSError):
                    answer = await connection.ask(whole_request)
            if connection is None or answer is None:
                if connection is not None:
                    connection.abort()
                context = _tls() if is_secure else None
                connection = _Connection(*await asyncio.open_connection(parts.hostname, port, ssl=context))
                answer = await connection.ask(whole_request)
        yield answer
        if kept is not None and answer.leaves_connection:
            kept.put(connection)
            connection = None
    except TimeoutError as error:
        raise CallFailed(0, "no answer in time") from error
    except (OSError, EOFError) as error:
        raise CallFailed(0, "no connection") from error
    except httptools.HttpParserError as error:
        raise CallFailed(0, "the answer is no HTTP") from error
    finally:
        if connection is not None:
            connection.abort()


@cache
def _tls() -> ssl.SSLContext:
    """Once: it reads all certificates that the machine trusts."""
    return ssl.create_default_context()


async def payload(answer: Answer) -> Any:
    """What the envelope of ``answer`` holds. Raises CallFailed for a failure, and for what is no envelope."""
    content = b"".join([chunk async for chunk in answer.chunks()])
    try:
        body = json.loads(content)
        code = body["code"]
        text = str(body.get("error", ""))
    except (ValueError, TypeError, KeyError, AttributeError):
        text = f"answered with status {answer.status}, not by quickim"
        raise CallFailed(0, text, status=answer.status, retry_after_seconds=_retry_after(answer)) from None
    if code != 0:
        raise CallFailed(
            int(code),
            text,
            status=answer.status,
            detail=body.get("detail"),
            retry_after_seconds=_retry_after(answer),
        )
    return body["data"]


async def post(address: str, token: str, params: Mapping[str, Any], seconds: float) -> Any:
    """One call, answered within ``seconds``. Raises CallFailed."""
    try:
        async with (
            asyncio.timeout(seconds),
            request(address, token=token, body=json.dumps(params).encode(), seconds=seconds) as answer,
        ):
            return await payload(answer)
    except TimeoutError as error:
        raise CallFailed(0, "no answer in time") from error


def is_stream(answer: Answer) -> bool:
    """Whether an event stream follows."""
    return answer.status == _OK and answer.headers.get("content-type", "").startswith("text/event-stream")


def _retry_after(answer: Answer) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0
