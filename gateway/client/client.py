"""The client: what an app calls, and how the parts are put together."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

from gateway.client.backoff import Backoff
from gateway.client.calls import Calls
from gateway.client.credentials import Credentials, Source
from gateway.client.delivery import Delivery
from gateway.client.errors import CallFailed, ClientError, Closed, ConnectionEnded
from gateway.client.events import Event, Message, MessageCame, Protocol, State, StateChanged, Trouble
from gateway.client.http import post
from gateway.client.link import Link
from gateway.client.options import PROTOCOLS, Options
from gateway.client.progress import BEFORE_ALL
from gateway.client.sends import Sends
from gateway.client.streams import STREAMS, Arrival, Arrived, Stream
from quickim.tasks import cancel, spawn

MOST_LOOKED_AT = 10
"""Conversations that are looked at to find where the session stands: one, unless the newest are empty."""


class Client(Calls):
    """One session's connection to the server at ``url``, as ``https://im.example.com``.

    ``token``: a token, or a callable (maybe async) that gets one; ``options`` are those of ``Options``. It connects
    when it is first asked for events, or by ``connect``. A message counts as processed when the next is asked for.
    """

    def __init__(self, url: str, token: Source, **options: Any) -> None:
        self._url = url.rstrip("/")
        self._options = Options(**options)
        self._credentials = Credentials(token)
        self._delivery = Delivery(self._options, lambda: self.session, self._position)
        self._sends = Sends(lambda params: self.call("send_msg", **params), self._options)
        self._backoff = Backoff(self._options.first_pause_seconds, self._options.longest_pause_seconds)
        self._link = Link(self._options, _Owner(self), self._backoff)
        self._running: asyncio.Task[None] | None = None
        self._connected = asyncio.Event()
        self._why_over: ClientError | None = None
        self.state: State = "idle"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def protocol(self) -> Protocol | None:
        """That of the present connection."""
        return self._link.protocol

    @property
    def session(self) -> str:
        """The session that the token names; "" before there is one."""
        return self._credentials.session

    @property
    def cursor(self) -> str:
        """Where to go on after a restart of the app; "" as long as that is not known."""
        return self._delivery.progress.cursor

    @cursor.setter
    def cursor(self, cursor: str) -> None:
        """Go on from there: what comes after it is told, whether or not it was told before."""
        self._delivery.go_on_from(cursor)
        self._link.restart()

    @property
    def pending(self) -> list[dict[str, Any]]:
        """The sends without an outcome yet: an app may keep them and send them again after a restart."""
        return self._sends.pending

    async def connect(self) -> None:
        """Connect, and stay connected; returns with the first connection. Raises ConnectionEnded or Closed."""
        self._start()
        await self._connected.wait()
        if self._why_over is not None:
            raise self._why_over

    async def close(self) -> None:
        """Disconnect for good. What waits to be sent fails with Closed: see ``pending``."""
        if self.state == "closed":
            return
        self.state = "closed"
        self._why_over = self._why_over or Closed("the client is closed")
        if self._running is not None:
            await cancel([self._running])
        await self._link.close()
        await self._sends.end(self._why_over)
        self._delivery.stop()
        self._connected.set()

    async def use(self, protocol: Protocol) -> None:
        """Go over to another protocol while messages flow, and prefer it from now on. Raises ClientError when that
        cannot be opened now."""
        if protocol not in PROTOCOLS:
            raise ValueError(f"protocols are {', '.join(PROTOCOLS)}")
        await self._link.use(protocol)

    async def events(self) -> AsyncIterator[Event]:
        """All that happens, in order, until ``close``. Raises ConnectionEnded when the server says stop."""
        self._start()
        while (event := await self._delivery.next()) is not None:
            yield event
        if isinstance(self._why_over, ConnectionEnded):
            raise self._why_over

    async def messages(self) -> AsyncIterator[Message]:
        """The messages among ``events``; who has to know of a Reset iterates over those."""
        async for event in self.events():
            if isinstance(event, MessageCame):
                yield event.message

    async def send(
        self, conversation: str, content: str, *, type: int = 0, status: int = 0, client_msg_id: str = ""
    ) -> dict[str, Any]:
        """Send a message; returns MsgID and SendTime. It takes effect once, however often the connection breaks.

        Raises CallFailed with what it was refused with, QueueFull, Closed or ConnectionEnded.
        """
        return await self._sends.send(
            {
                "conversation_id": conversation,
                "content": content,
                "type": type,
                "status": status,
                "client_msg_id": client_msg_id or uuid.uuid4().hex,
            }
        )

    async def call(self, method: str, **params: Any) -> Any:
        """Call a public endpoint once, over HTTP. Raises CallFailed."""
        if self.state == "closed":
            raise Closed("the client is closed")
        token = await self._credentials.get()
        address, seconds = f"{self._url}/{method}", self._options.answer_seconds
        try:
            return await post(address, token, params, seconds)
        except CallFailed as error:
            if not error.is_about_the_token or not await self._credentials.renew(token):
                raise
        return await post(address, await self._credentials.get(), params, seconds)

    def _start(self) -> None:
        if self._why_over is None and self._running is None:
            self._running = spawn(self._run(), "client")

    async def _run(self) -> None:
        ending = await self._link.run()
        error = ConnectionEnded(ending.code, ending.reason)
        self._why_over = error
        await self._tell(StateChanged("ended", reason=ending.reason, error=error))
        self._connected.set()
        await self._sends.end(error)
        await self._delivery.end()

    async def _tell(self, state: StateChanged) -> None:
        if self.state != "closed":
            self.state = state.state
        if state.state == "connected":
            await self._delivery.begun()
            self._connected.set()
            self._sends.wake()
        await self._delivery.put(state)

    async def _make(self, protocol: Protocol) -> Stream:
        since = await self._delivery.beginning(is_chain=protocol == "poll")
        return STREAMS[protocol](self._url, await self._credentials.get(), since, self._options)

    async def _take(self, arrival: Arrival) -> None:
        # Who is sent away at once has not got through.
        if isinstance(arrival, Arrived) and arrival.item.get("Event") != "bye":
            self._backoff.reset()
        await self._delivery.put(arrival)

    async def _position(self) -> str:
        """The newest MsgId of all conversations; "" when that cannot be found now."""
        if self._options.start is not None:
            return await self._options.start()
        try:
            conversations = await self.conversations()
            for conversation in conversations[:MOST_LOOKED_AT]:
                if msg_id := await self._last(conversation):
                    return msg_id
        except CallFailed as error:
            if error.is_about_the_token:
                raise
            # Where calls do not get through, a stream may: without a place to come back to.
            return ""
        return "" if len(conversations) > MOST_LOOKED_AT else BEFORE_ALL

    async def _last(self, conversation: str) -> str:
        try:
            return await self.last_msg_id(conversation)
        except CallFailed as error:
            if error.is_temporary or error.is_about_the_token:
                raise
            # The session left it in this moment.
            return ""


class _Owner:
    """What the link sees of its client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def make(self, protocol: Protocol) -> Stream:
        return await self._client._make(protocol)

    async def take(self, arrival: Arrival) -> None:
        await self._client._take(arrival)

    async def renew(self, refused: str) -> bool:
        return await self._client._credentials.renew(refused)

    async def tell(self, state: StateChanged) -> None:
        await self._client._tell(state)

    async def failed(self, error: Exception) -> None:
        await self._client._delivery.put(Trouble(error))
