"""A ticket opens one connection, once, soon, and for no longer than the token that it was given for."""

import asyncio
import json
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect

from tests.clients import Api, Person, fresh, mint
from tests.contract.test_connecting import check_bye, refused_socket
from tests.contract.test_revocation import holder, revoke


async def ticket_of(who: Person) -> str:
    """A new ticket."""
    answer = (await who.call("ticket")).data
    assert set(answer) == {"Ticket"}
    return str(answer["Ticket"])


async def poll(api: Api, ticket: str, **more: str) -> Any:
    """One poll with a ticket instead of a token."""
    return await api.request("GET", "/notify", params={"protoc": "poll", "ticket": ticket, **more})


async def socket_says(api: Api, query: str, conversation: str) -> str:
    """The content of the first message over a WebSocket that is opened with ``query``."""
    async with connect(api.url.replace("http", "ws", 1) + "/notify" + query, proxy=None) as socket:
        await api.post(conversation, "hello")
        while True:
            item = json.loads(await asyncio.wait_for(socket.recv(), 10))
            if "MsgId" in item:
                return str(item["Content"])


async def test_a_ticket_opens_a_websocket(api: Api, alice: Person, room: str) -> None:
    assert await socket_says(api, f"?ticket={await ticket_of(alice)}", room) == "hello"


async def test_a_ticket_opens_an_event_stream_and_a_poll(api: Api, alice: Person, room: str) -> None:
    position = (await api.post(room, "before"))["MsgID"]
    await api.post(room, "hello")
    answer = await poll(api, await ticket_of(alice), since=position)
    assert [message["Content"] for message in answer.data["Msg"]] == ["hello"]
    params = {"protoc": "sse", "ticket": await ticket_of(alice), "since": position}
    async with api._http.stream("GET", f"{api.url}/notify", params=params) as stream:
        assert stream.status_code == 200
        async for line in stream.aiter_lines():
            if line.startswith("data:") and "MsgId" in line:
                assert json.loads(line[5:])["Content"] == "hello"
                break


async def test_a_ticket_is_good_once(api: Api, alice: Person, room: str) -> None:
    position = (await api.post(room, "before"))["MsgID"]
    await api.post(room, "hello")
    ticket = await ticket_of(alice)
    (await poll(api, ticket, since=position)).succeeded()
    for _ in range(2):
        (await poll(api, ticket, since=position)).refused(10101)
    bye, code = await refused_socket(api, f"?ticket={ticket}")
    check_bye(bye, 4501, reconnect=False)
    assert code == 4501


async def test_of_many_who_come_at_once_with_a_ticket_one_comes_in(api: Api, alice: Person, room: str) -> None:
    position = (await api.post(room, "before"))["MsgID"]
    await api.post(room, "hello")
    for _ in range(3):
        ticket = await ticket_of(alice)
        answers = await asyncio.gather(*(poll(api, ticket, since=position) for _ in range(12)))
        assert sorted(answer.status for answer in answers) == [200] + [401] * 11


async def test_a_ticket_counts_only_without_a_token(api: Api, alice: Person, bob: Person, room: str) -> None:
    position = (await api.post(room, "before"))["MsgID"]
    await api.post(room, "hello")
    ticket = await ticket_of(alice)
    (await poll(api, ticket, token="nonsense", since=position)).refused(10101)
    (await poll(api, ticket, token=bob.token, since=position)).succeeded()
    (await poll(api, ticket, since=position)).succeeded()


async def test_a_connection_by_ticket_ends_with_the_token(api: Api, alice: Person) -> None:
    alice.token = mint(alice.session, lifetime_seconds=-6)
    async with connect(
        f"{api.url.replace('http', 'ws', 1)}/notify?ticket={await ticket_of(alice)}", proxy=None
    ) as socket:
        check_bye(json.loads(await asyncio.wait_for(socket.recv(), 10)), 4002, reconnect=True)
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(socket.recv(), 10)
        assert socket.close_code == 4002


async def test_a_ticket_of_a_token_that_was_revoked_opens_nothing(api: Api) -> None:
    who = await holder(api, fresh("alice"))
    tickets = [await ticket_of(who) for _ in range(2)]
    await revoke(api, session=who.session)
    bye, code = await refused_socket(api, f"?ticket={tickets[0]}")
    check_bye(bye, 4503, reconnect=False)
    assert code == 4503
    assert (await poll(api, tickets[1])).refused(10101) == {"token": "was revoked"}
    (await who.call("ticket")).refused(10101)


async def test_a_connection_by_ticket_is_cut_when_the_token_is_revoked(api: Api) -> None:
    who = await holder(api, fresh("alice"))
    address = f"{api.url.replace('http', 'ws', 1)}/notify?ticket={await ticket_of(who)}"
    async with connect(address, proxy=None) as socket:
        await socket.send('{"id": 1, "method": "ping"}')
        assert json.loads(await asyncio.wait_for(socket.recv(), 10))["id"] == 1
        await revoke(api, session=who.session)
        check_bye(json.loads(await asyncio.wait_for(socket.recv(), 10)), 4503, reconnect=False)


async def test_a_websocket_may_ask_for_a_ticket(api: Api, alice: Person, room: str) -> None:
    socket = await alice.listen_ws()
    answer = await socket.call("ticket")
    assert answer["code"] == 0
    assert await socket_says(api, f"?ticket={answer['data']['Ticket']}", room) == "hello"


@pytest.mark.parametrize("ticket", ["x", "A" * 44, "A" * 43, "A" * 45, "é" * 44, "-" * 4_000, " ", "\x00", "a.b.c"])
async def test_what_is_no_ticket_of_ours_is_refused(api: Api, ticket: str) -> None:
    (await poll(api, ticket)).refused(10101)


async def test_a_ticket_is_no_token(api: Api, alice: Person) -> None:
    ticket = await ticket_of(alice)
    (await alice.api.public("get_joined_conversation", token=ticket)).refused(10101)
    (await api.request("POST", "/get_joined_conversation", params={"ticket": ticket}, json={})).refused(10101)
