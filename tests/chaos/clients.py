"""The clients of chaos: receivers that roam, senders over a WebSocket, readers of history, readers that stand still.

Law: each draws its chances from a generator of its own, seeded by its name and the run's seed.
"""

import asyncio
import json
import random
import socket
import time
from collections.abc import Sequence
from typing import Any

import httpx

from tests.chaos.history import Page, Stall
from tests.clients import Api, Person, Protoc
from tests.clients.api import CODES, Answer
from tests.clients.listener import Ending, Listener, RefusedError
from tests.clients.protocols import WsListener
from tests.faults.receivers import GONE, Receiver
from tests.faults.senders import ATTEMPT_SECONDS, Sender

PROTOCOLS: tuple[Protoc, ...] = ("ws", "sse", "poll")
STAY_SECONDS = (2.0, 8.0)
ELSEWHERE = 0.3
"""How often a receiver comes back on another protocol, and how often on another node."""
PAGE_SECONDS = 0.3
LOOK_SECONDS = 0.05
PIPE_BYTES = 4096
REVOKED = 4503
"""Whoever gets a new token comes back all the same."""
WIDE_BYTES = 1_048_576


class Roamer(Receiver):
    """A receiver that drops its connection at random and comes back, sometimes elsewhere or on another protocol."""

    stays = STAY_SECONDS
    chances = random.Random(0)
    home: Protoc | None = None
    renews_tokens = False

    def _choose(self) -> int:
        if self.now is None and self._cursor is not None:
            # Back to its own protocol more often than not, so that each is used.
            self.home = self.home or self.protoc
            self.protoc = self.chances.choice(PROTOCOLS) if self.chances.random() < ELSEWHERE else self.home
            self._turn += self.chances.random() < ELSEWHERE
        return super()._choose()

    async def _stay(self, listener: Listener) -> Ending:
        # Without a cursor it would begin anew each time, and miss what came between.
        while listener.cursor is None and listener.ending is None:  # noqa: ASYNC110 - only one who waits is told
            await asyncio.sleep(LOOK_SECONDS)
        async with asyncio.timeout(self.chances.uniform(*self.stays)):
            return await super()._stay(listener)

    def _take_ending(self, listener: Listener, ending: Ending) -> float | None:
        if self.renews_tokens and ending.bye is not None and ending.bye["Code"] == REVOKED:
            self.endings.append(ending)
            return None
        return super()._take_ending(listener, ending)

    def _renews(self, refused: RefusedError) -> bool:
        return super()._renews(refused) or (self.renews_tokens and refused.status == httpx.codes.UNAUTHORIZED)


class WsSender(Sender):
    """Sends over a WebSocket to each node, and dials again when one is gone."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._calling: dict[int, _Calling] = {}
        """By node, those that serve."""
        self._dialled: list[_Calling] = []

    async def _call(self, node: int, fields: dict[str, Any]) -> Answer:
        calling = self._calling.get(node)
        if calling is None or calling.ending is not None:
            self._calling.pop(node, None)
            calling = await self._dial(node)
        return await calling.ask("send_msg", fields)

    async def _dial(self, node: int) -> "_Calling":
        person = self._people[node]
        calling = _Calling(person.api.url, person.token)
        self._dialled.append(calling)
        await calling.connect()
        self._calling[node] = calling
        return calling

    async def close(self) -> None:
        """Hangs up."""
        for calling in self._dialled:
            await calling.close()


class _Calling(WsListener):
    """A WebSocket for calls only: what is pushed is not kept."""

    def _arrived(self, item: dict[str, Any]) -> None:
        if "Event" in item:
            self.notices.append(item)

    async def ask(self, method: str, params: dict[str, Any]) -> Answer:
        """One call's answer in the form of HTTP's. Raises EOFError when the connection ends first."""
        self.calls += 1
        identifier = self.calls
        await self.socket.send(json.dumps({"id": identifier, "method": method, "params": params}))
        while (body := next((one for one in self.answers if one["id"] == identifier), None)) is None:
            if self.ending is not None:
                raise EOFError
            self._changed.clear()
            await self._changed.wait()
        self.answers.remove(body)
        del body["id"]
        status = 200 if body["code"] == 0 else max(CODES[body["code"]][0])
        headers = httpx.Headers({"content-type": "application/json", "x-request-id": "ws"})
        return Answer(status, headers, json.dumps(body).encode())


async def read_history(
    api: Sequence[Api], session: str, rooms: Sequence[str], chances: random.Random, pages: list[Page]
) -> None:
    """Reads pages of random conversations on random nodes until cancelled."""
    people = [Person(one, session) for one in api]
    while True:
        room = chances.choice(rooms)
        person = chances.choice(people)
        start = ""
        if pages and chances.random() < 0.5:
            known = chances.choice(pages)
            room, start = known.conversation, known.msg_ids[0]
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                if start:
                    answer = await person.call(
                        "get_conversation_msg_by_range", conversation_id=room, start_msg_id=start, end_msg_id=""
                    )
                else:
                    answer = await person.call("get_conversation_last_30_msg", conversation_id=room)
        except (httpx.TransportError, TimeoutError):
            pass
        else:
            assert answer.status in (200, 503), f"history answered {answer.status} {answer.content[:300]!r}"
            if answer.status == httpx.codes.OK and (found := tuple(one["MsgId"] for one in answer.data["Msg"])):
                pages.append(Page(time.monotonic(), room, found))
        await asyncio.sleep(PAGE_SECONDS)


class Statue:
    """A reader that connects and then does not read, until it is told to look at how it was cut off."""

    def __init__(self, port: int, node: int, token: str, protoc: Protoc) -> None:
        self._port, self._node, self._token, self._protoc = port, node, token, protoc
        self._began = 0.0
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIPE_BYTES)
        self._ws: WsListener | None = None

    async def stand(self) -> None:
        """Connects and reads no more."""
        await asyncio.to_thread(self._socket.connect, ("127.0.0.1", self._port))
        self._socket.setblocking(False)
        if self._protoc == "ws":
            self._ws = WsListener(f"http://127.0.0.1:{self._port}", self._token, sock=self._socket, max_queue=1)
            await self._ws.connect()
            self._ws.pause()
        else:
            query = httpx.QueryParams({"protoc": "sse", "token": self._token})
            head = f"GET /notify?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
            await asyncio.get_running_loop().sock_sendall(self._socket, head)
        self._began = time.monotonic()

    async def look(self, seconds: float) -> Stall:
        """Reads all that is there, to the end if there is one within this time."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WIDE_BYTES)
        try:
            async with asyncio.timeout(seconds):
                code = await (self._look_ws() if self._ws is not None else self._look_sse())
        except TimeoutError:
            code = None
        return Stall(self._protoc, self._node, self._began, time.monotonic(), code)

    async def close(self) -> None:
        """Hangs up."""
        if self._ws is not None:
            await self._ws.close()
        self._socket.close()

    async def _look_ws(self) -> int | None:
        assert self._ws is not None
        self._ws.go_on()
        return (await self._ws.ended(float("inf"))).code

    async def _look_sse(self) -> int | None:
        """The Code of the ``bye`` event; 0 when the stream ended without one."""
        loop = asyncio.get_running_loop()
        last = b""
        try:
            while chunk := await loop.sock_recv(self._socket, 65536):
                last = (last + chunk)[-4096:]
                if b"event: bye" in last and b"\n\r\n" in last[last.index(b"event: bye") :]:
                    break
        except GONE:
            pass
        found = last.rpartition(b"event: bye")[2]
        return int(json.loads(found[found.index(b"{") : found.index(b"}") + 1])["Code"]) if b"{" in found else 0
