"""A session as the tests speak of it: alice sends, listens, reads history."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar
from uuid import uuid4

from tests.clients.api import Answer, Api
from tests.clients.listener import Listener, Message
from tests.clients.protocols import PollListener, SseListener, WsListener
from tests.clients.tokens import mint

AnyListener = TypeVar("AnyListener", bound=Listener)
Protoc = Literal["ws", "sse", "poll"]

LISTENERS: Final[dict[str, type[WsListener | SseListener | PollListener]]] = {
    "ws": WsListener,
    "sse": SseListener,
    "poll": PollListener,
}


@dataclass
class Person:
    """One session on one platform, with a token the product minted."""

    api: Api
    session: str
    platform: int = 1
    token: str = field(default="")

    def __post_init__(self) -> None:
        self.token = self.token or mint(self.session, self.platform)

    def on(self, platform: int) -> "Person":
        """The same session on another platform."""
        return Person(self.api, self.session, platform)

    async def call(self, name: str, /, **fields: Any) -> Answer:
        """A public endpoint."""
        return await self.api.public(name, fields, token=self.token)

    async def send(self, conversation: str, content: str = "hello", **more: Any) -> dict[str, Any]:
        """Sends and returns MsgID and SendTime; fails when refused."""
        sent: dict[str, Any] = (await self.call("send_msg", conversation_id=conversation, content=content, **more)).data
        return sent

    async def pour(self, conversation: str, contents: Sequence[str]) -> list[dict[str, Any]]:
        """Sends many messages in this order over one WebSocket, pipelined; returns what each returned."""
        socket = WsListener(self.api.url, self.token)
        await socket.connect()
        try:
            for start in range(0, len(contents), 500):  # never more than 500 unanswered
                window = contents[start : start + 500]
                for number, content in enumerate(window, start):
                    params = {"conversation_id": conversation, "content": content}
                    await socket.socket.send(json.dumps({"id": number, "method": "send_msg", "params": params}))
                end = start + len(window)
                await socket.wait_until(lambda: len(socket.answers) >= end, 30)  # noqa: B023 (awaited here)
        finally:
            await socket.close()
        assert {answer["code"] for answer in socket.answers} <= {0}, socket.answers[-3:]
        return [answer["data"] for answer in sorted(socket.answers, key=lambda answer: int(answer["id"]))]

    async def listen(self, protoc: Protoc, since: str | None = None) -> Listener:
        """A connected listener; it is closed together with the api. Each poll goes where the api sends it."""
        api = self.api
        if protoc == "poll":
            poller = PollListener(api.url, self.token, since, lambda: api.url, keep_alive=api.keep_alive)
            return await self._connected(poller)
        return await self._connected(LISTENERS[protoc](api.url, self.token, since))

    async def listen_ws(self, since: str | None = None, **options: Any) -> WsListener:
        """The same, a WebSocket for certain; options are those of ``websockets.connect``."""
        return await self._connected(WsListener(self.api.url, self.token, since, **options))

    async def listen_sse(self, since: str | None = None, last_event_id: str | None = None) -> SseListener:
        """The same, an EventSource for certain."""
        return await self._connected(SseListener(self.api.url, self.token, since, last_event_id))

    async def _connected(self, listener: AnyListener) -> AnyListener:
        self.api.listeners.append(listener)
        return await listener.connect()

    async def history(self, conversation: str) -> list[Message]:
        """All messages, oldest first, read page by page."""
        messages: list[Message] = []
        while True:
            start = messages[-1]["MsgId"] if messages else ""
            answer = await self.call(
                "get_conversation_msg_by_range",
                conversation_id=conversation,
                start_msg_id=start,
                end_msg_id="",
            )
            page = answer.data
            messages += page["Msg"][1:] if messages else page["Msg"]
            if not page["HasMore"]:
                return messages

    async def caught_up(self, *listeners: Listener) -> None:
        """Returns when what was sent before has reached these listeners of this session, or never will.

        Two messages are sent one after the other into a conversation of this session's own, and awaited:
        silence is told from slowness without a pause.
        """
        conversation = await self.api.conversation(self.session)
        for count in (1, 2):
            await self.api.post(conversation, "caught up")
            for listener in listeners:
                await listener.messages_in(conversation, count)


def fresh(name: str) -> str:
    """A session name nobody used before."""
    return f"{name}-{uuid4().hex[:10]}"
