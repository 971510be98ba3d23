"""Two nodes behind the nginx that the project ships: one service, with nothing open that should be shut."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from quickim.env import MAX_BODY_BYTES
from tests.clients import Api, Person, Protoc, fresh
from tests.clients.protocols import PLAIN
from tests.databases import free_port
from tests.deployment.conftest import PROXIED
from tests.deployment.proxy import Nginx, node_line
from tests.servers import Server

LARGEST_BODY = int(MAX_BODY_BYTES.default)

SPELLINGS = {
    "plain": "/inner/get_token",
    "nothing behind": "/inner",
    "two slashes": "//inner//get_token",
    "a dot": "/./inner/get_token",
    "two dots": "/docs/../inner/get_token",
    "an escaped letter": "/%69nner/get_token",
    "an escaped slash": "/inner%2Fget_token",
    "escaped dots": "/docs/%2e%2e/inner/get_token",
    "with a query": "/inner/get_token?a=/docs",
    "an absolute address": "http://127.0.0.1/inner/get_token",
}


async def test_every_protocol_delivers_what_comes_from_either_node(
    nodes: tuple[Server, Server], inside: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    listener = await bob.listen(protoc)
    async with Api(nodes[1].url) as other:
        for number in range(6):
            await (inside, other)[number % 2].post(room, f"{number}")
        await alice.send(room, "through nginx")
        history = await bob.history(room)
        assert len(history) == 7
        assert await listener.messages_in(room, 7) == history


async def test_the_nodes_share_the_connections(
    nodes: tuple[Server, Server], start_nginx: Callable[..., Nginx], inside: Api
) -> None:
    nginx = start_nginx(*(node_line(node.port) for node in nodes))
    async with Api(nginx.url) as outside:
        bob = Person(outside, fresh("bob"))
        room = await inside.conversation(bob.session)
        listeners = [await bob.listen_ws() for _ in range(4)]
        await inside.post(room, "hello")
        for listener in listeners:
            await listener.messages_in(room, 1)
    for node in nodes:
        assert await nginx.logs(f'"nodes":"127.0.0.1:{node.port}","statuses":"101"', times=2)


async def test_an_event_stream_is_not_held_back(bob: Person, inside: Api, room: str) -> None:
    listener = await bob.listen_sse()
    for number in range(5):
        # Each arrives before the next is sent, and the stream stays open: no buffer is ever filled.
        await inside.post(room, f"{number}")
        assert (await listener.message())["Content"] == f"{number}"
    assert listener.headers["content-type"].startswith("text/event-stream")


async def test_a_call_over_a_websocket_passes(bob: Person, room: str) -> None:
    socket = await bob.listen_ws()
    answer = await socket.call("send_msg", {"conversation_id": room, "content": "hello"})
    assert answer["code"] == 0
    assert (await socket.message())["MsgId"] == answer["data"]["MsgID"]


@pytest.mark.parametrize("path", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_inner_cannot_be_reached_from_outside(nginx: Nginx, path: str) -> None:
    body = b'{"session": "eve", "platform": 1}'
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    # As raw bytes: clients tidy paths up.
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as raw:
        raw.sendall(head.encode() + body)
        answer = b""
        while chunk := raw.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 403 "), answer
    assert answer.endswith(b'{"code":10003,"error":"not allowed request"}')


async def test_a_node_sees_the_clients_own_address(nodes: tuple[Server, Server], tmp_path: Path) -> None:
    # With nginx's own lock taken out, the guard of the nodes shows what they take the caller for.
    nginx = Nginx(tmp_path / "unlocked", [node_line(node.port) for node in nodes])
    configuration = nginx.home / "nginx.conf"
    assert configuration.read_text().count("return 403;") == 4  # twice /inner, playground, metrics
    configuration.write_text(configuration.read_text().replace("return 403;", "proxy_pass http://quickim;"))
    nginx.start()

    async def status(source: str, claim: str) -> int:
        transport = httpx.AsyncHTTPTransport(local_address=source, verify=PLAIN)
        async with httpx.AsyncClient(transport=transport, trust_env=False) as http:
            headers = {"X-Forwarded-For": claim, "Forwarded": f"for={claim}"}
            call = {"session": "eve", "platform": 1}
            return (await http.post(f"{nginx.url}/inner/get_token", json=call, headers=headers)).status_code

    try:
        assert PROXIED["QUICKIM_INNER_ALLOW"] == "127.0.0.1/32"
        assert await status("127.0.0.1", claim="127.0.0.9") == 200
        assert await status("127.0.0.9", claim="127.0.0.1") == 403
    finally:
        nginx.stop()


async def test_the_largest_body_passes_and_one_byte_more_is_too_large(outside: Api, alice: Person) -> None:
    def body(size: int) -> bytes:
        return b'{"padding":"' + b"x" * (size - 14) + b'"}'

    assert len(body(LARGEST_BODY)) == LARGEST_BODY
    path = "/get_joined_conversation"
    (await outside.request("POST", path, token=alice.token, content=body(LARGEST_BODY))).succeeded()
    (await outside.request("POST", path, token=alice.token, content=body(LARGEST_BODY + 1))).refused(10006)


async def test_no_log_holds_a_token(
    nodes: tuple[Server, Server], start_nginx: Callable[..., Nginx], inside: Api, protoc: Protoc
) -> None:
    nginx = start_nginx(node_line(nodes[0].port), node_line(free_port()))
    async with Api(nginx.url) as outside:
        bob = Person(outside, fresh("bob"))
        room = await inside.conversation(bob.session)
        listener = await bob.listen(protoc)
        await inside.post(room, "hello")
        await listener.messages_in(room, 1)
        await listener.close()
        for path in ("/notify", "/send_msg", "/nowhere", "/notify/", "/static/nowhere"):
            await outside.request("GET", path, params={"token": bob.token, "protoc": "none"})
        await outside.request("GET", "/notify", params={"token": bob.token}, content=b"x" * (LARGEST_BODY + 1))
        assert await nginx.logs('"path":"/static/nowhere"')
        assert await nginx.logs('"path":"/notify","status":413')
        # The dead node was tried too: nginx would say so with the whole address, token and all.
        assert await nginx.logs('"statuses":"502, ')
        assert bob.token.rpartition(".")[2] not in nginx.logged()


async def test_a_request_id_is_the_same_in_front_and_behind(nginx: Nginx, outside: Api) -> None:
    name = fresh("request")
    answer = await outside.request("GET", "/healthz", headers={"X-Request-Id": name})
    assert answer.headers["x-request-id"] == name
    assert await nginx.logs(f'"request_id":"{name}"')


async def test_a_killed_nodes_clients_go_on_with_the_other(
    start_server: Callable[..., Server], start_nginx: Callable[..., Nginx]
) -> None:
    first = await asyncio.to_thread(start_server, "cluster", **PROXIED)
    second = await asyncio.to_thread(start_server, beside=first)
    nginx = start_nginx(node_line(first.port), node_line(second.port))
    async with Api(nginx.url) as outside, Api(second.url) as inside:
        alice, bob = (Person(outside, fresh(name)) for name in ("alice", "bob"))
        room = await inside.conversation(alice.session, bob.session)
        # Twice each: connections go in turn to where there are fewest, so both nodes have of each kind.
        listeners = [await listen() for listen in (bob.listen_ws, bob.listen_sse) for _ in range(2)]
        await alice.send(room, "before")
        for listener in listeners:
            await listener.messages_in(room, 1)
        first.kill9()
        await alice.send(room, "after", client_msg_id="after")
        for listener in listeners:
            await listener.wait_until(lambda: listener.ending is not None or len(listener.of(room)) == 2)  # noqa: B023
        assert 0 < sum(listener.ending is not None for listener in listeners) < len(listeners)
        # Over and over: whichever node a request is meant for, it is served.
        for number in range(20):
            await alice.send(room, f"after {number}", client_msg_id=f"{number}")
        history = await bob.history(room)
        protocs: tuple[Protoc, ...] = ("ws", "sse", "poll")
        for protoc in protocs:
            resumed = await bob.listen(protoc, since=history[0]["MsgId"])
            assert await resumed.messages_in(room, len(history) - 1) == history[1:]
