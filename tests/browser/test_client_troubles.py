"""quickim.js in a real browser while networks break, servers die, tokens end and the server says no."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest
from playwright.async_api import BrowserContext

from gateway.client import Client
from tests.browser.pages import ClientPage
from tests.clients import Api, Person, Protoc, fresh, mint
from tests.databases import holds_within, workers_of
from tests.faults.proxy import Proxy
from tests.servers import Server

OpenPage = Callable[..., Awaitable[ClientPage]]
Network = Callable[[Server], Proxy]
PROTOCS: tuple[Protoc, ...] = ("ws", "sse", "poll")


@pytest.fixture
def network() -> Iterator[Network]:
    """``network(server)``: what stands between a page and this server."""
    proxies: list[Proxy] = []

    def between(server: Server) -> Proxy:
        proxies.append(Proxy(server.port).start())
        return proxies[-1]

    yield between
    for proxy in proxies:
        proxy.reset()
        proxy.stop()


def through(proxy: Proxy) -> str:
    """The server's address behind it."""
    return f"http://127.0.0.1:{proxy.port}"


def kill_a_worker(server: Server, number: int) -> None:
    """One worker of several dies at once; its supervisor starts another."""
    workers = workers_of(server.pid)
    os.kill(workers[number % len(workers)], signal.SIGKILL)


@pytest.mark.slow
async def test_500_messages_come_in_order_and_once_whatever_happens(
    start_server: Callable[..., Server], context: BrowserContext, network: Network
) -> None:
    server = start_server("workers")
    proxy = network(server)
    bob, texts = fresh("bob"), [f"{number}" for number in range(500)]
    page = ClientPage(await context.new_page(), through(proxy))
    await page.load(mint(bob), "", {"upgradeMs": 300, "longestPauseMs": 1000})
    alice = mint(fresh("alice"))
    async with Client(server.url, alice) as sender:
        room = await sender.create(7, bob)
        await page.connect()
        for cut in range(5):
            await asyncio.gather(*(sender.send(room, text) for text in texts[cut * 100 :][:40]))
            await page.has(cut * 100 + 10)
            proxy.refuse()
            proxy.reset()
            if cut in (1, 3):
                kill_a_worker(server, cut)
            # Its own network is whole, but a worker that dies takes unanswered sends with it: it sends again.
            await asyncio.gather(*(sender.send(room, text) for text in texts[cut * 100 + 40 :][:60]))
            proxy.heal()
            if cut < 4:
                await page.until("client.state === 'connected'")
                await page.run(f"client.use({PROTOCS[(cut + 1) % 3]!r})")
        assert await page.has(500) == texts
        assert await page.run("got.message.map((message) => message.Seq)") == list(range(1, 501))
        assert (await page.got("reset"), await page.got("error"), page.errors) == ([], [], [])


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_a_network_that_swallows_everything_is_noticed(
    server: Server, open_page: OpenPage, alice: Person, room: str, network: Network, protoc: Protoc
) -> None:
    proxy = network(server)
    times = {"silenceMs": 1000, "answerMs": 1000, "pollMs": 1500, "openMs": 1000}
    page = await open_page(through(proxy), protocols=[protoc], **times)
    await page.connect()
    await alice.send(room, "before")
    await page.has(1)
    # Between two polls there is no connection.
    assert await asyncio.to_thread(holds_within, 10, lambda: bool(proxy.lose()))
    await alice.send(room, "meanwhile")
    assert await page.has(2) == ["before", "meanwhile"]
    assert await page.got("reset") == []


async def test_a_browser_that_goes_offline_comes_back_at_once_when_it_is_online_again(
    server: Server, open_page: OpenPage, context: BrowserContext, alice: Person, room: str
) -> None:
    page = await open_page(server.url, protocols=["sse", "poll"], firstPauseMs=60_000, longestPauseMs=60_000)
    await page.connect()
    await alice.send(room, "before")
    await page.has(1)
    await context.set_offline(True)
    # A switch of the page's only: what it has open stays open, so this ends it.
    await page.run("client.cursor = client.cursor; return 0")
    await page.until("client.state === 'waiting'")
    await alice.send(room, "meanwhile")
    await context.set_offline(False)
    assert await page.has(2) == ["before", "meanwhile"]


async def test_a_send_without_a_network_waits_and_takes_effect_once(
    server: Server, open_page: OpenPage, alice: Person, room: str, network: Network
) -> None:
    proxy = network(server)
    page = await open_page(through(proxy), longestPauseMs=1000)
    await page.connect()
    proxy.refuse()
    proxy.reset()
    await page.run(
        f"window.sends = Promise.all([0, 1, 2, 3, 4].map((number) => client.send({room!r}, String(number)))); return 0"
    )
    await page.until("client.state === 'waiting'")
    assert await page.run("client.pending.map((send) => send.content)") == ["0", "1", "2", "3", "4"]
    proxy.heal()
    receipts = await page.run("window.sends")
    assert await page.run("client.pending") == []
    assert [(one["Content"], one["MsgId"]) for one in await alice.history(room)] == [
        (f"{number}", receipt["MsgID"]) for number, receipt in enumerate(receipts)
    ]


@pytest.mark.parametrize("protoc", ["ws", "poll"])
async def test_a_send_whose_answer_was_lost_takes_effect_once(
    server: Server, open_page: OpenPage, alice: Person, room: str, network: Network, protoc: Protoc
) -> None:
    proxy = network(server)
    page = await open_page(through(proxy), protocols=[protoc], longestPauseMs=1000)
    await page.connect()
    watcher = await alice.listen("ws")
    proxy.blackhole("to_client")
    await page.run(f"window.sending = client.send({room!r}, 'once'); return 0")
    await watcher.message()
    assert proxy.reset()
    proxy.heal()
    receipt = await page.run("window.sending")
    assert [message["MsgId"] for message in await alice.history(room)] == [receipt["MsgID"]]


async def test_a_refused_send_fails_with_its_code_and_the_next_one_goes_on(
    server: Server, open_page: OpenPage, alice: Person, room: str
) -> None:
    page = await open_page(server.url)
    for protoc in ("nothing", "ws"):
        if protoc == "ws":
            await page.connect()
        codes = await page.run(
            f"""
            const same = {{ clientMsgId: {protoc!r} }};
            const sends = [
              client.send({room!r}, "first", same), client.send({room!r}, "second", same),
              client.send("nowhere", "lost"), client.send({room!r}, "third"),
            ];
            return Promise.all(sends.map((send) => send.then(() => 0, (error) => error.code)));
            """
        )
        assert codes == [0, 90019, 90014, 0], protoc
    assert [message["Content"] for message in await alice.history(room)] == ["first", "third"] * 2


async def test_the_line_of_sends_is_bounded_and_fails_when_the_client_is_closed(
    server: Server, open_page: OpenPage, room: str, network: Network
) -> None:
    proxy = network(server)
    page = await open_page(through(proxy), maxPending=2)
    proxy.refuse()
    proxy.reset()
    codes = await page.run(
        f"""
        const sends = [1, 2, 3].map((number) => client.send({room!r}, String(number)));
        client.close();
        return Promise.all(sends.map((send) => send.then(() => 0, (error) => error.code)));
        """
    )
    assert codes == ["closed", "closed", "queue-full"]
    assert await page.state() == ("closed", None)


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_a_token_that_ends_is_replaced_by_the_callback(
    server: Server, open_page: OpenPage, alice: Person, bob: str, room: str, protoc: Protoc
) -> None:
    # A token of the past is good for ten seconds more: this one for about two.
    setup = f"""
    const tokens = [{mint(bob, lifetime_seconds=-8)!r}, {mint(bob)!r}];
    window.asked = 0;
    window.freshToken = async () => {{ asked += 1; return tokens.length > 1 ? tokens.shift() : tokens[0]; }};
    """
    page = await open_page(server.url, setup=setup, protocols=[protoc])
    await page.connect()
    await page.until("asked === 2")
    await alice.send(room, "after")
    assert await page.has(1) == ["after"]
    assert await page.got("ended") == []


async def test_a_websocket_is_handed_a_new_token_before_the_old_one_ends(
    server: Server, open_page: OpenPage, alice: Person, bob: str, room: str
) -> None:
    # Two seconds long by its own claims, however late this test comes to use it.
    short = mint(bob, lifetime_seconds=60, iat=int(time.time()) + 58)
    setup = f"""
    const tokens = [{short!r}, {mint(bob)!r}];
    window.asked = 0;
    window.freshToken = () => {{ asked += 1; return tokens.length > 1 ? tokens.shift() : tokens[0]; }};
    """
    page = await open_page(server.url, setup=setup, protocols=["ws"])
    await page.connect()
    await page.until("asked === 2")
    await alice.send(room, "after")
    assert await page.has(1) == ["after"]
    assert [one["state"] for one in await page.got("state")] == ["connecting", "connected"]
    assert await page.got("error") == []


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_a_token_that_is_refused_ends_the_client(server: Server, open_page: OpenPage, protoc: Protoc) -> None:
    for setup in ("", "window.freshToken = async () => 'no-token';"):
        page = await open_page(
            server.url, token="no-token", setup=setup, protocols=[protoc], cursor="22222-2222-2222-222"
        )
        assert await page.run("client.connect().then(() => 'connected', () => 'refused')") in ("refused", "connected")
        await page.until("got.ended.length === 1")
        (ended,) = await page.got("ended")
        assert ended["code"] in (4501, 10101)
        assert await page.run("client.send('room', 'x').catch((error) => error.code)") == "ended"


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_it_comes_back_after_a_restart_as_told_and_misses_nothing(
    start_server: Callable[..., Server], context: BrowserContext, protoc: Protoc
) -> None:
    server, bob = start_server(), fresh("bob")
    page = ClientPage(await context.new_page(), server.url)
    await page.load(mint(bob), "", {"protocols": [protoc]})
    async with Api(server.url) as api:
        alice = Person(api, fresh("alice"))
        room = await api.conversation(alice.session, bob)
        await page.connect()
        await alice.send(room, "before")
        await page.has(1)
        await asyncio.to_thread(server.terminate)
        server.manage("send_message", "--conversation", room, "meanwhile")
        await asyncio.to_thread(server.restart)
        assert await page.has(2) == ["before", "meanwhile"]
        waiting = next(one for one in await page.got("state") if one["state"] == "waiting")
        assert waiting["reason"] == "restarting"
        assert await page.got("reset") == []


@pytest.mark.settings(QUICKIM_SINGLE_LOGIN_PLATFORMS="1")
@pytest.mark.parametrize("protoc", ["ws", "sse"])
async def test_a_stop_is_the_end(
    server: Server, open_page: OpenPage, api: Api, bob: str, room: str, protoc: Protoc
) -> None:
    page = await open_page(server.url, protocols=[protoc])
    await page.connect()
    await Person(api, bob).listen(protoc)
    await page.until("got.ended.length === 1")
    assert await page.got("ended") == [{"code": 4504, "reason": "replaced by a newer login"}]
    assert await page.state() == ("ended", None)
    assert await page.run("client.connect().catch((error) => error.code)") == "ended"
