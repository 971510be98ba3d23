"""Two nodes on one PostgreSQL and one Valkey are one service: who is connected where makes no difference."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.clients import Api, Person, Protoc, fresh
from tests.contract.test_conversations import kick
from tests.servers import Server

pytestmark = pytest.mark.parametrize("server", ["nodes", "daphne nodes"], indirect=True)


@pytest_asyncio.fixture(loop_scope="function")
async def api(server: Server) -> AsyncIterator[Api]:
    """One node, and nothing but this one."""
    async with Api(server.nodes[0].url) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="function")
async def there(server: Server) -> AsyncIterator[Api]:
    """The other node."""
    async with Api(server.nodes[1].url) as api:
        yield api


def on(node: Api, who: Person) -> Person:
    """The same session, connected to another node."""
    return Person(node, who.session, who.platform)


async def test_a_message_sent_here_is_received_there(
    there: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    here_listener, there_listener = await asyncio.gather(bob.listen(protoc), on(there, alice).listen(protoc))
    for number in range(10):
        await (alice if number % 2 else on(there, bob)).send(room, f"{number}")
    history = await alice.history(room)
    assert await here_listener.messages_in(room, 10) == history
    assert await there_listener.messages_in(room, 10) == history


async def test_senders_on_both_nodes_make_one_order(api: Api, there: Api) -> None:
    people = [Person(node, fresh(f"person{number}")) for number in range(5) for node in (api, there)]
    rooms = [await api.conversation(*(who.session for who in people)) for _ in range(3)]
    listeners = await asyncio.gather(
        *(on(node, people[0]).listen(protoc) for node in (api, there) for protoc in ("ws", "sse", "poll"))
    )

    async def talk(who: Person, offset: int) -> None:
        for number in range(30):
            await who.send(rooms[(number + offset) % 3], f"{number}")

    await asyncio.gather(*(talk(who, offset) for offset, who in enumerate(people)))
    for room in rooms:
        history = await people[0].history(room)
        assert [message["Seq"] for message in history] == list(range(1, 101))
        for listener in listeners:
            assert await listener.messages_in(room, 100, 20) == history


async def test_a_kick_here_holds_there_at_once(
    api: Api, there: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    listener = await on(there, bob).listen(protoc)
    await alice.send(room, "before")
    await listener.messages_in(room, 1)
    await kick(api, room, bob)
    for number in range(10):
        await alice.send(room, f"after {number}")
    assert (await listener.notice("conversation.left", room))["Sessions"] == [bob.session]
    await bob.caught_up(listener)
    assert listener.texts(room) == ["before"]
    (await on(there, bob).call("send_msg", conversation_id=room, content="x")).refused(90015)


async def test_a_joining_here_is_live_there(
    there: Api, alice: Person, charlie: Person, room: str, protoc: Protoc
) -> None:
    listener = await on(there, charlie).listen(protoc)
    (await charlie.call("join_conversation", conversation_id=room)).succeeded()
    await alice.send(room, "welcome")
    assert (await listener.message())["Content"] == "welcome"


async def test_a_repeat_on_the_other_node_is_the_same_message(
    there: Api, alice: Person, bob: Person, room: str
) -> None:
    elsewhere = on(there, alice)
    sends = [who.send(room, "once", client_msg_id="a") for who in (alice, elsewhere) * 10]
    assert len({one["MsgID"] for one in await asyncio.gather(*sends)}) == 1
    assert len(await bob.history(room)) == 1


async def test_a_cursor_of_one_node_serves_on_the_other(
    there: Api, alice: Person, bob: Person, room: str, protoc: Protoc
) -> None:
    before = await bob.listen(protoc)
    for number in range(3):
        await alice.send(room, f"{number}")
    await before.messages_in(room, 3)
    await before.close()
    for number in range(3, 6):
        await alice.send(room, f"{number}")
    after = await on(there, bob).listen(protoc, since=before.cursor)
    assert [one["Seq"] for one in await after.messages_in(room, 3)] == [4, 5, 6]
