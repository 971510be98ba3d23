"""From the streams to the app: each message once, in order, the next when the app asks for it.

Law: the cursor moves when the app asks for what comes after a message, and by nothing else but a poll's Cursor and a
reset.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from gateway.client.events import Event, Message, MessageCame, NoticeCame, Reset
from gateway.client.options import Options
from gateway.client.progress import Progress
from gateway.client.streams import Arrival, UpTo

END: Final = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    """``progress``: the one it was read for; another one means that the app went elsewhere since."""

    what: Arrival | Event
    progress: Progress


class Delivery:
    """See the module. ``session`` tells whose messages these are; ``position`` finds where the session stands."""

    def __init__(self, options: Options, session: Callable[[], str], position: Callable[[], Awaitable[str]]) -> None:
        self.progress = Progress(options.cursor, options.remembered_conversations)
        self._options = options
        self._session, self._position = session, position
        self._waiting: asyncio.Queue[_Waiting | None] = asyncio.Queue(options.max_waiting)
        self._under_way: Message | None = None
        self._then: list[Event] = []
        self._joined_in_answer: list[str] = []
        self._has_begun_now = False
        """A stream began "now": without a place to come back to, the next one would begin later."""

    def go_on_from(self, cursor: str) -> None:
        """From now on there; what waits may lie before it and is dropped."""
        self.progress = Progress(cursor, self._options.remembered_conversations)
        self._under_way, self._then, self._has_begun_now = None, [], False

    async def beginning(self, is_chain: bool) -> str:
        """Where a stream is to begin. A stream begins now without a cursor, but one that breaks before its first
        message needs a place to come back to; a chain of polls needs it from its first link on."""
        progress = self.progress
        if not progress.cursor and not self._has_begun_now:
            progress.start = await self._position()
        return progress.cursor if self._has_begun_now or progress.has_begun or is_chain else ""

    async def begun(self) -> None:
        """A stream is up."""
        is_lost = self._has_begun_now and not self.progress.cursor
        self._has_begun_now = True
        if is_lost:
            # Between two streams that both began "now" there may be anything.
            await self.put(Reset())

    async def put(self, what: Arrival | Event) -> None:
        """In line for the app; waits while the line is full."""
        await self._waiting.put(_Waiting(what, self.progress))

    async def end(self) -> None:
        """After what waits there is nothing more."""
        await self._waiting.put(END)

    def stop(self) -> None:
        """Nothing more is told, also of what waits."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait(END)

    async def next(self) -> Event | None:
        """The next event; None at the end. That it is asked for says that the one before was processed."""
        if self._under_way is not None:
            self.progress.done(self._under_way)
            self._under_way = None
        while True:
            if self._then:
                event = self._then.pop(0)
                if isinstance(event, MessageCame):
                    self._under_way = event.message
                return event
            waiting = await self._waiting.get()
            if waiting is None:
                # For whoever asks again.
                self._waiting.put_nowait(END)
                return END
            if waiting.progress is self.progress:
                self._then = await self._events(waiting.what)

    async def _events(self, what: Arrival | Event) -> list[Event]:
        if isinstance(what, UpTo):
            self.progress.done_up_to(what.cursor)
            # An answer tells notices apart from messages: which came first is not known.
            for conversation in self._joined_in_answer:
                self.progress.joined(conversation)
            self._joined_in_answer = []
            return []
        if isinstance(what, Event):
            return [what]
        if "MsgId" in what.item:
            return self._message(what.item)
        notice = what.item
        if notice.get("Event") == "reset":
            # First where it goes on, then the app reads history: what is committed in between is in both, not in none.
            self.progress.restart("" if what.is_polled else await self._position())
            return [Reset()]
        if notice.get("Event") == "conversation.joined" and self._session() in notice.get("Sessions", ()):
            self.progress.joined(notice["ConversationID"])
            if what.is_polled:
                self._joined_in_answer.append(notice["ConversationID"])
        return [NoticeCame(notice)]

    def _message(self, message: Message) -> list[Event]:
        if not self.progress.is_new(message):
            return []
        after = self.progress.gap_before(message)
        gap: list[Event] = [Reset(message["ConversationID"], after, message["Seq"])] if after else []
        return [*gap, MessageCame(message)]
