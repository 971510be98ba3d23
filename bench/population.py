"""Sessions, their tokens and conversations, made and read back over the documented interface.

Law: a benchmark's messages are compared with the history at its end: Seq 1, 2, 3 … without a hole, MsgIds
rising, and exactly the acknowledged messages, each under its MsgId.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from bench.alarm import Alarm, BenchmarkError
from bench.load.http import HttpConnection, connect, post
from bench.load.senders import Receipts

_PLATFORM = 1
_CONVERSATION_TYPE = 1
_ANSWER_SECONDS = 30.0

D = TypeVar("D")


class _Answer(msgspec.Struct):
    code: int
    data: msgspec.Raw


class _Created(msgspec.Struct):
    conversation: str = msgspec.field(name="ConversationId")


class _Sent(msgspec.Struct):
    msg_id: str = msgspec.field(name="MsgID")


class _Message(msgspec.Struct):
    msg_id: str = msgspec.field(name="MsgId")
    seq: int = msgspec.field(name="Seq")
    content: str = msgspec.field(name="Content")


class _Page(msgspec.Struct):
    messages: list[_Message] = msgspec.field(name="Msg")
    has_more: bool = msgspec.field(name="HasMore")


class Population:
    """The product's back end in this play: one caller, one request at a time."""

    def __init__(self, port: int, alarm: Alarm) -> None:
        self._port = port
        self._alarm = alarm
        self._connection: HttpConnection | None = None

    async def tokens(self, sessions: Sequence[str]) -> list[str]:
        """One token for each session."""
        return [
            await self._ask("/inner/get_token", {"session": session, "platform": _PLATFORM}, str)
            for session in sessions
        ]

    async def conversation(self, sessions: Sequence[str]) -> str:
        """The id of a new conversation of ``sessions``."""
        body = {"conversation_type": _CONVERSATION_TYPE, "sessions": list(sessions)}
        return (await self._ask("/inner/create_conversation", body, _Created)).conversation

    async def say(self, conversation: str, content: str) -> str:
        """The MsgId of a message that the system sends."""
        body = {"conversation_id": conversation, "type": 0, "status": 0, "content": content}
        return (await self._ask("/inner/send_msg", body, _Sent)).msg_id

    async def compare(self, conversations: dict[str, str], receipts: Receipts) -> None:
        """Raises BenchmarkError unless the histories hold exactly what ``receipts`` says.

        ``conversations``: each conversation's id, and the token of one of its members.
        """
        missing = dict(receipts.number_of)
        for conversation, token in conversations.items():
            last_id, last_seq, has_more = "", 0, True
            while has_more:
                body = {"conversation_id": conversation, "start_msg_id": last_id, "end_msg_id": ""}
                page = await self._ask("/get_conversation_msg_by_range", body, _Page, token)
                has_more = page.has_more
                # Both ends of a range are included: a later page begins with the last one of the page before.
                for message in page.messages[1 if last_id else 0 :]:
                    if message.seq != last_seq + 1 or message.msg_id <= last_id:
                        raise BenchmarkError(f"history: {message.msg_id} (Seq {message.seq}) follows {last_id}")
                    if missing.pop(message.msg_id, 0) != int(message.content[:10]):
                        raise BenchmarkError(f"history: {message.msg_id} was not acknowledged with this content")
                    last_id, last_seq = message.msg_id, message.seq
        if missing:
            raise BenchmarkError(f"history: {len(missing)} acknowledged messages are missing: {list(missing)[:3]} …")

    async def _ask(self, path: str, body: Mapping[str, object], kind: type[D], token: str = "") -> D:
        """The ``data`` of the answer; a connection that the server closed meanwhile is opened anew."""
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if self._connection is None or not self._connection.is_open:
            self._connection = await connect(self._port, self._alarm)
        self._connection.on_body = answered.set_result
        encoded = json.dumps(body).encode()
        self._connection.send(post(path, len(encoded), token) + encoded)
        body_received = await self._alarm.guard(answered, _ANSWER_SECONDS, path)
        answer = msgspec.json.decode(body_received, type=_Answer)
        if answer.code != 0:
            raise BenchmarkError(f"{path} was answered with code {answer.code}")
        return msgspec.json.decode(answer.data, type=kind)
