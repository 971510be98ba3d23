"""A foreign transaction holds a conversation: whoever wants something of that one waits, and nobody else does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest

from tests.clients import Api, Person
from tests.clients.api import Answer
from tests.servers import Server

pytestmark = pytest.mark.parametrize("server", ["cluster"], indirect=True)


@asynccontextmanager
async def held(server: Server, conversation_id: str) -> AsyncIterator[None]:
    """A product's transaction has the conversation's row to itself."""
    async with (
        await psycopg.AsyncConnection.connect(server.settings["QUICKIM_DATABASE_URL"]) as foreign,
        foreign.transaction(),
    ):
        await foreign.execute(
            "SELECT 1 FROM conversations_conversation WHERE public_id = %s FOR UPDATE", [conversation_id]
        )
        yield


async def change_membership(api: Api, name: str, conversation_id: str, session: str) -> Answer:
    """An inner call about one session."""
    return await api.inner(name, conversation_id=conversation_id, sessions=[session])


async def test_changes_that_wait_for_a_held_conversation_leave_room_for_all_others(
    server: Server, api: Api, alice: Person, room: str, person: Callable[[str], Person]
) -> None:
    other = await api.conversation(alice.session)
    async with held(server, room):
        waiting = [
            asyncio.create_task(change_membership(api, "join_conversation", room, person("new").session))
            for _ in range(20)
        ]
        for number in range(5):
            assert (await change_membership(api, "join_conversation", other, person("new").session)).status == 200
            await alice.send(other, f"{number}")
        assert len(await alice.history(other)) == 5
        assert not any(task.done() for task in waiting)
    assert {(await task).status for task in waiting} == {200}


async def test_a_change_of_a_conversation_that_stays_held_is_refused_in_time(
    server: Server, api: Api, bob: Person, room: str
) -> None:
    async with held(server, room):
        answer = await change_membership(api, "kickout_conversation", room, bob.session)
    assert (answer.status, answer.body["code"]) == (503, 10002)
    await bob.send(room, "still here")
