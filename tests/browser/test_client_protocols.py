"""quickim.js in a real browser: every protocol, changing between them, and what is left when some are blocked."""

from collections.abc import Awaitable, Callable

import pytest

from tests.browser.pages import ClientPage
from tests.clients import Api, Person, Protoc, mint
from tests.servers import Server

OpenPage = Callable[..., Awaitable[ClientPage]]
NO_WEBSOCKET = """
window.WebSocket = class {
  constructor() { setTimeout(() => this.onclose?.({ code: 1006 })); }
  close() {}
};
"""
NO_STREAMS = """
const genuine = window.fetch;
window.fetch = (address, options) =>
  String(address).includes("protoc=sse") ? Promise.reject(new TypeError("blocked")) : genuine(address, options);
"""


@pytest.mark.parametrize("protoc", ["ws", "sse", "poll"])
async def test_each_protocol_brings_all_messages_in_order(
    server: Server, open_page: OpenPage, alice: Person, room: str, protoc: Protoc
) -> None:
    page = await open_page(server.url, protocols=[protoc])
    await page.connect()
    assert await page.state() == ("connected", protoc)
    texts = [f"{number}" for number in range(50)]
    await alice.pour(room, texts)
    assert await page.has(50) == texts
    assert await page.got("reset") == []
    assert await page.got("error") == []


async def test_without_a_websocket_it_falls_back_to_sse_and_without_that_to_polling(
    server: Server, open_page: OpenPage, alice: Person, room: str
) -> None:
    page = await open_page(server.url, setup=NO_WEBSOCKET)
    await page.connect()
    assert await page.state() == ("connected", "sse")
    poller = await open_page(server.url, setup=NO_WEBSOCKET + NO_STREAMS)
    await poller.connect()
    assert await poller.state() == ("connected", "poll")
    await alice.send(room, "all the same")
    assert await page.has(1) == await poller.has(1) == ["all the same"]


async def test_it_comes_back_up_to_the_websocket_when_that_works_again(
    server: Server, open_page: OpenPage, alice: Person, room: str
) -> None:
    page = await open_page(server.url, setup=f"window.Genuine = WebSocket; {NO_WEBSOCKET}", upgradeMs=50)
    await page.connect()
    assert await page.state() == ("connected", "sse")
    await alice.send(room, "down")
    await page.has(1)
    await page.run("window.WebSocket = window.Genuine; return 0")
    await page.until("client.protocol === 'ws'")
    await alice.send(room, "up")
    assert await page.has(2) == ["down", "up"]


async def test_it_changes_protocols_on_demand_while_messages_flow(
    server: Server, open_page: OpenPage, alice: Person, room: str
) -> None:
    page = await open_page(server.url)
    await page.connect()
    texts = [f"{number}" for number in range(120)]
    for number, protoc in enumerate(["sse", "poll", "ws", "poll", "sse", "ws"]):
        part = texts[number * 20 :][:20]
        await page.run(f"window.changing = client.use({protoc!r}); return 0")
        await alice.pour(room, part)
        await page.run("window.changing")
        assert await page.state() == ("connected", protoc)
    assert await page.has(120) == texts
    assert await page.got("reset") == []


async def test_a_protocol_that_cannot_be_used_is_refused_and_the_connection_stays(
    server: Server, open_page: OpenPage, alice: Person, room: str
) -> None:
    page = await open_page(server.url, setup=NO_WEBSOCKET, protocols=["sse"], upgradeMs=60_000)
    await page.connect()
    refused = await page.run("client.use('ws').then(() => 'changed', (error) => error.message)")
    assert refused == "ws cannot be opened now"
    await alice.send(room, "still there")
    assert await page.has(1) == ["still there"]


async def test_it_starts_where_a_cursor_says_and_tells_its_own(
    server: Server, open_page: OpenPage, alice: Person, bob: str, room: str
) -> None:
    first = await alice.send(room, "1")
    await alice.send(room, "2")
    page = await open_page(server.url, cursor=first["MsgID"])
    await page.connect()
    assert await page.has(1) == ["2"]
    await page.until("client.cursor === got.message[0].MsgId")
    cursor = await page.run("const cursor = client.cursor; client.close(); return cursor")
    await alice.send(room, "3")
    again = await open_page(server.url, cursor=cursor)
    await again.connect()
    assert await again.has(1) == ["3"]
    assert await again.run("client.session") == bob


async def test_the_other_endpoints_are_methods(
    server: Server, open_page: OpenPage, api: Api, alice: Person, bob: str, room: str
) -> None:
    sent = [await alice.send(room, f"{number}") for number in range(3)]
    for protoc in ("ws", "poll"):
        page = await open_page(server.url, protocols=[protoc], token=mint(bob))
        await page.connect()
        assert room in await page.run("client.conversations()")
        made = await page.run(f"client.create(5, [{alice.session!r}])")
        assert await page.run(f"client.isMember({made!r})") is True
        await page.run(f"client.leave({made!r})")
        assert await page.run(f"client.isMember({made!r})") is False
        await page.run(f"client.join({made!r})")
        assert (await page.run(f"client.detail({made!r})"))["ConversationType"] == 5
        assert await page.run(f"client.lastMsgId({room!r})") == sent[-1]["MsgID"]
        assert (await page.run(f"client.lastMessage({room!r})"))["Content"] == "2"
        assert await page.run(f"client.lastMessage({made!r})") is None
        middle = sent[1]["MsgID"]
        ranged = await page.run(f"client.history({room!r}, {{ from: {middle!r}, desc: true }})")
        assert ([one["Content"] for one in ranged["messages"]], ranged["hasMore"]) == (["2", "1"], False)
        for method, arguments, texts in (
            ("latest", "", ["0", "1", "2"]),
            ("before", f", {middle!r}", ["0"]),
            ("after", f", {middle!r}", ["2"]),
        ):
            found = await page.run(f"client.{method}({room!r}{arguments})")
            assert [one["Content"] for one in found] == texts, (protoc, method)
        refused = await page.run("client.detail('nowhere').catch((error) => [error.name, error.code])")
        assert refused == ["QuickimError", 90014]
