"""The three ways to receive, behind one face: connect, await messages and notices, know the cursor, close.

Law: a listener keeps all it received in order of arrival, checks each item's shape, ends once; what ended it
(``bye``, close code, transport error) can be awaited. Waiting has a limit and says what had come instead.
"""

import asyncio
import json
import ssl
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import httpx
import websockets
from websockets.asyncio.client import ClientConnection, connect

from tests.clients.event_stream import EventStreamParser

Message = dict[str, Any]
Notice = dict[str, Any]

MESSAGE_FIELDS: Final = {
    "MsgId",
    "ConversationID",
    "FromSession",
    "SendTime",
    "Status",
    "Type",
    "Content",
    "Seq",
}
WAIT_SECONDS: Final = 10.0
PLAIN: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used, all connections are plain: without it every client would load certificates."""


class RefusedError(Exception):
    """The connecting request was answered by an error instead of a stream."""

    def __init__(self, status: int, headers: httpx.Headers, content: bytes) -> None:
        super().__init__(f"{status} {content[:300]!r}")
        self.status, self.headers, self.content = status, headers, content


@dataclass(frozen=True)
class Ending:
    """How a connection ended: close code (ws only), the ``bye`` notice if any, a transport error."""

    code: int | None
    bye: Notice | None
    error: str | None = None


class Listener(ABC):
    """One push connection (poll: a chain of polls) of one session."""

    protoc: ClassVar[str]

    def __init__(self, url: str, token: str, since: str | None = None) -> None:
        self.url = url
        self.token = token
        self.cursor = since
        self.received: list[dict[str, Any]] = []
        self.messages: list[Message] = []
        self.notices: list[Notice] = []
        self.ending: Ending | None = None
        self._of: defaultdict[str, list[Message]] = defaultdict(list)
        self._taken = 0
        self._notices_taken: set[int] = set()
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        last = [json.dumps(item)[:200] for item in self.received[-12:]]
        counted = f"{len(self.messages)} messages, {len(self.notices)} notices"
        return f"<{self.protoc} {counted}, cursor {self.cursor}, ending {self.ending}, last {last}>"

    @abstractmethod
    async def connect(self) -> Self:
        """Connects; everything committed after it returned will arrive. Raises RefusedError."""

    @abstractmethod
    async def _disconnect(self) -> None:
        """Cuts the transport without ceremony."""

    async def close(self) -> None:
        """Disconnects as a client does that loses its network; may be repeated."""
        reader, self._reader = self._reader, None
        try:
            if reader is not None:
                reader.cancel()
                with suppress(asyncio.CancelledError):
                    await reader
        finally:
            await self._disconnect()

    async def wait_until(self, condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        """Returns when the condition holds, looking at each arrival; fails when the connection ends."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not condition():
            assert self.ending is None, f"ended too early: {self!r}"
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                raise AssertionError(f"nothing came in {seconds} s: {self!r}") from None

    async def message(self, seconds: float = WAIT_SECONDS) -> Message:
        """The next message not yet taken."""
        await self.wait_until(lambda: len(self.messages) > self._taken, seconds)
        self._taken += 1
        return self.messages[self._taken - 1]

    async def messages_in(self, conversation: str, count: int, seconds: float = WAIT_SECONDS) -> list[Message]:
        """Waits for at least ``count`` messages of the conversation; returns all of it that arrived."""
        await self.wait_until(lambda: len(self.of(conversation)) >= count, seconds)
        return self.of(conversation)

    def of(self, conversation: str) -> list[Message]:
        """The conversation's messages so far, in order of arrival."""
        return self._of[conversation]

    def texts(self, conversation: str) -> list[str]:
        """Their contents."""
        return [message["Content"] for message in self.of(conversation)]

    async def notice(self, event: str, conversation: str | None = None, seconds: float = WAIT_SECONDS) -> Notice:
        """The next notice of this name (and conversation) not yet taken."""

        def waiting() -> list[int]:
            return [
                index
                for index, notice in enumerate(self.notices)
                if index not in self._notices_taken
                and notice["Event"] == event
                and conversation in (None, notice.get("ConversationID"))
            ]

        await self.wait_until(lambda: bool(waiting()), seconds)
        index = waiting()[0]
        self._notices_taken.add(index)
        return self.notices[index]

    def notices_of(self, conversation: str) -> list[Notice]:
        """The conversation's notices so far."""
        return [notice for notice in self.notices if notice.get("ConversationID") == conversation]

    async def ended(self, seconds: float = WAIT_SECONDS) -> Ending:
        """Waits for the server to end the connection."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self.ending is None:
            self._changed.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                raise AssertionError(f"still open after {seconds} s: {self!r}") from None
        return self.ending

    def _arrived(self, item: dict[str, Any]) -> None:
        """Sorts one pushed object; its shape must be that of a message or of a notice."""
        if "Event" in item:
            assert "MsgId" not in item, item
            self.notices.append(item)
        else:
            assert set(item) == MESSAGE_FIELDS, item
            self.messages.append(item)
            self._of[item["ConversationID"]].append(item)
        self.received.append(item)
        self._changed.set()

    def _end(self, code: int | None, error: str | None = None) -> None:
        bye = next((notice for notice in self.notices if notice["Event"] == "bye"), None)
        self.ending = Ending(code, bye, error)
        self._changed.set()


class WsListener(Listener):
    """A WebSocket; can also call methods over it."""

    protoc = "ws"

    def __init__(self, url: str, token: str, since: str | None = None, **options: Any) -> None:
        super().__init__(url, token, since)
        self.answers: list[dict[str, Any]] = []
        self._options = options
        self.calls = 0
        self._socket: ClientConnection | None = None

    @property
    def socket(self) -> ClientConnection:
        """The connection itself, for frames no good client sends."""
        assert self._socket is not None
        return self._socket

    async def connect(self) -> Self:
        since = {} if self.cursor is None else {"since": self.cursor}
        address = httpx.URL(self.url.replace("http", "ws", 1) + "/notify").copy_merge_params(
            {"token": self.token, "protoc": "ws", **since}
        )
        options = {
            "max_size": None,
            "ping_interval": None,
            "compression": None,
            "proxy": None,
        } | self._options
        self._socket = await connect(str(address), close_timeout=2, **options)
        self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        try:
            async for frame in self.socket:
                assert isinstance(frame, str), "a binary frame"
                item = json.loads(frame)
                if "code" in item:
                    self.answers.append(item)
                    self._changed.set()
                    continue
                self._arrived(item)
                self.cursor = item.get("MsgId", self.cursor)
        except websockets.ConnectionClosed:
            pass
        except (AssertionError, ValueError) as error:
            self._end(None, repr(error))
            raise
        self._end(self.socket.close_code)

    def pause(self) -> None:
        """Stops reading, as a process does that hangs: what arrives stays in the socket."""
        self.socket.transport.pause_reading()

    def go_on(self) -> None:
        """Reads again."""
        self.socket.transport.resume_reading()

    async def answer(self, identifier: Any, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """Waits for the answer to the call with this id."""

        def found() -> dict[str, Any] | None:
            return next((one for one in self.answers if _same(one.get("id"), identifier)), None)

        await self.wait_until(lambda: found() is not None, seconds)
        answer = found()
        assert answer is not None
        return answer

    async def call(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Calls a method and returns its answer object."""
        self.calls += 1
        identifier = f"call-{self.calls}"
        await self.socket.send(json.dumps({"id": identifier, "method": method, "params": params or {}}))
        return await self.answer(identifier)

    async def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.transport.abort()
            await self._socket.wait_closed()


def _same(one: Any, other: Any) -> bool:
    """JSON equality: 1 is not true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


class SseListener(Listener):
    """An EventSource: ``last_event_id`` is sent as the header a reconnecting browser sends."""

    protoc = "sse"

    def __init__(self, url: str, token: str, since: str | None = None, last_event_id: str | None = None) -> None:
        super().__init__(url, token, since)
        self.parser = EventStreamParser()
        self.headers = httpx.Headers()
        self.raw: list[bytes] = []
        self._last_event_id = last_event_id
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(30.0, read=None), trust_env=False, verify=PLAIN)
        self._response: httpx.Response | None = None

    async def connect(self) -> Self:
        params = {"token": self.token, "protoc": "sse"} | ({} if self.cursor is None else {"since": self.cursor})
        headers = {"Accept": "text/event-stream"}
        if self._last_event_id is not None:
            headers["Last-Event-ID"] = self._last_event_id
        request = self._http.build_request("GET", f"{self.url}/notify", params=params, headers=headers)
        response = await self._http.send(request, stream=True)
        if response.status_code != httpx.codes.OK:
            content = await response.aread()
            await self._http.aclose()
            raise RefusedError(response.status_code, response.headers, content)
        self._response, self.headers = response, response.headers
        self._reader = asyncio.create_task(self._read(response))
        return self

    async def _read(self, response: httpx.Response) -> None:
        error = None
        try:
            async for chunk in response.aiter_bytes():
                for event in self.parser.feed(chunk):
                    self._dispatched(event.name, event.data, event.identity)
                self._changed.set()
        except httpx.TransportError as broken:
            error = repr(broken)
        except (AssertionError, ValueError) as wrong:
            self._end(None, repr(wrong))
            raise
        self._end(None, error)

    def _dispatched(self, name: str, data: bytes, identity: str | None) -> None:
        if name == "keep-alive":
            self.parser.keep_alives += 1
            return
        item = json.loads(data)
        self.raw.append(data)
        if name == "message":
            assert identity == item["MsgId"], f"id {identity} on {item}"
        else:
            assert item["Event"] == name, f"event {name} on {item}"
        self._arrived(item)
        self.cursor = identity if identity is not None else self.cursor

    async def _disconnect(self) -> None:
        if self._response is not None:
            await self._response.aclose()
        await self._http.aclose()


class PollListener(Listener):
    """A chain of polls, each with the last answer's Cursor. Without one, its "now" is the first one's end."""

    protoc = "poll"

    def __init__(self, url: str, token: str, since: str | None = None) -> None:
        super().__init__(url, token, since)
        self.polls = 0
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(60.0), trust_env=False, verify=PLAIN)

    async def connect(self) -> Self:
        if self.cursor is None:
            await self._poll()
        self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        error = None
        try:
            while not any(notice["Event"] == "bye" for notice in self.notices):
                await self._poll()
        except (httpx.TransportError, RefusedError) as broken:
            error = repr(broken)
        except (AssertionError, ValueError, KeyError) as wrong:
            self._end(None, repr(wrong))
            raise
        self._end(None, error)

    async def _poll(self) -> None:
        params = {"protoc": "poll"} | ({} if self.cursor is None else {"since": self.cursor})
        headers = {"Authorization": f"Bearer {self.token}"}
        response = await self._http.get(f"{self.url}/notify", params=params, headers=headers)
        if response.status_code != httpx.codes.OK:
            raise RefusedError(response.status_code, response.headers, response.content)
        body = response.json()
        assert body.get("code") == 0, body
        assert set(body) == {"code", "data"}, body
        assert set(body["data"]) == {"Msg", "Event", "Cursor"}, body
        self.polls += 1
        self.cursor = body["data"]["Cursor"]
        for item in body["data"]["Event"] + body["data"]["Msg"]:
            self._arrived(item)

    async def _disconnect(self) -> None:
        await self._http.aclose()
