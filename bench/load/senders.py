"""Senders in a closed loop: each sends its next message when the one before was acknowledged, until the round
ends.

Law: every acknowledgement is kept with the number that its message's content starts with, so that the history
can be compared with it afterwards, message for message.
"""

import asyncio
import itertools
import json
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bench.alarm import BenchmarkError
from bench.load.http import HttpConnection, post
from bench.load.streams import Frame, MemberStream

CONTENT_BYTES = 300
_NUMBER_DIGITS = 10
_PLACE = "N" * _NUMBER_DIGITS

Call = Callable[[int], bytes]
"""The bytes that send message number n."""


class Receipts:
    """What has been acknowledged in the whole benchmark: MsgId to the number of the message."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.number_of: dict[str, int] = {}

    def add(self, msg_id: str, number: int) -> None:
        """Raises BenchmarkError when two messages got the same MsgId."""
        if self.number_of.setdefault(msg_id, number) != number:
            raise BenchmarkError(f"MsgId {msg_id} was given twice")


class Round:
    """One stretch of load: ``seconds`` of sending, and the answers to the calls that are then in flight."""

    def __init__(self, seconds: float) -> None:
        self.latencies = array("d")
        self.ends = time.perf_counter() + seconds
        self._senders = 0
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def entered(self) -> None:
        """A sender begins."""
        self._senders += 1

    def left(self) -> None:
        """A sender has its last answer."""
        self._senders -= 1
        if self._senders == 0:
            self._finished.set_result(None)

    async def finished(self) -> None:
        """Returns when every sender has left."""
        await self._finished

    def percentile_ms(self, percent: int) -> float:
        """Of the time from a send to its acknowledgement."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000


class Sender:
    """One caller with one call in flight; it goes through ``calls`` in turn."""

    def __init__(self, write: Callable[[bytes], None], calls: Sequence[Call], receipts: Receipts) -> None:
        self._write = write
        self._calls = calls
        self._receipts = receipts
        self._number = 0
        self._sent_at = 0.0
        self._round: Round | None = None

    def start(self, round_: Round) -> int:
        """Sends until the round ends; the number of the first message."""
        self._round = round_
        round_.entered()
        self._send()
        return self._number

    def _send(self) -> None:
        self._number = number = next(self._receipts.numbers)
        self._sent_at = time.perf_counter()
        self._write(self._calls[number % len(self._calls)](number))

    def answered(self, msg_id: str, number: int | None = None) -> None:
        """The call in flight was acknowledged; ``number`` is the answer's own, where the protocol has one."""
        now, round_ = time.perf_counter(), self._round
        if round_ is None or (number is not None and number != self._number):
            raise BenchmarkError(f"an answer to call {number} while {self._number} is in flight")
        self._receipts.add(msg_id, self._number)
        round_.latencies.append(now - self._sent_at)
        if now < round_.ends:
            self._send()
        else:
            self._round = None
            round_.left()


class _Acknowledged(msgspec.Struct):
    msg_id: str = msgspec.field(name="MsgID")
    send_time: int = msgspec.field(name="SendTime")


class _HttpAnswer(msgspec.Struct):
    code: int
    data: _Acknowledged


_decode_http_answer = msgspec.json.Decoder(_HttpAnswer).decode


def http_sender(connection: HttpConnection, calls: Sequence[Call], receipts: Receipts) -> Sender:
    """A sender over ``POST /send_msg``."""
    sender = Sender(connection.send, calls, receipts)

    def on_body(body: bytes) -> None:
        answer = _decode_http_answer(body)
        if answer.code != 0:
            raise BenchmarkError(f"send_msg was answered {body.decode()}")
        sender.answered(answer.data.msg_id)

    connection.on_body = on_body
    return sender


def websocket_sender(stream: MemberStream, calls: Sequence[Call], receipts: Receipts) -> Sender:
    """A sender over calls of ``stream``, which receives its pushes at the same time."""
    sender = Sender(stream.send, calls, receipts)

    def on_answer(answer: Frame) -> None:
        if answer.code != 0:
            raise BenchmarkError(f"send_msg was answered {answer.code} {answer.error}")
        sender.answered(msgspec.convert(answer.data, _Acknowledged).msg_id, answer.id)

    stream.on_answer = on_answer
    return sender


def http_call(conversation: str, token: str) -> Call:
    """The whole request, with only the number to be filled in."""
    before, after = _around_number(_params(conversation))
    before = post("/send_msg", len(before) + _NUMBER_DIGITS + len(after), token) + before
    return lambda number: b"%b%010d%b" % (before, number, after)


def websocket_call(conversation: str) -> Call:
    """The call's text, with the number filled in as its id and in the content."""
    before, after = _around_number({"method": "send_msg", "params": _params(conversation)})
    before = before.removeprefix(b"{")
    return lambda number: b'{"id":%d,%b%010d%b' % (number, before, number, after)


def _params(conversation: str) -> dict[str, Any]:
    content = _PLACE + " " + "m" * (CONTENT_BYTES - _NUMBER_DIGITS - 1)
    return {"conversation_id": conversation, "type": 0, "status": 0, "content": content}


def _around_number(call: dict[str, Any]) -> tuple[bytes, bytes]:
    before, _, after = json.dumps(call, separators=(",", ":")).encode().partition(_PLACE.encode())
    return before, after
