"""Senders that want every message settled: an unknown outcome is repeated under its client_msg_id, on another node.

Laws: each sender has one message under way at a time; every attempt is written down. A 4xx settles a message as failed;
503, a timeout and a broken connection leave it unknown, however often.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

import httpx

from tests.chaos.history import Outcome, Send
from tests.clients import Api, Person
from tests.clients.api import Answer

ATTEMPT_SECONDS = 10.0
RETRY_SECONDS = 0.1


@dataclass(slots=True)
class Attempt:
    """One request: ``status`` None when no answer came."""

    client_msg_id: str
    conversation: str
    node: int
    began: float
    ended: float = 0.0
    status: int | None = None
    why: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether it was acknowledged."""
        return self.status == httpx.codes.OK

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


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
    """See the module. ``home`` is the node it turns to first; ``apis`` are all nodes."""

    def __init__(self, session: str, apis: Sequence[Api], home: int, rooms: Sequence[str], log: Log) -> None:
        self.session = session
        self._people = [Person(api, session) for api in apis]
        self._home = self._node = home % len(apis)
        self._rooms = rooms
        self._log = log
        self._numbers = count(1)

    def go_home(self) -> None:
        """Turn to the first node again."""
        self._node = self._home

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
        outcome: Outcome | Literal["unknown"] = "unknown"
        msg_ids: tuple[str, ...] = ()
        while outcome == "unknown":
            answer = await self._attempt(room, text)
            if answer is not None and answer.status == httpx.codes.OK:
                outcome, msg_ids = "ok", (answer.data["MsgID"],)
            elif answer is not None and answer.status < httpx.codes.INTERNAL_SERVER_ERROR:
                outcome = "failed"
            else:
                self._node = (self._node + 1) % len(self._people)
                await asyncio.sleep(RETRY_SECONDS)
        send = Send(text, room, self.session, text, invoked, time.monotonic(), outcome, msg_ids)
        self._log.sends.append(send)
        self._log.changed.set()
        return send

    async def _attempt(self, room: str, text: str) -> Answer | None:
        attempt = Attempt(text, room, self._node, time.monotonic())
        self._log.under_way[id(attempt)] = attempt
        self._log.changed.set()
        answer = None
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                answer = await self._people[self._node].call(
                    "send_msg", conversation_id=room, content=text, client_msg_id=text
                )
            attempt.status = answer.status
            # Whatever goes wrong, callers are told in the one form.
            if answer.status != httpx.codes.OK:
                assert answer.status != httpx.codes.INTERNAL_SERVER_ERROR, answer.content
                attempt.why = str(answer.body)
        except (httpx.TransportError, TimeoutError) as error:
            attempt.why = repr(error)
        finally:
            attempt.ended = time.monotonic()
            del self._log.under_way[id(attempt)]
            self._log.attempts.append(attempt)
            self._log.changed.set()
        return answer
