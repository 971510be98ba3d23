"""The Python client while networks break, servers die, tokens end and the server says no."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.client import CallFailed, Client, QueueFull, Reset
from tests.client.following import Following
from tests.clients import Api, Person, Protoc, fresh, mint
from tests.databases import holds_within, workers_of
from tests.faults.proxy import Proxy
from tests.servers import Server

Network = Callable[[Server], Proxy]
StartServer = Callable[..., Server]
PROTOCS: tuple[Protoc, ...] = ("ws", "sse", "poll")


def through(proxy: Proxy) -> str:
    """The server's address behind it."""
    return f"http://127.0.0.1:{proxy.port}"


def kill_a_worker(server: Server, number: int) -> None:
    """One worker of several dies at once; its supervisor starts another."""
    workers = workers_of(server.pid)
    os.kill(workers[number % len(workers)], signal.SIGKILL)


@pytest.mark.slow
async def test_500_messages_come_in_order_and_once_whatever_happens(
    start_server: StartServer, network: Network
) -> None:
    server = start_server("workers")
    proxy = network(server)
    bob, texts = fresh("bob"), [f"{number}" for number in range(500)]
    async with Api(server.url, keep_alive=False) as api:
        alice = Person(api, fresh("alice"))
        room = await api.conversation(alice.session, bob)
        async with (
            Client(server.url, alice.token) as sender,
            Following(through(proxy), mint(bob), upgrade_seconds=0.3) as following,
        ):
            for cut in range(5):
                part = asyncio.gather(*(sender.send(room, text) for text in texts[cut * 100 :][:100]))
                await following.until(lambda: len(following.messages) >= cut * 100 + 30)  # noqa: B023  # awaited here
                proxy.refuse()
                proxy.reset()
                if cut in (1, 3):
                    kill_a_worker(server, cut)
                await part
                proxy.heal()
                if cut < 4:
                    await following.until(lambda: following.client.state == "connected")
                    await following.client.use(PROTOCS[(cut + 1) % 3])
            assert await following.has(500) == texts
            assert following.resets == []
            assert [message["Seq"] for message in following.messages] == list(range(1, 501))


@pytest.mark.slow
async def test_a_rolling_restart_is_not_noticed(start_server: StartServer) -> None:
    server = start_server("workers")
    before = set(workers_of(server.pid))
    bob = fresh("bob")
    async with Api(server.url, keep_alive=False) as api, AsyncExitStack() as clients:
        alice = Person(api, fresh("alice"))
        room = await api.conversation(alice.session, bob)
        sender = await clients.enter_async_context(Client(server.url, alice.token))
        devices = [
            await clients.enter_async_context(Following(server.url, mint(bob), protocols=(protoc,)))
            for protoc in PROTOCS
        ]
        for following in devices:
            await following.until(lambda: following.client.state == "connected")  # noqa: B023  # awaited here
        os.kill(server.pid, signal.SIGHUP)
        sent = 0
        while set(workers_of(server.pid)) & before or sent < 50:
            await sender.send(room, f"{sent}")
            sent += 1
        for following in devices:
            assert await following.has(sent) == [f"{number}" for number in range(sent)]
            assert following.resets == []


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_a_network_that_swallows_everything_is_noticed(
    server: Server, alice: Person, bob: str, room: str, network: Network, protoc: Protoc
) -> None:
    proxy = network(server)
    options: dict[str, Any] = {"silence_seconds": 1.0, "poll_seconds": 1.5, "open_seconds": 1.0}
    async with Following(through(proxy), mint(bob), protocols=(protoc,), **options) as following:
        await alice.send(room, "before")
        await following.has(1)
        # A connection is made anew for the first poll after a break.
        assert await asyncio.to_thread(holds_within, 10, lambda: bool(proxy.lose()))
        await alice.send(room, "meanwhile")
        assert await following.has(2) == ["before", "meanwhile"]


async def test_a_send_without_a_network_waits_and_takes_effect_once(
    server: Server, alice: Person, bob: str, room: str, network: Network
) -> None:
    proxy = network(server)
    async with Following(through(proxy), mint(bob)) as following:
        proxy.refuse()
        proxy.reset()
        sends = [asyncio.create_task(following.client.send(room, f"{number}")) for number in range(5)]
        await following.until(lambda: following.client.state == "waiting")
        assert [params["content"] for params in following.client.pending] == [f"{number}" for number in range(5)]
        proxy.heal()
        receipts = await asyncio.gather(*sends)
        assert following.client.pending == []
    assert [(one["Content"], one["MsgId"]) for one in await alice.history(room)] == [
        (f"{number}", receipt["MsgID"]) for number, receipt in enumerate(receipts)
    ]


async def test_a_send_whose_answer_was_lost_takes_effect_once(
    server: Server, alice: Person, bob: str, room: str, network: Network
) -> None:
    proxy = network(server)
    async with Client(through(proxy), mint(bob)) as client:
        proxy.blackhole("to_client")
        sending = asyncio.create_task(client.send(room, "once"))
        watcher = await alice.listen("ws")
        if not await alice.history(room):
            await watcher.message()
        assert proxy.reset()
        proxy.heal()
        receipt = await sending
    assert [message["MsgId"] for message in await alice.history(room)] == [receipt["MsgID"]]


async def test_a_refused_send_fails_with_its_code_and_the_next_one_goes_on(
    server: Server, alice: Person, bob: str, room: str
) -> None:
    async with Client(server.url, mint(bob)) as client:
        outcomes = await asyncio.gather(
            client.send(room, "first", client_msg_id="same"),
            client.send(room, "second", client_msg_id="same"),
            client.send("nowhere", "lost"),
            client.send(room, "third"),
            return_exceptions=True,
        )
        codes = [outcome.code if isinstance(outcome, CallFailed) else 0 for outcome in outcomes]
    assert codes == [0, 90019, 90014, 0]
    assert [message["Content"] for message in await alice.history(room)] == ["first", "third"]


async def test_the_line_of_sends_is_bounded(server: Server, bob: str, room: str, network: Network) -> None:
    proxy = network(server)
    proxy.refuse()
    client = Client(through(proxy), mint(bob), max_pending=2)
    waiting = [asyncio.create_task(client.send(room, f"{number}")) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await client.send(room, "one too many")
    await client.close()
    assert [type(outcome).__name__ for outcome in await asyncio.gather(*waiting, return_exceptions=True)] == [
        "Closed",
        "Closed",
    ]


@pytest.mark.settings(QUICKIM_SEND_RATE="2/s")
async def test_a_sender_who_is_too_fast_waits_as_long_as_he_is_told(
    server: Server, alice: Person, bob: str, room: str
) -> None:
    texts = [f"{number}" for number in range(10)]
    async with Client(server.url, mint(bob)) as client:
        await asyncio.gather(*(client.send(room, text) for text in texts))
    assert [message["Content"] for message in await alice.history(room)] == texts


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_a_token_that_ends_is_replaced_by_the_callback(
    server: Server, alice: Person, bob: str, room: str, protoc: Protoc
) -> None:
    # A token of the past is good for ten seconds more: this one for about two.
    lifetimes = [-8, 3600]
    asked: list[int] = []

    async def fresh_token() -> str:
        asked.append(lifetimes[min(len(asked), 1)])
        return mint(bob, lifetime_seconds=asked[-1])

    async with Following(server.url, fresh_token, protocols=(protoc,)) as following:
        await following.until(lambda: len(asked) > 1)
        await alice.send(room, "after")
        assert await following.has(1) == ["after"]
    assert asked == lifetimes
    assert following.ended is None


async def test_a_token_that_ends_without_a_callback_ends_the_client(server: Server, bob: str, room: str) -> None:
    async with Following(server.url, mint(bob, lifetime_seconds=-8)) as following:
        await following.until(lambda: following.ended is not None)
        assert following.ended is not None
        assert (following.ended.code, following.client.state) == (4002, "ended")
        with pytest.raises(Exception, match="4002"):
            await following.client.send(room, "too late")


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_a_token_that_is_refused_even_when_new_ends_the_client(server: Server, protoc: Protoc) -> None:
    async with Following(server.url, lambda: "no token", is_late=True, protocols=(protoc,)) as following:
        await following.until(lambda: following.ended is not None)
        assert following.ended is not None
        assert following.ended.code in (4501, 10101)


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_it_comes_back_after_a_restart_as_told_and_misses_nothing(
    start_server: StartServer, protoc: Protoc
) -> None:
    server, bob = start_server(), fresh("bob")
    async with Api(server.url) as api:
        alice = Person(api, fresh("alice"))
        room = await api.conversation(alice.session, bob)
        async with Following(server.url, mint(bob), protocols=(protoc,)) as following:
            await alice.send(room, "before")
            await following.has(1)
            await asyncio.to_thread(server.terminate)
            server.manage("send_message", "--conversation", room, "meanwhile")
            await asyncio.to_thread(server.restart)
            assert await following.has(2) == ["before", "meanwhile"]
            waiting = next(state for state in following.states if state.state == "waiting")
            assert waiting.reason == "restarting"
            assert following.resets == []


@pytest.mark.settings(QUICKIM_SINGLE_LOGIN_PLATFORMS="1")
@pytest.mark.parametrize("protoc", ["ws", "sse"])
async def test_a_stop_is_the_end(server: Server, api: Api, bob: str, room: str, protoc: Protoc) -> None:
    async with Following(server.url, mint(bob), protocols=(protoc,)) as following:
        await Person(api, bob).listen(protoc)
        await following.until(lambda: following.ended is not None)
        assert following.ended is not None
        assert (following.ended.code, following.ended.reason) == (4504, "replaced by a newer login")
        assert following.client.state == "ended"
        assert following.states[-1].state == "ended"


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_what_is_no_longer_kept_is_told_as_a_reset(
    server: Server, alice: Person, bob: str, room: str, protoc: Protoc
) -> None:
    sent = [await alice.send(room, f"{number}") for number in range(4)]
    arguments = ["prune_messages", "--older-than", "0s", "--conversation", room]
    await asyncio.to_thread(server.manage, *arguments)
    kept = await alice.send(room, "kept")
    async with Following(server.url, mint(bob), cursor=sent[1]["MsgID"], protocols=(protoc,)) as following:
        await following.until(lambda: following.resets == [Reset()])
        assert [message["MsgId"] for message in await following.client.latest(room)] == [kept["MsgID"]]
        await alice.send(room, "live")
        assert await following.has(1) == ["live"]
        assert following.resets == [Reset()]


async def test_who_leaves_and_joins_again_is_not_told_of_a_gap(
    server: Server, alice: Person, bob: str, room: str
) -> None:
    for protoc in PROTOCS:
        async with Following(server.url, mint(bob), protocols=(protoc,)) as following:
            await alice.send(room, "first")
            await following.has(1)
            await following.client.leave(room)
            await alice.send(room, "not for him")
            await following.client.join(room)
            await alice.send(room, "again")
            assert (await following.has(2), following.resets) == (["first", "again"], [])


async def test_a_slow_app_slows_down_the_stream_and_misses_nothing(
    server: Server, alice: Person, bob: str, room: str
) -> None:
    texts = [f"{number}" for number in range(300)]
    began = await alice.send(room, "began")
    async with Client(server.url, mint(bob), cursor=began["MsgID"], max_waiting=5) as client:
        got = []
        await client.connect()
        await alice.pour(room, texts)
        async for message in client.messages():
            got.append(message["Content"])
            if len(got) == 300:
                break
    assert got == texts


async def test_its_pauses_grow_while_nobody_is_there(server: Server, bob: str, network: Network) -> None:
    proxy, pauses = network(server), []
    proxy.refuse()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    options = {"sleep": sleep, "longest_pause_seconds": 2.0, "first_pause_seconds": 0.5}
    async with Following(through(proxy), mint(bob), is_late=True, **options) as following:
        await following.until(lambda: len(pauses) >= 6)
    for pause, limit in zip(pauses, [0.5, 1, 2, 2, 2, 2], strict=False):
        assert limit / 2 <= pause <= limit
