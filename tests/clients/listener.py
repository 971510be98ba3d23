"""What the three ways to receive have in common: connect, await messages and notices, know the cursor, close.

Law: a listener keeps all it received in order of arrival, checks each item's shape, ends once; what ended it
(``bye``, close code, transport error) can be awaited. Waiting has a limit and says what had come instead.
"""

import asyncio
import json
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

import httpx

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
                # Waited for, not awaited: who cancels us meanwhile must not be taken for the reader's own end.
                await asyncio.wait([reader])
                if not reader.cancelled():
                    reader.result()
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
