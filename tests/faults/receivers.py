"""Receivers that come back: each follows one session's stream on one protocol, whatever happens to its connections.

Laws: a receiver resumes with the cursor of the last message it processed, waits as long as a ``bye`` tells it, and goes
to the next node when one is gone. What a client must not see (a refusal for good, a ``reset``, a wrong shape) raises.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Any

import httpx
import websockets

from tests.chaos.history import Connection, Delivery, digest
from tests.clients import Protoc
from tests.clients.listener import Ending, Listener, Message, Notice, RefusedError
from tests.clients.protocols import PollListener, SseListener, WsListener

CONNECT_SECONDS = 15.0
PAUSE_SECONDS = (0.05, 0.25)
"""Between two attempts, at random."""
STOP_CODES = range(4500, 5000)
GONE = (httpx.TransportError, OSError, websockets.InvalidHandshake, websockets.ConnectionClosed, EOFError, TimeoutError)
"""What connecting and calling raise when nobody is there, or not any more."""


class _Told(Listener):
    """Tells of each message the moment it arrives."""

    tell: Callable[[Message], None]

    def _arrived(self, item: dict[str, Any]) -> None:
        super()._arrived(item)
        if "MsgId" in item:
            self.tell(item)


class _Ws(_Told, WsListener):
    """Over a WebSocket."""


class _Sse(_Told, SseListener):
    """As an EventSource."""


class _Poll(_Told, PollListener):
    """By polling."""


class Receiver:
    """See the module. ``numbers`` gives each connection a number of its own among those of all receivers.

    ``mint`` makes the token of each connection; ``name`` tells several receivers of one session apart.
    """

    def __init__(
        self,
        session: str,
        mint: Callable[[], str],
        protoc: Protoc,
        urls: Sequence[str],
        first: int,
        numbers: Any,
        name: str = "",
    ) -> None:
        self.session, self.protoc, self.name = session, protoc, name or session
        self.deliveries: list[Delivery] = []
        self.connections: list[Connection] = []
        """Those that ended; ``now`` is the one that has not."""
        self.byes: list[Notice] = []
        self.endings: list[Ending] = []
        self.ending_of: dict[int, Ending] = {}
        """By the connection's number, of those that the server or the network ended."""
        self.connected = asyncio.Event()
        self._arrived = asyncio.Event()
        self.now: Connection | None = None
        self._listener: Listener | None = None
        self._mint, self._urls, self._turn, self._numbers = mint, urls, first, numbers
        self._cursor: str | None = None
        self._seen: set[str] = set()
        self._choice = random.Random(self.name)

    async def run(self) -> None:
        """Receives until cancelled."""
        while True:
            pause = await self._follow(self._choose())
            if pause is None:
                pause = self._choice.uniform(*PAUSE_SECONDS)
            self._turn += 1
            await asyncio.sleep(pause)

    def _choose(self) -> int:
        """The node, and the protocol, of the next connection."""
        return self._turn % len(self._urls)

    async def _stay(self, listener: Listener) -> Ending:
        """How the connection ended; raises TimeoutError when the receiver itself has had enough of it."""
        return await listener.ended(inf)

    def _renews(self, refused: RefusedError) -> bool:
        """Whether the next connection may be taken in spite of this."""
        return refused.status in (429, 503)

    def has(self, msg_id: str) -> bool:
        """Whether this message has come."""
        return msg_id in self._seen

    def is_back_since(self, moment: float) -> bool:
        """Whether its connection is one made after this; between two polls there was none that could have broken."""
        if self.now is None:
            return False
        polled = self._listener.asked if isinstance(self._listener, PollListener) else 0.0
        return max(self.now.opened, polled) > moment

    async def wait_for(self, msg_id: str) -> None:
        """Returns when this message has come."""
        while not self.has(msg_id):
            self._arrived.clear()
            await self._arrived.wait()

    async def refresh(self) -> bool:
        """Shows a new token to the server, over a WebSocket; whether it was taken."""
        listener = self._listener
        if not isinstance(listener, WsListener) or listener.ending is not None:
            return False
        # What ends the connection meanwhile is no matter of the token's.
        with suppress(AssertionError, *GONE):
            return bool((await listener.call("refresh", {"token": self._mint()}))["code"] == 0)
        return False

    async def _follow(self, node: int) -> float | None:
        """One connection to its end; the seconds that the server asked to wait after it."""
        number = next(self._numbers)
        listener = self._dialling(self._urls[node], number)
        opened = Connection(
            number, self.session, self.protoc, node, time.monotonic(), inf, self._cursor or "", receiver=self.name
        )
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await listener.connect()
            self.now, self._listener = opened, listener
            self.connected.set()
            ending = await self._stay(listener)
        except RefusedError as refused:
            if not self._renews(refused):
                raise
            return None
        except GONE:
            return None
        finally:
            self._cursor = listener.cursor or self._cursor
            await listener.close()
            self.connections.append(replace(opened, closed=time.monotonic(), left_with=self._cursor or ""))
            self.now = self._listener = None
            self.connected.clear()
        self.ending_of[number] = ending
        return self._take_ending(listener, ending)

    def _dialling(self, url: str, number: int) -> _Told:
        listener: _Told
        if self.protoc == "ws":
            listener = _Ws(url, self._mint(), self._cursor)
        elif self.protoc == "sse":
            listener = _Sse(url, self._mint(), None, self._cursor)
        else:
            listener = _Poll(url, self._mint(), self._cursor)
        listener.tell = lambda message: self._take(message, number)
        return listener

    def _take(self, message: Message, number: int) -> None:
        self.deliveries.append(
            Delivery(
                time.monotonic(),
                number,
                self.session,
                message["ConversationID"],
                message["Seq"],
                message["MsgId"],
                digest(message["Content"]),
                self.name,
            )
        )
        self._seen.add(message["MsgId"])
        self._arrived.set()

    def _take_ending(self, listener: Listener, ending: Ending) -> float | None:
        self.endings.append(ending)
        assert not any(notice["Event"] == "reset" for notice in listener.notices), f"a reset: {listener!r}"
        assert ending.code not in STOP_CODES, f"told to stop: {listener!r}"
        if ending.bye is None:
            return None
        assert ending.bye["Reconnect"], f"told to stop: {listener!r}"
        self.byes.append(ending.bye)
        return float(ending.bye["RetryAfterMs"]) / 1_000
