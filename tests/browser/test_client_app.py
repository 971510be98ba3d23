"""quickim.js and the app around it: what is awaited, what is told, and what a page that nobody sees does."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.browser.pages import ClientPage
from tests.clients import Person, Protoc
from tests.servers import Server

OpenPage = Callable[..., Awaitable[ClientPage]]
PROTOCS: tuple[Protoc, ...] = ("ws", "sse", "poll")
RESET = {"conversation": None, "after": 0, "before": 0}


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_what_is_no_longer_kept_is_told_as_a_reset(
    server: Server, open_page: OpenPage, alice: Person, room: str, protoc: Protoc
) -> None:
    sent = [await alice.send(room, f"{number}") for number in range(4)]
    await asyncio.to_thread(server.manage, "prune_messages", "--older-than", "0s", "--conversation", room)
    kept = await alice.send(room, "kept")
    page = await open_page(server.url, cursor=sent[1]["MsgID"], protocols=[protoc])
    await page.connect()
    await page.until("got.reset.length === 1")
    assert await page.got("reset") == [RESET]
    assert [one["MsgId"] for one in await page.run(f"client.latest({room!r})")] == [kept["MsgID"]]
    await alice.send(room, "live")
    assert await page.has(1) == ["live"]
    assert await page.got("reset") == [RESET]


async def test_a_listener_is_awaited_and_one_that_fails_loses_nothing(
    server: Server, open_page: OpenPage, alice: Person, room: str
) -> None:
    page = await open_page(server.url)
    await page.run(
        """
        window.steps = [];
        client.on("message", async ({ Content, MsgId }) => {
          steps.push(`begin ${Content} ${client.cursor === MsgId}`);
          await new Promise((resolve) => setTimeout(resolve));
          steps.push(`end ${Content}`);
          if (Content === "1") throw new Error("the app's own");
        });
        return 0
        """
    )
    await page.connect()
    await alice.pour(room, ["0", "1", "2"])
    await page.until("steps.length === 6")
    assert await page.run("steps") == [f"{step}" for n in range(3) for step in (f"begin {n} false", f"end {n}")]
    await page.until("client.cursor === got.message[2].MsgId")
    assert await page.got("error") == ["undefined: the app's own"]
    assert [one["state"] for one in await page.got("state")] == ["connecting", "connected"]


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_a_slow_app_is_given_everything_in_its_own_time(
    server: Server, open_page: OpenPage, alice: Person, room: str, protoc: Protoc
) -> None:
    page = await open_page(server.url, protocols=[protoc], maxWaiting=5)
    await page.run(
        "client.on('message', () => new Promise((resolve) => setTimeout(resolve))); return 0",
    )
    await page.connect()
    texts = [f"{number}" for number in range(200)]
    await alice.pour(room, texts)
    assert await page.has(200) == texts
    assert await page.got("reset") == []


async def test_a_hidden_page_that_is_to_pause_disconnects_and_resumes_at_once_when_seen(
    server: Server, open_page: OpenPage, alice: Person, room: str
) -> None:
    page = await open_page(server.url, whenHidden="pause", hiddenMs=10)
    await page.connect()
    await alice.send(room, "seen")
    await page.has(1)
    show = """
    Object.defineProperty(document, "hidden", {{ value: {}, configurable: true }});
    document.dispatchEvent(new Event("visibilitychange"));
    return 0
    """
    await page.run(show.format("true"))
    await page.until("client.state === 'paused'")
    await alice.send(room, "unseen")
    await page.run(show.format("false"))
    assert await page.has(2) == ["seen", "unseen"]


async def test_who_leaves_and_joins_again_is_not_told_of_a_gap(
    server: Server, open_page: OpenPage, alice: Person, room: str
) -> None:
    for protoc in PROTOCS:
        page = await open_page(server.url, protocols=[protoc])
        await page.connect()
        await alice.send(room, "first")
        await page.has(1)
        await page.run(f"client.leave({room!r})")
        await alice.send(room, "not for him")
        await page.run(f"client.join({room!r})")
        await alice.send(room, "again")
        assert (await page.has(2), await page.got("reset")) == (["first", "again"], [])
        await page.run("client.close(); return 0")
