"""quickim.js in a real browser when tokens are revoked, and with tickets in place of tokens."""

from collections.abc import Awaitable, Callable

import pytest

from tests.browser.pages import ClientPage
from tests.clients import Api, Person, Protoc
from tests.contract.test_revocation import revoke
from tests.servers import Server

OpenPage = Callable[..., Awaitable[ClientPage]]
PROTOCS: tuple[Protoc, ...] = ("ws", "sse", "poll")


async def issued(api: Api, session: str) -> str:
    """A token of the server's."""
    return str((await api.inner("get_token", session=session, platform=1)).data)


FROM_THE_BACK_END = """
window.asked = 0;
window.freshToken = async () => {
  asked += 1;
  const body = JSON.stringify({ session: %r, platform: 1 });
  return (await (await fetch("/inner/get_token", { method: "POST", body })).json()).data;
};
"""


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_a_revoked_token_is_replaced_by_the_callback_which_is_asked_once(
    server: Server, open_page: OpenPage, api: Api, alice: Person, bob: str, room: str, protoc: Protoc
) -> None:
    page = await open_page(server.url, setup=FROM_THE_BACK_END % bob, protocols=[protoc])
    await page.connect()
    await revoke(api, session=bob)
    await page.until("asked === 2")
    await alice.send(room, "after")
    assert await page.has(1) == ["after"]
    assert await page.got("ended") == []
    assert await page.run("asked") == 2


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_a_callback_that_fails_for_a_while_is_asked_again(
    server: Server, open_page: OpenPage, api: Api, alice: Person, bob: str, room: str, protoc: Protoc
) -> None:
    """At first when the connection ends, then when it is opened again with the token that was revoked."""
    setup = (
        FROM_THE_BACK_END % bob
        + """
    const good = window.freshToken;
    window.failures = 2;
    window.freshToken = async () => {
      if (asked && failures) { failures -= 1; throw new Error("down"); }
      return good();
    };
    """
    )
    page = await open_page(server.url, setup=setup, protocols=[protoc])
    await page.connect()
    await revoke(api, session=bob)
    await page.until("asked === 2", 30_000)
    await alice.send(room, "after")
    assert await page.has(1) == ["after"]
    assert await page.got("ended") == []


@pytest.mark.parametrize("protoc", PROTOCS)
async def test_without_another_token_a_revocation_is_the_end(
    server: Server, open_page: OpenPage, api: Api, bob: str, room: str, protoc: Protoc
) -> None:
    page = await open_page(server.url, token=await issued(api, bob), protocols=[protoc])
    await page.connect()
    await revoke(api, session=bob)
    await page.until("got.ended.length === 1")
    (ended,) = await page.got("ended")
    assert ended["code"] == 4503 or (ended["code"], protoc) == (10101, "poll")
    assert "token" in ended["reason"]
    assert await page.state() == ("ended", None)


async def test_with_tickets_no_token_goes_out_with_a_websocket(
    server: Server, open_page: OpenPage, api: Api, alice: Person, bob: str, room: str
) -> None:
    setup = """
    window.opened = [];
    const Real = WebSocket;
    window.WebSocket = class extends Real {
      constructor(address, protocols) { super(address, protocols); opened.push(address + " " + protocols); }
    };
    """
    page = await open_page(server.url, token=await issued(api, bob), setup=setup, protocols=["ws"], useTicket=True)
    await page.connect()
    await alice.send(room, "first")
    await page.has(1)
    await page.run("client.cursor = client.cursor")
    await page.until("opened.length === 2")
    await alice.send(room, "second")
    assert await page.has(2) == ["first", "second"]
    opened = await page.run("opened")
    assert all("ticket=" in one and "bearer." not in one and "token=" not in one for one in opened)
    assert opened[0] != opened[1]
