"""How tail comes back: from where, after which pause, and when not. The server here is a script of connections."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from io import StringIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.management.base import CommandError
from websockets.asyncio.server import ServerConnection, serve

from gateway import cursor
from gateway.management.commands import tail
from gateway.tokens import verify_token
from gateway.wire import Farewell, restarting
from messaging import msgid

pytestmark = pytest.mark.asyncio

STOP = Farewell(4504, "replaced by a newer login", reconnect=False)
IDS = [msgid.encode(msgid.tick_at(1_767_225_600_000_000) + count, 5) for count in range(10)]

Script = Callable[[ServerConnection], Awaitable[None]]


def a_message(count: int) -> str:
    """The frame of the message number ``count``."""
    return json.dumps({"MsgId": IDS[count], "Content": f"message {count}"})


async def end(connection: ServerConnection, farewell: Farewell) -> None:
    """Ends the connection as the gateway does."""
    await connection.send(farewell.notice().text)
    await connection.close(farewell.code, farewell.reason)


class ScriptedServer:
    """Serves one script a connection, and notes when each came and with which query."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.came: list[float] = []
        self.since: list[str | None] = []
        self.sessions: list[str] = []

    async def __call__(self, connection: ServerConnection) -> None:
        """Serves one connection."""
        assert connection.request is not None
        query = parse_qs(urlsplit(connection.request.path).query)
        assert query["protoc"] == ["ws"]
        self.came.append(time.monotonic())
        self.since.append(query.get("since", [None])[0])
        scheme, _, token = connection.request.headers["Authorization"].partition(" ")
        assert scheme == "Bearer"
        self.sessions.append(verify_token(token).caller.session)
        await self.scripts.pop(0)(connection)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Its address."""
        async with serve(self, "127.0.0.1", 0) as server:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/notify"


def a_tail(url: str, since: str | None = None) -> tuple[tail.Tail, StringIO]:
    """A tail and what it prints."""
    out = StringIO()
    return tail.Tail(url, "alice", 0, since, tail.Command(stdout=out, stderr=StringIO())), out


def printed(out: StringIO) -> list[dict[str, Any]]:
    """The lines, parsed."""
    return [json.loads(line) for line in out.getvalue().splitlines()]


async def test_it_resumes_by_the_last_msgid_and_drops_repeats() -> None:
    async def first(connection: ServerConnection) -> None:
        await connection.send(a_message(0))
        await connection.send(a_message(1))
        await end(connection, restarting(0))

    async def second(connection: ServerConnection) -> None:
        await connection.send(a_message(0))
        await connection.send(a_message(2))
        await end(connection, STOP)

    script = ScriptedServer(first, second)
    async with script.running() as url:
        follower, out = a_tail(url)
        with pytest.raises(CommandError, match=r"4504, replaced by a newer login"):
            await follower.follow()
    assert script.since == [None, IDS[1]]
    assert script.sessions == ["alice", "alice"]
    contents = [item["Content"] for item in printed(out) if "MsgId" in item]
    assert contents == ["message 0", "message 1", "message 2"]
    assert [item["Code"] for item in printed(out) if item.get("Event") == "bye"] == [1012, 4504]


async def test_it_waits_at_least_as_long_as_the_server_asks() -> None:
    async def first(connection: ServerConnection) -> None:
        await end(connection, restarting(700))

    async def second(connection: ServerConnection) -> None:
        await end(connection, STOP)

    script = ScriptedServer(first, second)
    async with script.running() as url:
        with pytest.raises(CommandError):
            await a_tail(url)[0].follow()
    assert script.came[1] - script.came[0] >= 0.7


async def test_before_any_message_the_moment_of_connecting_is_where_it_comes_back_to() -> None:
    async def first(connection: ServerConnection) -> None:
        connection.transport.abort()

    async def second(connection: ServerConnection) -> None:
        await end(connection, STOP)

    script, before = ScriptedServer(first, second), time.time()
    async with script.running() as url:
        with pytest.raises(CommandError):
            await a_tail(url)[0].follow()
    nothing, since = script.since
    assert nothing is None
    assert since is not None
    position = cursor.parse(since)
    assert (before - 10.1) * 1_000_000 <= position.microseconds <= (time.time() - 9.9) * 1_000_000


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 4002, 4003, 4006, 4499])
async def test_codes_below_4500_bring_it_back(code: int) -> None:
    async def first(connection: ServerConnection) -> None:
        await connection.close(code)

    async def second(connection: ServerConnection) -> None:
        await connection.close(4500)

    script = ScriptedServer(first, second)
    async with script.running() as url:
        with pytest.raises(CommandError, match="4500"):
            await a_tail(url, IDS[3])[0].follow()
    assert script.since == [IDS[3], IDS[3]]


async def test_its_pauses_grow_to_a_limit_and_start_over_once_something_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    async def rest(seconds: float) -> None:
        pauses.append(seconds)

    async def silent(connection: ServerConnection) -> None:
        await connection.close(1011)

    async def talking(connection: ServerConnection) -> None:
        await connection.send(a_message(len(pauses) % 10))
        await connection.close(1011)

    async def last(connection: ServerConnection) -> None:
        await end(connection, STOP)

    script = ScriptedServer(*[silent] * 10, talking, silent, last)
    async with script.running() as url:
        follower, _ = a_tail(url)
        monkeypatch.setattr(follower, "rest", rest)
        with pytest.raises(CommandError):
            await follower.follow()
    limits = [0.25, 0.5, 1, 2, 4, 8, 15, 15, 15, 15, 0.25, 0.5]
    assert len(pauses) == len(limits)
    for pause, limit in zip(pauses, limits, strict=True):
        assert limit / 2 <= pause <= limit


async def test_it_remembers_a_bounded_number_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "REMEMBERED_MESSAGES", 3)
    follower, out = a_tail("ws://127.0.0.1/notify")
    for count in (0, 1, 2, 2, 3, 4, 2, 0):
        follower._take(a_message(count))
    contents = [item["Content"] for item in printed(out)]
    assert contents == [f"message {count}" for count in (0, 1, 2, 3, 4, 0)]


async def test_a_server_of_another_kind_is_named_as_such() -> None:
    async def chatting(connection: ServerConnection) -> None:
        await connection.send("hello")

    async with ScriptedServer(chatting).running() as url:
        with pytest.raises(CommandError, match="is it a quickim server"):
            await asyncio.wait_for(a_tail(url)[0].follow(), 10)
