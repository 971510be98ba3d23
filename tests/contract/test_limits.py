"""Each limit by the answer that it gives, on every protocol; and that waiting as told helps."""

import asyncio
import time

import pytest
import websockets

from tests.clients import Api, Person, fresh
from tests.clients.listener import Ending
from tests.clients.protocols import WsListener

BEHIND_A_PROXY = {"QUICKIM_TRUSTED_PROXIES": "127.0.0.1/32", "QUICKIM_INNER_ALLOW": "127.0.0.1/32,203.0.113.200/32"}
slow_calls = pytest.mark.settings(QUICKIM_CALL_RATE="0.5/s", QUICKIM_HANDSHAKE_RATE="0.5/s")
slow_addresses = pytest.mark.settings(
    **BEHIND_A_PROXY,
    QUICKIM_ADDRESS_RATE="2/s",
    QUICKIM_ADDRESS_HANDSHAKE_RATE="0.5/s",
)
few_connections = pytest.mark.settings(**BEHIND_A_PROXY, QUICKIM_MAX_CONNECTIONS_PER_ADDRESS="10")
Lines = list[tuple[str, str]]


def coming_from(address: str) -> Lines:
    """As a trusted proxy says it."""
    return [("X-Forwarded-For", address)]


def any_address() -> str:
    """One that no other test comes from."""
    number = int(fresh("x").rpartition("-")[2], 16)
    return f"203.0.{number >> 8 & 0xFF}.{number & 0x7F}"


async def refusal(socket: WsListener) -> Ending | None:
    """How the server ended it, if it did not let it in."""
    try:
        assert (await socket.call("ping"))["code"] == 0
    except (AssertionError, websockets.ConnectionClosed):
        return await socket.ended()
    return None


@slow_calls
async def test_calls_beyond_the_rate_are_told_when_to_go_on_and_then_pass(alice: Person, bob: Person) -> None:
    answers = [await alice.call("get_joined_conversation") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    while (refused := await alice.call("get_joined_conversation")).status == 200:
        pass
    refused.refused(10007)
    wait = int(refused.headers["retry-after"])
    assert 1 <= wait <= 2
    (await bob.call("get_joined_conversation")).succeeded()
    await asyncio.sleep(wait)
    (await alice.call("get_joined_conversation")).succeeded()


@slow_calls
async def test_calls_over_a_websocket_count_with_those_over_http_and_say_how_long(alice: Person, room: str) -> None:
    socket = await alice.listen_ws()
    while (answer := await socket.call("get_joined_conversation"))["code"] == 0:
        pass
    assert (answer["code"], answer["error"]) == (10007, "too many requests")
    assert 0 < answer["RetryAfterMs"] <= 2_000
    assert (await socket.call("ping"))["code"] == 0
    sent = await socket.call("send_msg", {"conversation_id": room, "content": "sends have a rate of their own"})
    assert sent["code"] == 0
    assert "RetryAfterMs" not in sent


@slow_calls
async def test_polls_count_as_calls(api: Api, alice: Person) -> None:
    answers = [await api.poll(alice.token, since="") for _ in range(4)]
    refused = [answer for answer in answers if answer.status != 200]
    for answer in refused:
        answer.refused(10007)
        assert int(answer.headers["retry-after"]) >= 1
    while (await alice.call("get_joined_conversation")).status == 200:
        pass
    (await api.poll(alice.token)).refused(10007)


@slow_calls
async def test_streams_beyond_the_rate_are_refused_and_websockets_told_to_back_off(api: Api, alice: Person) -> None:
    for _ in range(2):
        assert await refusal(await alice.listen_ws()) is None
    while (refused := await refusal(await alice.listen_ws())) is None:
        pass
    assert refused.code == 4006
    bye = refused.bye
    assert bye is not None
    assert (bye["Code"], bye["Reconnect"]) == (4006, True)
    assert 0 < bye["RetryAfterMs"] <= 2_000
    answer = await api.request("GET", "/notify", token=alice.token, params={"protoc": "sse"})
    answer.refused(10007)
    assert int(answer.headers["retry-after"]) >= 1


@slow_addresses
async def test_requests_of_an_address_are_limited_whoever_they_say_they_are(api: Api, alice: Person) -> None:
    address, began = any_address(), time.monotonic()
    answers = [
        await api.request("POST", "/get_joined_conversation", headers=coming_from(address), token=token, json={})
        for token in (alice.token, None, "nonsense", *([Person(api, fresh("dave")).token] * 40))
    ]
    refused = [answer for answer in answers if answer.status == 429]
    assert len(answers) - len(refused) <= 8 + 2 * (time.monotonic() - began) + 1
    for answer in refused:
        answer.refused(10007)
        assert int(answer.headers["retry-after"]) >= 1
    other = await api.request(
        "POST", "/get_joined_conversation", headers=coming_from(any_address()), token=alice.token, json={}
    )
    other.succeeded()


@slow_addresses
async def test_neighbours_in_an_ipv6_network_count_as_one(api: Api, alice: Person) -> None:
    prefix = f"2001:db8:{fresh('x')[-4:]}:1"
    statuses = set()
    for number in range(60):
        headers = coming_from(f"{prefix}::{number:x}")
        statuses.add((await api.request("GET", "/openapi.json", headers=headers)).status)
    assert statuses == {200, 429}


@slow_addresses
async def test_health_and_the_products_own_calls_are_not_counted(api: Api) -> None:
    ours, strangers = coming_from("203.0.113.200"), coming_from(any_address())
    for _ in range(20):
        assert (await api.request("GET", "/healthz", headers=strangers)).status == 200
        fields = {"session": "alice", "platform": 1}
        (await api.request("POST", "/inner/get_token", headers=ours, json=fields)).succeeded()


@slow_addresses
async def test_attempts_of_an_address_to_connect_are_limited_on_every_protocol(api: Api) -> None:
    headers = coming_from(any_address())
    statuses = [
        (await api.request("GET", "/notify", headers=headers, token="nonsense", params={"protoc": "poll"})).status
        for _ in range(5)
    ]
    assert 429 in statuses
    socket = await Person(api, fresh("eve")).listen_ws(additional_headers=dict(headers))
    assert (await socket.ended()).code == 4006


@slow_addresses
async def test_attempts_at_paths_that_are_none_count_too(api: Api) -> None:
    headers, codes = dict(coming_from(any_address())), []
    for _ in range(8):
        address = f"{api.url.replace('http', 'ws', 1)}/nothing"
        async with websockets.connect(address, proxy=None, additional_headers=headers) as socket:
            await asyncio.wait_for(socket.wait_closed(), 10)
            codes.append(socket.close_code)
    assert codes[0] == 4500
    assert 4006 in codes


@few_connections
async def test_an_address_has_so_many_connections_and_gets_others_when_some_end(api: Api) -> None:
    headers = dict(coming_from(any_address()))
    people = [Person(api, fresh("frank")) for _ in range(11)]
    sockets = [await person.listen_ws(additional_headers=headers) for person in people[:10]]
    refused = await people[10].listen_ws(additional_headers=headers)
    ending = await refused.ended()
    assert ending.code == 4006
    assert ending.bye is not None
    assert ending.bye["Reconnect"] is True
    answer = await api.request("GET", "/notify", headers=headers, token=people[10].token, params={"protoc": "sse"})
    answer.refused(10007)
    assert int(answer.headers["retry-after"]) >= 1
    elsewhere = await people[10].listen_ws(additional_headers=dict(coming_from(any_address())))
    assert await refusal(elsewhere) is None
    await sockets[0].close()
    while await refusal(await people[10].listen_ws(additional_headers=headers)) is not None:
        pass


@pytest.mark.settings(QUICKIM_FRAME_RATE="5/s")
@pytest.mark.parametrize("kind", ["ping", "pong"])
async def test_frames_that_carry_nothing_count_too(alice: Person, kind: str) -> None:
    socket = await alice.listen_ws()
    for _ in range(200):
        try:
            await getattr(socket.socket, kind)()
        except websockets.ConnectionClosed:
            break
    assert (await socket.ended()).code == 4006
