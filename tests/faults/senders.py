"""Senders that want every message settled: an unknown outcome is repeated under its client_msg_id, on another node.

Laws: each sender has one message under way at a time; every attempt is written down. A 4xx settles a message as failed;
503, a timeout and a broken connection leave it unknown, however often.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import httpx
import websockets

from tests.chaos.history import Attempt, Outcome, Send, digest
from tests.clients import Api, Person
from tests.clients.api import Answer

ATTEMPT_SECONDS = 10.0
RETRY_SECONDS = 0.1


@dataclass
class Log:
    """What all senders of a run did."""

    attempts: list[Attempt] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    under_way: dict[int, Attempt] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition holds, looking at each begin and end of an attempt."""
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    @property
    def acknowledged(self) -> int:
        """How many sends are."""
        return sum(send.outcome == "ok" for send in self.sends)


class Sender:
    """See the module. ``home`` is the node it turns to first; ``apis`` are all nodes.

    ``repeats``: how many of its sends it makes twice at once, through two nodes, from 0 to 1.
    """

    def __init__(
        self,
        session: str,
        apis: Sequence[Api],
        home: int,
        rooms: Sequence[str],
        log: Log,
        *,
        repeats: float = 0.0,
    ) -> None:
        self.session = session
        self._people = [Person(api, session) for api in apis]
        self._home = self._node = home % len(apis)
        self._rooms = rooms
        self._log = log
        self._numbers = count(1)
        self._repeats = repeats
        self._choice = random.Random(session)

    def go_home(self) -> None:
        """Turn to the first node again."""
        self._node = self._home

    def turn_to(self, node: int) -> None:
        """Try this node first."""
        self._node = node % len(self._people)

    async def run(self, stopping: asyncio.Event, pause_seconds: float) -> None:
        """Sends until told to stop, then settles what is under way."""
        while not stopping.is_set():
            number = next(self._numbers)
            await self.send(self._rooms[number % len(self._rooms)], f"{self.session} {number}")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await stopping.wait()

    async def send(self, room: str, text: str) -> Send:
        """One message, until its outcome is known."""
        invoked = time.monotonic()
        outcome: Outcome = "unknown"
        msg_ids: tuple[str, ...] = ()
        while outcome == "unknown":
            nodes = [self._node]
            if self._choice.random() < self._repeats:
                nodes.append((self._node + 1) % len(self._people))
            answers = await asyncio.gather(*(self._attempt(node, room, text) for node in nodes))
            statuses = {answer.status for answer in answers if answer is not None}
            msg_ids = tuple(answer.data["MsgID"] for answer in answers if answer and answer.status == httpx.codes.OK)
            if msg_ids:
                outcome = "ok"
            elif statuses and max(statuses) < httpx.codes.INTERNAL_SERVER_ERROR and len(statuses) == len(set(nodes)):
                outcome = "failed"
            else:
                self._node = (self._node + 1) % len(self._people)
                await asyncio.sleep(RETRY_SECONDS)
        send = Send(text, room, self.session, digest(text), invoked, time.monotonic(), outcome, msg_ids)
        self._log.sends.append(send)
        self._log.changed.set()
        return send

    async def _attempt(self, node: int, room: str, text: str) -> Answer | None:
        attempt = Attempt(text, room, node, time.monotonic())
        self._log.under_way[id(attempt)] = attempt
        self._log.changed.set()
        answer = None
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                answer = await self._call(node, {"conversation_id": room, "content": text, "client_msg_id": text})
            attempt.status = answer.status
            # Whatever goes wrong, callers are told in the one form.
            if answer.status != httpx.codes.OK:
                assert answer.status != httpx.codes.INTERNAL_SERVER_ERROR, answer.content
                attempt.why = str(answer.body)
        except (httpx.TransportError, OSError, EOFError, websockets.WebSocketException, TimeoutError) as error:
            attempt.why = repr(error)
        finally:
            attempt.ended = time.monotonic()
            del self._log.under_way[id(attempt)]
            self._log.attempts.append(attempt)
            self._log.changed.set()
        return answer

    async def _call(self, node: int, fields: dict[str, Any]) -> Answer:
        return await self._people[node].call("send_msg", **fields)
