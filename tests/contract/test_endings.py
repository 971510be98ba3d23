"""How the server ends a connection: it says why on every protocol; the close code says "resume" or "stop"."""

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.clients import Api, Ending, Person, Protoc, fresh, mint
from tests.clients.api import Answer
from tests.clients.listener import RefusedError
from tests.contract.test_connecting import check_bye
from tests.servers import Flavour, Server

patient = pytest.mark.settings(QUICKIM_POLL_WAIT_SECONDS="10")
limited = pytest.mark.settings(
    QUICKIM_SINGLE_LOGIN_PLATFORMS="7,9",
    QUICKIM_MAX_CONNECTIONS_PER_SESSION="3",
    QUICKIM_POLL_WAIT_SECONDS="10",
)


async def poll_from_now(api: Api, who: Person) -> "asyncio.Task[Answer]":
    """A poll that waits already: the caller may rely on its being registered."""
    conversation = await api.conversation(who.session)
    position = (await api.post(conversation, "a position"))["MsgID"]
    await api.post(conversation, "something to tell")
    cursor = (await api.poll(who.token, since=position)).data["Cursor"]
    polling = asyncio.create_task(api.poll(who.token, since=cursor))
    done, _ = await asyncio.wait([polling], timeout=0.5)
    assert not done, "a poll with nothing to tell waits"
    return polling


def bye_of(answer: Answer) -> dict[str, Any]:
    """The one bye in a poll's answer."""
    (bye,) = (notice for notice in answer.data["Event"] if notice["Event"] == "bye")
    assert isinstance(bye, dict)
    return bye


@pytest.mark.parametrize("protoc", ["ws", "sse"])
async def test_a_stream_ends_with_its_token(api: Api, alice: Person, protoc: Protoc) -> None:
    alice.token = mint(alice.session, lifetime_seconds=-7)  # 3 s are left of the leeway
    before = time.monotonic()
    ending = await (await alice.listen(protoc)).ended(15)
    assert time.monotonic() - before < 6
    check_bye(ending.bye, 4002, reconnect=True)
    assert ending.code == (4002 if protoc == "ws" else None)
    assert ending.error is None, "the stream ends in good order"


@patient
async def test_a_poll_ends_with_its_token(api: Api, alice: Person) -> None:
    alice.token = mint(alice.session, lifetime_seconds=-7)
    before = time.monotonic()
    answer = await api.poll(alice.token)
    assert time.monotonic() - before < 6
    check_bye(bye_of(answer), 4002, reconnect=True)


async def test_who_resumes_with_a_new_token_misses_nothing(alice: Person, bob: Person, room: str) -> None:
    position = (await alice.send(room, "position"))["MsgID"]
    bob.token = mint(bob.session, lifetime_seconds=-8)
    listener = await bob.listen("ws", since=position)
    await alice.send(room, "one")
    await listener.ended(15)
    await alice.send(room, "two")
    bob.token = mint(bob.session)
    listener = await bob.listen("ws", since=listener.cursor)
    assert (await listener.messages_in(room, 1))[-1]["Content"] == "two"


@limited
@pytest.mark.parametrize("protoc", ["ws", "sse"])
async def test_where_one_login_is_allowed_the_newest_wins(
    alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    phone = bob.on(7)
    older = await phone.listen(protoc)
    newer = await phone.listen(protoc)
    ending = await older.ended()
    check_bye(ending.bye, 4504, reconnect=False)
    assert ending.code == (4504 if protoc == "ws" else None)
    await alice.send(room, "to the newest")
    assert (await newer.message())["Content"] == "to the newest"


@limited
async def test_where_one_login_is_allowed_the_newest_poll_wins(api: Api, alice: Person, room: str) -> None:
    phone = alice.on(9)
    older = await poll_from_now(api, phone)
    newer = asyncio.create_task(api.poll(phone.token))
    check_bye(bye_of(await older), 4504, reconnect=False)
    await alice.send(room, "to the newest")
    assert [message["Content"] for message in (await newer).data["Msg"]] == ["to the newest"]


@limited
async def test_one_login_counts_for_a_session_a_platform_and_a_protocol(alice: Person, bob: Person, room: str) -> None:
    listeners = [
        await bob.on(7).listen("ws"),
        await bob.on(7).listen("sse"),
        await bob.on(9).listen("ws"),
        await alice.on(7).listen("ws"),
        await alice.on(1).listen("ws"),
        await alice.on(1).listen("ws"),
    ]
    await alice.send(room, "to all")
    for listener in listeners:
        assert (await listener.message())["Content"] == "to all"
        assert listener.ending is None


@limited
@pytest.mark.parametrize("protoc", ["ws", "sse", "poll"])
async def test_a_connection_over_the_cap_is_refused_and_the_older_ones_stay(
    api: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    older = [await bob.listen("ws"), await bob.on(2).listen("ws"), await bob.on(3).listen("sse")]
    if protoc == "ws":
        ending = await (await bob.listen("ws")).ended()
        check_bye(ending.bye, 4504, reconnect=False)
        assert ending.code == 4504
    else:
        answer = await api.request("GET", "/notify", params={"protoc": protoc, "token": bob.token})
        answer.refused(10007)
        assert int(answer.headers["retry-after"]) >= 1
    await alice.send(room, "to the older ones")
    for listener in older:
        assert (await listener.message())["Content"] == "to the older ones"
    await alice.listen("ws")  # another session is not concerned


@limited
async def test_a_closed_connection_makes_room_for_another(alice: Person, bob: Person, room: str) -> None:
    older = [await bob.listen("sse") for _ in range(3)]
    await older[0].close()
    newer = None
    async with asyncio.timeout(10):
        while newer is None:  # the server learns of the close when it learns of it
            with suppress(RefusedError):
                newer = await bob.listen("sse")
    await alice.send(room, "welcome")
    assert (await newer.message())["Content"] == "welcome"


def check_stopped(ending: Ending, protoc: Protoc) -> None:
    """The node said that it goes and that the client shall come back."""
    assert ending.bye is not None, ending
    code = ending.bye["Code"]
    assert code in (1001, 1012)
    check_bye(ending.bye, code, reconnect=True)
    assert ending.code == (code if protoc == "ws" else None)


@pytest.mark.parametrize("flavour", ["embedded", "cluster", "workers"])
async def test_a_server_asked_to_stop_says_bye_to_everyone_and_loses_nothing(
    start_server: Callable[..., Server], flavour: Flavour
) -> None:
    server = start_server(flavour, QUICKIM_POLL_WAIT_SECONDS="20")
    async with Api(server.url) as api:
        alice = Person(api, fresh("alice"))
        room = await api.conversation(alice.session)
        await alice.send(room, "before")
        position = (await alice.send(room, "seen"))["MsgID"]
        streams = [await alice.listen("ws", since=position), await alice.listen("sse", since=position)]
        polling = await poll_from_now(api, alice)
        server.ask_to_stop()
        for listener in streams:
            check_stopped(await listener.ended(), listener.protoc)  # type: ignore[arg-type]
        assert bye_of(await polling)["Code"] in (1001, 1012)
        check_bye(bye_of(await polling), bye_of(await polling)["Code"], reconnect=True)
    assert await asyncio.to_thread(server.wait) in (0, -signal.SIGTERM)
    await asyncio.to_thread(server.restart)
    async with Api(server.url) as api:
        again = Person(api, alice.session)
        assert [message["Content"] for message in await again.history(room)] == ["before", "seen"]
        listener = await again.listen("ws", since=position)
        await again.send(room, "after")
        assert [message["Seq"] for message in await listener.messages_in(room, 1)] == [3]
