"""quickim itself, the reference: the server of the other benchmarks, under the senders and listeners of the peers.

Configuration: one worker as ``manage.py serve`` starts it, on SQLite with a sync before each acknowledgement, or on
PostgreSQL and Valkey as they come. Law: at the end its histories hold exactly what was acknowledged, or there are no
figures.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from bench.alarm import Alarm, BenchmarkError
from bench.load.http import connect as connect_http
from bench.load.http import request
from bench.load.senders import http_call, http_sender, websocket_call, websocket_sender
from bench.load.streams import Frame, MemberStream, Tally, connect, decode_frame
from bench.peers.audience import Audience, PacedSender
from bench.peers.listeners import EventListener, HttpListener, PollListener, WebSocketListener, open_all
from bench.peers.measuring import Delivering, Sending
from bench.peers.sizes import LISTENERS, ROOMS, SENDERS, TALKERS
from bench.plan import Plan
from bench.sends_stage import stage_on
from bench.stage import Stage, stage

_CURSOR = b'"Cursor":"'

Opened = Callable[[Plan], AbstractAsyncContextManager[Sending]]


def sends_over_websocket(back_end: str) -> Opened:
    """Every sender is alone in a conversation of its own and connected to it."""

    @asynccontextmanager
    async def opening(plan: Plan) -> AsyncIterator[Sending]:
        async with stage_on(back_end, plan) as on:
            sessions = [f"sender-{number}" for number in range(SENDERS)]
            tokens = await on.population.tokens(sessions)
            conversations = [await on.population.conversation([session]) for session in sessions]
            streams = [MemberStream(on.alarm, token, Tally()) for token in tokens]
            for stream in streams:
                await on.guard(connect(on.server.port, stream), "connecting")
            senders = [
                websocket_sender(stream, [websocket_call(conversation)], on.receipts)
                for stream, conversation in zip(streams, conversations, strict=True)
            ]
            yield Sending(on.server, on.alarm, senders, _acknowledged(on), on.backing)
            await on.population.compare(dict(zip(conversations, tokens, strict=True)), on.receipts)
            for stream in streams:
                stream.close()

    return opening


def sends_over_http(back_end: str) -> Opened:
    """All senders are members of a few conversations; nobody is connected."""

    @asynccontextmanager
    async def opening(plan: Plan) -> AsyncIterator[Sending]:
        async with stage_on(back_end, plan) as on:
            sessions = [f"sender-{number}" for number in range(SENDERS)]
            tokens = await on.population.tokens(sessions)
            conversations = [await on.population.conversation(sessions) for _ in range(ROOMS)]
            connections = [await on.guard(connect_http(on.server.port, on.alarm), "connecting") for _ in tokens]
            senders = [
                http_sender(connection, [http_call(each, token) for each in conversations], on.receipts)
                for connection, token in zip(connections, tokens, strict=True)
            ]
            yield Sending(on.server, on.alarm, senders, _acknowledged(on), on.backing)
            await on.population.compare(dict.fromkeys(conversations, tokens[0]), on.receipts)
            for connection in connections:
                connection.close()

    return opening


def _acknowledged(on: Stage) -> Callable[[], Awaitable[int]]:
    """What is stored, as the comparison at the end proves."""

    async def stored() -> int:
        return len(on.receipts.number_of)

    return stored


@asynccontextmanager
async def deliveries_over_websocket(plan: Plan) -> AsyncIterator[Delivering]:
    """The last members of the conversation send over their connections."""
    async with _conversation(plan) as (on, tokens, conversation):
        audience = Audience()
        listeners = [_Member(on.alarm, token, audience) for token in tokens]
        await on.guard(open_all(on.server.port, listeners), "connecting")
        senders = []
        for listener in listeners[-TALKERS:]:
            sender = PacedSender(listener.send, [websocket_call(conversation)], on.receipts, audience)
            listener.on_answer = _answered(sender)
            senders.append(sender)
        yield Delivering(on.server, on.alarm, senders, audience, on.backing)
        for listener in listeners:
            listener.close()


@asynccontextmanager
async def deliveries_over_sse(plan: Plan) -> AsyncIterator[Delivering]:
    """Every member has an event stream; some send over HTTP."""
    async with _conversation(plan) as (on, tokens, conversation):
        audience = Audience()
        path, accept = "/notify?protoc=sse", "Accept: text/event-stream\r\n"
        listeners = [EventListener(on.alarm, request("GET", path, token, accept), audience) for token in tokens]
        async with _heard(on, listeners, tokens, conversation, audience) as delivering:
            yield delivering


@asynccontextmanager
async def deliveries_over_poll(plan: Plan) -> AsyncIterator[Delivering]:
    """Every member polls, from the cursor of the answer before; some send over HTTP."""
    async with _conversation(plan) as (on, tokens, conversation):
        audience = Audience()
        listeners = [
            PollListener(on.alarm, request("GET", "/notify?protoc=poll", token), _next_poll(token), audience)
            for token in tokens
        ]
        async with _heard(on, listeners, tokens, conversation, audience) as delivering:
            yield delivering


@asynccontextmanager
async def _conversation(plan: Plan) -> AsyncIterator[tuple[Stage, list[str], str]]:
    async with stage(plan) as on:
        sessions = [f"member-{number}" for number in range(LISTENERS)]
        tokens = await on.population.tokens(sessions)
        conversation = await on.population.conversation(sessions)
        yield on, tokens, conversation
        await on.population.compare({conversation: tokens[0]}, on.receipts)


@asynccontextmanager
async def _heard(
    on: Stage, listeners: Sequence[HttpListener], tokens: list[str], conversation: str, audience: Audience
) -> AsyncIterator[Delivering]:
    await on.guard(open_all(on.server.port, listeners), "connecting")
    senders = []
    for token in tokens[-TALKERS:]:
        connection = await connect_http(on.server.port, on.alarm)
        sender = PacedSender(connection.send, [http_call(conversation, token)], on.receipts, audience)
        connection.on_body = _body_answered(sender)
        senders.append(sender)
    yield Delivering(on.server, on.alarm, senders, audience, on.backing)
    for listener in listeners:
        listener.close()


class _Member(WebSocketListener):
    def __init__(self, alarm: Alarm, token: str, audience: Audience) -> None:
        super().__init__(alarm, "/notify?protoc=ws", token, audience)
        self.on_answer: Callable[[Frame], None] | None = None

    def other_received(self, payload: bytes) -> None:
        frame = decode_frame(payload)
        if frame.code is not None and self.on_answer is not None:
            self.on_answer(frame)
        elif frame.event in ("", "bye", "reset"):
            raise BenchmarkError(f"an unexpected frame: {payload[:500]!r}")


def _answered(sender: PacedSender) -> Callable[[Frame], None]:
    def on_answer(answer: Frame) -> None:
        if answer.code != 0:
            raise BenchmarkError(f"send_msg was answered {answer.code} {answer.error}")
        sender.answered(answer.data["MsgID"], answer.id)

    return on_answer


def _body_answered(sender: PacedSender) -> Callable[[bytes], None]:
    def on_body(body: bytes) -> None:
        answer = msgspec.json.decode(body)
        if answer["code"] != 0:
            raise BenchmarkError(f"send_msg was answered {body!r}")
        sender.answered(answer["data"]["MsgID"])

    return on_body


def _next_poll(token: str) -> Callable[[bytes], bytes]:
    before, after = request("GET", "/notify?protoc=poll&since=CURSOR", token).split(b"CURSOR")

    def next_request(answer: bytes) -> bytes:
        place = answer.rindex(_CURSOR) + len(_CURSOR)
        return before + answer[place : answer.index(b'"', place)] + after

    return next_request
