"""Opening a push connection: how a token is shown, which protocol is meant, how a refusal is said."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Final

import httpx
import pytest
import websockets
from websockets.asyncio.client import connect

from tests.clients import Api, Notice, Person, Protoc, RefusedError, fresh, mint
from tests.clients.api import Answer
from tests.servers import ANYWHERE, Server

pytestmark = pytest.mark.parametrize("server", ANYWHERE, indirect=True)

CROWDED: Final[tuple[Protoc, ...]] = ("ws", "sse")
MALFORMED_CURSORS = [
    "x",
    "EDCZL-SY32-243Y-VW",
    "edczl-sy32-243y-vwq",
    "EDCZI-SY32-243Y-VWQ",
    "a" * 512,
    "A" * 513,
    "EDCZL-SY32-243Y-VWQ" * 40,
    "\x00",
    "a b",
    "会话",
    "../../x",
    "-1",
]


def check_bye(bye: Notice | None, code: int, *, reconnect: bool) -> None:
    """The notice that precedes the end of a connection, exactly."""
    assert bye is not None
    assert set(bye) == {"Event", "Code", "Reason", "Reconnect", "RetryAfterMs"}, bye
    assert (bye["Event"], bye["Code"], bye["Reconnect"]) == ("bye", code, reconnect)
    assert bye["Reconnect"] is reconnect
    assert isinstance(bye["Reason"], str)
    assert bye["Reason"]
    assert isinstance(bye["RetryAfterMs"], int)
    assert bye["RetryAfterMs"] >= 0


async def refused_socket(api: Api, query: str) -> tuple[Notice, int | None]:
    """Opens a WebSocket that is accepted, reads its only frame, the bye, and the close code that follows."""
    address = api.url.replace("http", "ws", 1) + "/notify" + query
    async with connect(address, proxy=None) as socket:
        bye = json.loads(await asyncio.wait_for(socket.recv(), 10))
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 10)
        return bye, socket.close_code


async def refused(api: Api, **params: str) -> Answer:
    """The HTTP answer to a connecting request that must not become a stream."""
    return await api.request("GET", "/notify", params=params)


@pytest.mark.parametrize("protoc", ["sse", "poll"])
async def test_over_http_a_bad_token_is_refused_by_its_envelope(api: Api, protoc: str) -> None:
    expired = mint(fresh("alice"), lifetime_seconds=-60)
    for token in ("", "nonsense", expired):
        (await refused(api, protoc=protoc, token=token)).refused(10101)
    (await refused(api, protoc=protoc)).refused(10101)


async def test_a_websocket_with_a_bad_token_is_accepted_told_and_closed(api: Api) -> None:
    expired = mint(fresh("alice"), lifetime_seconds=-60)
    for query in ("?protoc=ws", "?protoc=ws&token=nonsense", f"?token={expired}", ""):
        bye, code = await refused_socket(api, query)
        check_bye(bye, 4501, reconnect=False)
        assert code == 4501


async def test_a_token_may_come_in_the_address_or_in_the_header(
    server: Server, api: Api, alice: Person, bob: Person, room: str
) -> None:
    by_header = {"Authorization": f"Bearer {bob.token}"}
    address = server.url.replace("http", "ws", 1) + "/notify?protoc=ws"
    async with (
        connect(address, additional_headers=by_header, proxy=None) as by_header_socket,
        connect(f"{address}&token={bob.token}", proxy=None) as by_address_socket,
    ):
        await alice.send(room, "both")
        for socket in (by_header_socket, by_address_socket):
            assert json.loads(await asyncio.wait_for(socket.recv(), 10))["Content"] == "both"
    assert (await api.request("GET", "/notify", params={"protoc": "poll", "token": bob.token})).data


async def test_a_token_may_come_as_a_subprotocol(server: Server, alice: Person, bob: Person, room: str) -> None:
    address = server.url.replace("http", "ws", 1) + "/notify?protoc=ws"
    offered = [websockets.Subprotocol("quickim"), websockets.Subprotocol(f"bearer.{bob.token}")]
    async with connect(address, subprotocols=offered, proxy=None) as socket:
        assert socket.subprotocol == "quickim", "a browser gives up when none or the token is chosen"
        await alice.send(room, "hello")
        assert json.loads(await asyncio.wait_for(socket.recv(), 10))["Content"] == "hello"


async def test_a_bad_token_as_a_subprotocol_is_told_and_closed(server: Server) -> None:
    address = server.url.replace("http", "ws", 1) + "/notify?protoc=ws"
    offered = [websockets.Subprotocol("quickim"), websockets.Subprotocol("bearer.nonsense")]
    async with connect(address, subprotocols=offered, proxy=None) as socket:
        check_bye(json.loads(await asyncio.wait_for(socket.recv(), 10)), 4501, reconnect=False)
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 10)
        assert socket.close_code == 4501


async def test_an_upgrade_without_protoc_is_a_websocket(server: Server, alice: Person, room: str) -> None:
    async with connect(server.url.replace("http", "ws", 1) + f"/notify?token={alice.token}", proxy=None) as socket:
        await alice.send(room, "hello")
        assert json.loads(await asyncio.wait_for(socket.recv(), 10))["Content"] == "hello"


async def test_without_an_upgrade_protoc_must_name_sse_or_poll(api: Api, alice: Person) -> None:
    for params in (
        {},
        {"protoc": "ws"},
        {"protoc": ""},
        {"protoc": "SSE"},
        {"protoc": "grpc"},
        {"protoc": "\x00"},
    ):
        (await refused(api, token=alice.token, **params)).refused(90013)


@pytest.mark.parametrize("protoc", ["grpc", "WS", "%00"])
async def test_a_websocket_with_an_unknown_protoc_is_told_and_closed(api: Api, alice: Person, protoc: str) -> None:
    bye, code = await refused_socket(api, f"?protoc={protoc}&token={alice.token}")
    check_bye(bye, 4500, reconnect=False)
    assert code == 4500


@pytest.mark.parametrize("cursor", MALFORMED_CURSORS, ids=lambda text: ascii(text)[:24])
async def test_a_malformed_cursor_is_refused_on_every_protocol(api: Api, alice: Person, cursor: str) -> None:
    for protoc in ("sse", "poll"):
        (await refused(api, token=alice.token, protoc=protoc, since=cursor)).refused(10001)
    query = str(httpx.QueryParams({"token": alice.token, "protoc": "ws", "since": cursor}))
    bye, code = await refused_socket(api, f"?{query}")
    check_bye(bye, 4500, reconnect=False)
    assert code == 4500


async def test_a_malformed_last_event_id_is_refused(alice: Person) -> None:
    with pytest.raises(RefusedError) as caught:
        await alice.listen_sse(last_event_id="nonsense")
    error = caught.value
    Answer(error.status, error.headers, error.content).refused(10001)


async def test_an_event_stream_has_the_headers_proxies_and_browsers_need(alice: Person) -> None:
    headers = (await alice.listen_sse()).headers
    assert headers["content-type"].partition(";")[0] == "text/event-stream"
    assert "no-cache" in headers["cache-control"] or "no-store" in headers["cache-control"]
    assert "content-length" not in headers
    assert headers.get("content-encoding", "identity") == "identity"


async def test_an_event_stream_opens_at_once(alice: Person) -> None:
    before = time.monotonic()
    await alice.listen_sse()
    assert time.monotonic() - before < 2


@pytest.mark.slow
async def test_an_idle_event_stream_shows_life_within_20_seconds(alice: Person) -> None:
    stream = await alice.listen_sse()
    parser = stream.parser
    await stream.wait_until(lambda: parser.comments + parser.keep_alives >= 1, 20.5)  # may come with the headers
    await stream.wait_until(lambda: parser.comments + parser.keep_alives >= 2, 20.5)


async def test_without_a_cursor_a_stream_starts_now(alice: Person, bob: Person, room: str, protoc: Protoc) -> None:
    await alice.send(room, "before")
    listener = await bob.listen(protoc)
    await alice.send(room, "after")
    message = await listener.message()
    assert (message["Content"], message["Seq"]) == ("after", 2)
    assert listener.of(room) == [message]


async def test_every_handshake_is_live_at_once(alice: Person, bob: Person, room: str) -> None:
    """No moment between the handshake and the first delivery in which a message could fall."""
    for number in range(20):
        listener = await bob.listen("ws" if number % 2 else "sse")
        await alice.send(room, f"{number}")
        assert (await listener.message())["Content"] == f"{number}"
        await listener.close()


async def test_a_crowd_that_connects_at_once_gets_in(person: Callable[[str], Person], api: Api, alice: Person) -> None:
    crowd = [person("member") for _ in range(150)]
    room = await api.conversation(alice.session, *(one.session for one in crowd))
    listeners = await asyncio.gather(*(one.listen(protoc) for one in crowd for protoc in CROWDED))
    await alice.send(room, "welcome")
    for listener in listeners:
        assert (await listener.message())["Content"] == "welcome"
