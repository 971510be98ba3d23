"""Refused calls of all sorts, each with marks of its own: what stands in a log afterwards is searched for these.

A mark is a token, a part of one, a session or a content. Some carry characters that would forge a line.
"""

import asyncio
import json
import random
import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import websockets
from websockets.asyncio.client import connect

from tests.clients import mint
from tests.clients.protocols import PLAIN
from tests.clients.tokens import JWT_KEYS

BREAKS = ("\r\n", "\n", "\r", "\x1b[2J\x1b[31m", "\u2028", "\u2029", "\x85", "\x0b", "\x00", "\u202e")
FORGED = "ERROR-FORGED-LINE"


@dataclass
class Marks:
    """Makes marks that stand nowhere else, and remembers them."""

    chance: random.Random
    made: list[str] = field(default_factory=list)

    def new(self, kind: str) -> str:
        """A word of 20 random letters behind ``kind``."""
        mark = f"{kind}{''.join(self.chance.choices('bcdfghjklmnpqrstvwxz', k=20))}"
        self.made.append(mark)
        return mark

    def broken(self, kind: str) -> str:
        """One with something in it that would begin a line, or steer a terminal."""
        return f"{self.new(kind)}{self.chance.choice(BREAKS)}{FORGED} {self.new(kind)}"

    def token(self) -> str:
        """A bad token: no JWT, or one that is expired, of another key, of no valid session, cut off."""
        session = self.new("session")
        made = [
            self.new("token"),
            mint(session, lifetime_seconds=-3_600),
            mint(session, lifetime_seconds=3_600, kid=None, iss="somebody"),
            mint("x" * 300 + session),
            mint(session)[:-6] + "AAAAAA",
            mint(session, kid="new").rpartition(".")[0] + ".",
        ]
        token = self.chance.choice(made)
        # Each part by itself gives something away, but the header, which says only how it was signed.
        self.made += [part for part in token.split(".")[1:] if len(part) > 8] + ([token] if len(token) > 8 else [])
        return token


class Refusals:
    """One client that is refused all the time."""

    def __init__(self, port: int, room: str, seed: int) -> None:
        self.marks = Marks(random.Random(seed))
        self.calls = 0
        self._port, self._room = port, room
        self._member = mint(self.marks.new("stranger"))
        self.marks.made += self._member.split(".")[1:]
        self._http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=PLAIN, timeout=60)

    async def run(self, count: int) -> None:
        """So many refused calls, in turn."""
        kinds = [
            self._bad_token,
            self._bad_token_in_address,
            self._bad_body,
            self._wrong_host,
            self._no_member,
            self._too_large,
            self._unknown_path,
            self._broken_headers,
            self._inner,
            self._push,
            self._bad_ticket,
        ]
        async with self._http:
            while self.calls < count:
                await kinds[self.calls % len(kinds)]()
                self.calls += 1
                if self.calls % 200 == 0:
                    await self._sockets()
                    await asyncio.to_thread(self._raw)

    async def _refused(self, method: str, path: str, **options: Any) -> None:
        answer = await self._http.request(method, path, **options)
        # The desk's way is to its login.
        assert answer.status_code >= 300 or answer.json()["code"], (path, answer.text)

    async def _bad_token(self) -> None:
        headers = {"Authorization": f"Bearer {self.marks.token()}"}
        body = {"conversation_id": self._room, "content": self.marks.broken("content")}
        await self._refused("POST", "/send_msg", json=body, headers=headers)

    async def _bad_token_in_address(self) -> None:
        await self._refused("POST", "/get_joined_conversation", params={"token": self.marks.token()})

    async def _bad_ticket(self) -> None:
        await self._refused("GET", "/notify", params={"protoc": "poll", "ticket": self.marks.new("ticket")})

    async def _bad_body(self) -> None:
        mark = self.marks.broken("content")
        body = self.marks.chance.choice(
            [
                f'{{"content": "{mark}',
                json.dumps({"conversation_id": mark, "content": mark}),
                json.dumps({"conversation_id": self._room, "content": 7, "type": mark, mark: mark}),
                json.dumps([mark]),
                "[" * 2_000 + mark,
                json.dumps({"conversation_id": self._room, "content": mark, "client_msg_id": mark * 9}),
            ]
        )
        await self._refused("POST", "/send_msg", content=body.encode(), headers=self._known())

    async def _wrong_host(self) -> None:
        headers = {"Host": f"{self.marks.new('host')}.example.com", **self._known()}
        await self._refused("POST", "/send_msg", headers=headers)

    async def _no_member(self) -> None:
        body = {"conversation_id": self._room, "content": self.marks.broken("content")}
        await self._refused("POST", "/send_msg", json=body, headers=self._known())

    async def _too_large(self) -> None:
        body = {"conversation_id": self._room, "content": self.marks.new("content") + "x" * 5_000}
        await self._refused("POST", "/send_msg", json=body, headers=self._known())

    async def _unknown_path(self) -> None:
        folder = self.marks.chance.choice(["", "static/", "admin/", "playground/", "inner/"])
        await self._refused("GET", f"/{folder}{quote(self.marks.broken('path'))}", headers=self._known())

    async def _broken_headers(self) -> None:
        headers = [
            (b"Authorization", b"Bearer " + self.marks.token().encode()),
            (b"X-Request-Id", f"{self.marks.new('id')}\x1b[2J {FORGED}".encode()),
            (b"X-Forwarded-For", self.marks.new("forwarded").encode()),
            (b"Origin", f"https://{self.marks.new('origin')}".encode()),
            (b"User-Agent", f"\x1b]0;{self.marks.new('agent')}\x85".encode("latin-1")),
        ]
        await self._refused("POST", "/send_msg", headers=headers)

    async def _inner(self) -> None:
        session = self.marks.broken("session")
        body = {"session": session * 9, "platform": self.marks.new("platform")}
        await self._refused("POST", "/inner/get_token", json=body, headers={"X-Api-Key": self.marks.new("key")})

    async def _push(self) -> None:
        protocol = self.marks.chance.choice(["sse", "poll", self.marks.new("protoc")])
        params = {"protoc": protocol, "token": self.marks.token(), "since": self.marks.broken("since")}
        if self.marks.chance.random() < 0.5:
            await self._refused("GET", "/notify", params=params)
        else:
            headers = {"Authorization": f"Bearer {params.pop('token')}", "Last-Event-ID": self.marks.new("event")}
            await self._refused("GET", "/notify", params=params, headers=headers)

    async def _sockets(self) -> None:
        address = f"ws://127.0.0.1:{self._port}/notify"
        for query in (f"?token={self.marks.token()}", f"?ticket={self.marks.new('ticket')}", ""):
            async with connect(address + query, proxy=None) as refused:
                assert json.loads(await refused.recv())["Event"] == "bye"
                self.calls += 1
        async with connect(f"{address}?token={self._member}", proxy=None, subprotocols=None) as member:
            for frame in self._frames():
                await member.send(frame)
                assert json.loads(await member.recv())["code"] != 0
                self.calls += 1

    def _frames(self) -> list[str | bytes]:
        mark, token = self.marks.broken("content"), self.marks.token()
        return [
            f'{{"id": "{self.marks.new("call")}", "method"',
            json.dumps({"id": self.marks.broken("call"), "method": self.marks.broken("method")}),
            json.dumps({"id": 1, "method": "send_msg", "params": {"conversation_id": self._room, "content": mark}}),
            json.dumps({"id": 2, "method": "send_msg", "params": {"conversation_id": mark, "content": mark}}),
            json.dumps({"id": 3, "method": "refresh", "params": {"token": token}}),
            json.dumps({"id": 4, "method": "refresh", "params": {"token": mark}}),
            mark.encode(),
        ]

    def _raw(self) -> None:
        """What no library would send: lines that break off, requests that are none."""
        for text in (
            f"GET /{self.marks.new('path')}\r{FORGED} HTTP/1.1\r\nHost: localhost\r\n\r\n",
            f"{self.marks.new('verb')}\x1b[2J / HTTP/9.9\r\n\r\n",
            f"GET /notify?token={self.marks.new('token')} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {self.marks.new('key')}\r\n\r\n",
            f"POST /send_msg HTTP/1.1\r\nHost: localhost\r\nContent-Length: {self.marks.new('length')}\r\n\r\n",
            f"POST /send_msg HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n{self.marks.new('content')}",
        ):
            with socket.create_connection(("127.0.0.1", self._port), timeout=10) as client:
                client.sendall(text.encode())
                client.shutdown(socket.SHUT_WR)
                while client.recv(4_096):
                    pass
            self.calls += 1

    def _known(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._member}"}


SECRETS = tuple(JWT_KEYS.values())
ENDED = (websockets.ConnectionClosed, httpx.TransportError)
