"""The three protocols as streams: each opens or is refused, brings what came, and ends once with a reason."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from gateway.client.errors import (
    CallFailed,
    Ending,
    UnexpectedAnswer,
    ending_of_bye,
    ending_of_close,
    ending_of_failure,
)
from gateway.client.event_stream import EventStreamParser
from gateway.client.events import Protocol
from gateway.client.http import Answer, Kept, is_stream, payload, request
from gateway.client.options import Options
from quickim.tasks import cancel, spawn

ACCEPTED_SECONDS = 1.0
"""A poll that nobody has refused for so long is waiting for messages."""
CLOSE_SECONDS = 1.0
_LOCAL = ("localhost", "127.0.0.1", "::1")
NO_QUICKIM = Ending(reason="this is no quickim server", is_blocked=True, error=UnexpectedAnswer("no quickim server"))


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message or a notice."""

    item: dict[str, Any]
    is_polled: bool = False


@dataclass(frozen=True, slots=True)
class UpTo:
    """All before this is covered by ``cursor``."""

    cursor: str


Arrival = Arrived | UpTo


class Refused(Exception):
    """A stream could not be opened."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


class Stream(ABC):
    """See the module. ``token`` is the one it was opened with."""

    protocol: ClassVar[Protocol]

    def __init__(self, url: str, token: str, since: str, options: Options) -> None:
        self.token = token
        self.ending = Ending(reason="connection lost")
        self.has_heard = False
        """Whether the server ever said anything."""
        self._url, self._since, self._options = url, since, options

    @abstractmethod
    async def open(self) -> None:
        """Returns when it is up. Raises Refused."""

    @abstractmethod
    def arrivals(self) -> AsyncIterator[Arrival]:
        """What comes, until the end; then ``ending`` says why."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the connection; may be repeated."""

    def _address(self, scheme: str = "") -> str:
        parts = urlsplit(self._url + self._options.notify_path)
        query = [*parse_qsl(parts.query), ("protoc", self.protocol)]
        if self._since:
            query.append(("since", self._since))
        return urlunsplit(parts._replace(scheme=scheme or parts.scheme, query=urlencode(query)))


class WebSocketStream(Stream):
    """A WebSocket, kept alive by the library's own pings."""

    protocol = "ws"

    def __init__(self, url: str, token: str, since: str, options: Options) -> None:
        super().__init__(url, token, since, options)
        self._socket: ClientConnection | None = None

    async def open(self) -> None:
        """See Stream."""
        parts = urlsplit(self._url)
        silence = self._options.silence_seconds
        try:
            self._socket = await connect(
                self._address("wss" if parts.scheme == "https" else "ws"),
                # In a header, so that it reaches no log.
                additional_headers={"Authorization": f"Bearer {self.token}"},
                compression=None,
                max_size=None,
                open_timeout=self._options.open_seconds,
                ping_interval=silence / 2,
                ping_timeout=silence / 2,
                close_timeout=CLOSE_SECONDS,
                proxy=None if parts.hostname in _LOCAL else True,
            )
        except (OSError, InvalidHandshake, EOFError, TimeoutError) as error:
            raise Refused(Ending(reason=_kind(error), is_blocked=True, error=error)) from error

    async def arrivals(self) -> AsyncIterator[Arrival]:
        """See Stream."""
        assert self._socket is not None  # noqa: S101  # the types know no order of calls
        bye: dict[str, Any] | None = None
        try:
            # Some proxies take the upgrade and let nothing through: an answer shows that they do.
            with suppress(ConnectionClosed):  # what came before the end is still to be read
                await self._socket.ping()
            async for text in self._socket:
                item = _item(text)
                if item is None:
                    self.ending = NO_QUICKIM
                    return
                self.has_heard = True
                bye = item if item.get("Event") == "bye" else bye
                yield Arrived(item)
        except ConnectionClosed:
            # The code says what to do; it is read below.
            pass
        self.has_heard = self.has_heard or self._socket.latency > 0
        code, reason = self._socket.close_code, self._socket.close_reason
        self.ending = ending_of_bye(bye) if bye else ending_of_close(code, reason)

    async def close(self) -> None:
        """See Stream."""
        if self._socket is not None:
            await self._socket.close()


class SseStream(Stream):
    """Server-sent events."""

    protocol = "sse"

    def __init__(self, url: str, token: str, since: str, options: Options) -> None:
        super().__init__(url, token, since, options)
        self._exits = AsyncExitStack()
        self._chunks: AsyncIterator[bytes] | None = None
        self._first = b""

    async def open(self) -> None:
        """See Stream."""
        seconds = self._options.open_seconds
        try:
            async with asyncio.timeout(seconds):
                opening = request(
                    self._address(), token=self.token, headers={"Accept": "text/event-stream"}, seconds=seconds
                )
                answer: Answer = await self._exits.enter_async_context(opening)
                if not is_stream(answer):
                    await payload(answer)
                    raise Refused(NO_QUICKIM)
                self._chunks = answer.chunks()
                # A proxy that collects a stream before it passes it on is of no use.
                self._first = await anext(self._chunks, b"")
        except CallFailed as error:
            raise Refused(ending_of_failure(error)) from error
        except TimeoutError as error:
            raise Refused(Ending(reason="no stream in time", is_blocked=True, error=error)) from error

    async def arrivals(self) -> AsyncIterator[Arrival]:
        """See Stream."""
        self.has_heard = bool(self._first)
        parser, chunk = EventStreamParser(), self._first
        while chunk:
            for data in parser.feed(chunk):
                item = _item(data)
                if item is None:
                    self.ending = NO_QUICKIM
                    return
                yield Arrived(item)
                if item.get("Event") == "bye":
                    self.ending = ending_of_bye(item)
                    return
            chunk = await self._next()

    async def close(self) -> None:
        """See Stream."""
        await self._exits.aclose()

    async def _next(self) -> bytes:
        assert self._chunks is not None  # noqa: S101  # the types know no order of calls
        try:
            async with asyncio.timeout(self._options.silence_seconds):
                return await anext(self._chunks, b"")
        except (CallFailed, OSError, TimeoutError) as error:
            self.ending = Ending(reason="the stream broke off", error=error)
            return b""


class PollStream(Stream):
    """A chain of polls, each with the Cursor of the one before, on one connection as long as that lasts."""

    protocol = "poll"

    def __init__(self, url: str, token: str, since: str, options: Options) -> None:
        super().__init__(url, token, since, options)
        self._poll: asyncio.Task[dict[str, Any] | CallFailed] | None = None
        self._kept = Kept()

    async def open(self) -> None:
        """See Stream."""
        self._poll = spawn(self._once(), "poll")
        await asyncio.wait({self._poll}, timeout=ACCEPTED_SECONDS)
        if self._poll.done() and isinstance(failed := self._poll.result(), CallFailed):
            raise Refused(ending_of_failure(failed))

    async def arrivals(self) -> AsyncIterator[Arrival]:
        """See Stream."""
        while self._poll is not None:
            answer = await self._poll
            if isinstance(answer, CallFailed):
                self.ending = ending_of_failure(answer)
                return
            self.has_heard = True
            bye = None
            for item in (*answer["Event"], *answer["Msg"]):
                bye = item if item.get("Event") == "bye" else bye
                yield Arrived(item, is_polled=True)
            self._since = answer["Cursor"]
            yield UpTo(self._since)
            if bye is not None:
                self.ending = ending_of_bye(bye)
                return
            self._poll = spawn(self._once(), "poll")

    async def close(self) -> None:
        """See Stream."""
        poll, self._poll = self._poll, None
        if poll is not None:
            await cancel([poll])
        self._kept.close()

    async def _once(self) -> dict[str, Any] | CallFailed:
        seconds = self._options.poll_seconds
        try:
            async with (
                asyncio.timeout(seconds),
                request(self._address(), token=self.token, seconds=seconds, kept=self._kept) as answer,
            ):
                polled = await payload(answer)
                if not isinstance(polled, dict) or not {"Msg", "Event", "Cursor"} <= set(polled):
                    raise CallFailed(0, "this is no answer to a poll", status=answer.status)
                return polled
        except CallFailed as error:
            return error
        except TimeoutError:
            return CallFailed(0, "no answer in time")


STREAMS: dict[Protocol, type[Stream]] = {"ws": WebSocketStream, "sse": SseStream, "poll": PollStream}


def _item(text: str | bytes) -> dict[str, Any] | None:
    try:
        item = json.loads(text)
    except ValueError:
        return None
    return item if isinstance(item, dict) else None


def _kind(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return getattr(error, "strerror", None) or type(error).__name__
