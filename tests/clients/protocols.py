"""The three ways to receive: a WebSocket, an event stream, a chain of polls.

Law: nothing is repaired here. A binary frame, an event whose ``id`` is not its MsgId, a poll with a field too many end
the listener with an error, which also fails the test when its connections are closed.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, Self

import httpx
import websockets
from websockets.asyncio.client import ClientConnection, connect

from tests.clients.event_stream import EventStreamParser
from tests.clients.listener import WAIT_SECONDS, Listener, RefusedError

PLAIN: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Never used, all connections are plain: without it every client would load certificates."""


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
    """A chain of polls, each with the last answer's Cursor. Without one, its "now" is the first one's end.

    ``next_url`` tells each poll where to go; without ``keep_alive`` each is a connection of its own.
    """

    protoc = "poll"

    def __init__(
        self,
        url: str,
        token: str,
        since: str | None = None,
        next_url: Callable[[], str] | None = None,
        *,
        keep_alive: bool = True,
    ) -> None:
        super().__init__(url, token, since)
        self.polls = 0
        self.asked = 0.0
        """When the latest poll began, of the monotonic clock."""
        self._next_url = next_url or (lambda: url)
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(60.0),
            trust_env=False,
            verify=PLAIN,
            limits=httpx.Limits(max_keepalive_connections=None if keep_alive else 0),
        )

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
        self.asked = time.monotonic()
        response = await self._http.get(f"{self._next_url()}/notify", params=params, headers=headers)
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
