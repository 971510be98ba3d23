"""The Python client on every protocol: all messages, in order, once; changing protocols; where it goes on."""

from collections.abc import Callable

import pytest

from gateway.client import CallFailed, Client, ClientError, SyncClient
from tests.client.following import Following
from tests.clients import Api, Person, Protoc, mint
from tests.faults.proxy import Proxy
from tests.servers import Server


@pytest.mark.parametrize("protoc", ["ws", "sse", "poll"])
async def test_each_protocol_brings_all_messages_in_order(
    server: Server, alice: Person, bob: str, room: str, protoc: Protoc
) -> None:
    async with Following(server.url, mint(bob), protocols=(protoc,)) as following:
        assert (following.client.state, following.client.protocol) == ("connected", protoc)
        texts = [f"{number}" for number in range(50)]
        await alice.pour(room, texts)
        assert await following.has(50) == texts
        assert following.resets == []


async def test_it_changes_protocols_on_demand_while_messages_flow(
    server: Server, alice: Person, bob: str, room: str
) -> None:
    texts = [f"{number}" for number in range(120)]
    protocs: list[Protoc] = ["sse", "poll", "ws", "poll", "sse", "ws"]
    async with Following(server.url, mint(bob)) as following:
        for number, protoc in enumerate(protocs):
            await alice.pour(room, texts[number * 20 :][:10])
            await following.client.use(protoc)
            assert following.client.protocol == protoc
            await alice.pour(room, texts[number * 20 + 10 :][:10])
        assert await following.has(120) == texts
        assert following.resets == []


async def test_it_goes_on_where_a_cursor_says_and_tells_its_own(
    server: Server, alice: Person, bob: str, room: str
) -> None:
    first = await alice.send(room, "1")
    await alice.send(room, "2")
    async with Following(server.url, mint(bob), cursor=first["MsgID"]) as following:
        assert await following.has(1) == ["2"]
        # The message counts as processed when the next event is asked for.
        await alice.send(room, "3")
        await following.has(2)
        cursor = following.client.cursor
        assert cursor in [message["MsgId"] for message in following.messages]
        following.client.cursor = first["MsgID"]
        assert await following.has(4) == ["2", "3", "2", "3"]


async def test_a_message_counts_as_processed_when_the_next_is_asked_for(
    server: Server, alice: Person, bob: str, room: str
) -> None:
    before = await alice.send(room, "before")
    sent = [await alice.send(room, f"{number}") for number in range(3)]
    async with Client(server.url, mint(bob), cursor=before["MsgID"]) as client:
        cursors = []
        async for _ in client.messages():
            cursors.append(client.cursor)
            if len(cursors) == 3:
                break
    assert cursors == [before["MsgID"], sent[0]["MsgID"], sent[1]["MsgID"]]


async def test_it_comes_back_to_where_it_began_when_the_connection_breaks_before_the_first_message(
    server: Server, alice: Person, bob: str, room: str, network: Callable[[Server], Proxy]
) -> None:
    proxy = network(server)
    for protoc in ("ws", "sse", "poll"):
        async with Following(f"http://127.0.0.1:{proxy.port}", mint(bob), protocols=(protoc,)) as following:
            proxy.refuse()
            assert proxy.reset()
            await following.until(lambda: following.states[-1].state == "waiting")
            await alice.send(room, f"missed on {protoc}")
            proxy.heal()
            await following.until(lambda: f"missed on {protoc}" in following.texts)  # noqa: B023
            assert following.resets == []


async def test_the_other_endpoints_are_methods(server: Server, alice: Person, bob: str, room: str) -> None:
    sent = [await alice.send(room, f"{number}") for number in range(3)]
    middle = sent[1]["MsgID"]
    async with Client(server.url, mint(bob)) as client:
        assert room in await client.conversations()
        made = await client.create(5, alice.session)
        assert await client.is_member(made)
        await client.leave(made)
        assert not await client.is_member(made)
        await client.join(made)
        assert (await client.detail(made))["ConversationType"] == 5
        assert await client.last_msg_id(room) == sent[-1]["MsgID"]
        last = await client.last_message(room)
        assert last is not None
        assert last["Content"] == "2"
        assert await client.last_message(made) is None
        messages, has_more = await client.history(room, start=middle, desc=True)
        assert ([message["Content"] for message in messages], has_more) == (["2", "1"], False)
        assert [message["Content"] for message in await client.latest(room)] == ["0", "1", "2"]
        assert [message["Content"] for message in await client.before(room, middle)] == ["0"]
        assert [message["Content"] for message in await client.after(room, middle)] == ["2"]
        with pytest.raises(CallFailed) as refused:
            await client.detail("nowhere")
        assert (refused.value.code, refused.value.status, refused.value.is_temporary) == (90014, 404, False)


async def test_nothing_is_sent_or_called_after_the_end(server: Server, bob: str, room: str) -> None:
    client = Client(server.url, mint(bob))
    await client.close()
    for attempt in (client.send(room, "too late"), client.conversations(), client.connect()):
        with pytest.raises(ClientError, match="closed"):
            await attempt


def test_scripts_have_the_same_without_async(server: Server, bob: str) -> None:
    with SyncClient(server.url, mint(bob)) as client:
        room = client.create(1)
        client.connect()
        assert client.state == "connected"
        for number in range(3):
            client.send(room, f"{number}")
        texts = []
        for message in client.messages():
            texts.append(message["Content"])
            if len(texts) == 3:
                break
        assert texts == ["0", "1", "2"]
        assert client.last_message(room)["Content"] == "2"
        client.cursor = client.cursor
        with pytest.raises(CallFailed):
            client.detail("nowhere")


async def test_an_unknown_option_or_protocol_is_refused(api: Api) -> None:
    with pytest.raises(TypeError):
        Client(api.url, "token", colour="blue")
    with pytest.raises(ValueError, match="protocols are ws, sse, poll"):
        Client(api.url, "token", protocols=("pigeon",))
    with pytest.raises(ValueError, match="protocols are ws, sse, poll"):
        await Client(api.url, "token").use("pigeon")  # type: ignore[arg-type]
