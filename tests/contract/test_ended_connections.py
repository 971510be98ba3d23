"""The database ends idle connections, as it does when it restarts or an administrator says so: no send suffers."""

import asyncio

import psycopg
import pytest

from tests.clients import Person
from tests.servers import Server

pytestmark = pytest.mark.parametrize("server", ["cluster"], indirect=True)

OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'quickim'"
)


async def test_a_send_over_a_connection_that_was_ended_is_simply_taken(
    server: Server, alice: Person, room: str
) -> None:
    async with await psycopg.AsyncConnection.connect(
        server.settings["QUICKIM_DATABASE_URL"], autocommit=True
    ) as administrator:
        for number in range(5):
            await alice.send(room, f"{number}")
            ended = await (await administrator.execute(OTHERS)).fetchall()
            assert ended
    await alice.send(room, "5")
    # Reads meet those that are left of the ended ones and are to be repeated: not by the tests that come next here.
    await asyncio.gather(*(alice.call("get_joined_conversation") for _ in range(40)))
