"""What management commands do, in processes of their own, reaches whoever is or comes back on a node."""

import asyncio

import pytest

from tests.clients import Person, Protoc
from tests.contract.test_resume_notices import was_away
from tests.servers import Server

# Each command starts a Python of its own: the other flavours would tell no more about it.
pytestmark = pytest.mark.parametrize("server", ["embedded", "nodes"], indirect=True)


async def _manage(server: Server, *arguments: str) -> str:
    """A management command in a process of its own; its output."""
    return (await asyncio.to_thread(server.manage, *arguments)).stdout.strip()


async def test_what_a_management_command_did_while_away_is_told(
    server: Server, bob: Person, room: str, protoc: Protoc
) -> None:
    before = await was_away(bob, protoc, room)
    created = await _manage(server, "create_conversation", "--type", "7", "--session", bob.session)
    await _manage(server, "send_message", "--conversation", created, "from a command")
    listener = await bob.listen(protoc, since=before.cursor)
    await listener.notice("conversation.joined", created)
    assert [message["Content"] for message in await listener.messages_in(created, 1)] == ["from a command"]


async def test_what_a_management_command_does_reaches_those_who_are_connected(
    server: Server, bob: Person, protoc: Protoc
) -> None:
    listener = await bob.listen(protoc)
    created = await _manage(server, "create_conversation", "--type", "7", "--session", bob.session)
    sent = await _manage(server, "send_message", "--conversation", created, "--session", bob.session, "live")
    await listener.notice("conversation.joined", created)
    (message,) = await listener.messages_in(created, 1)
    assert sent.split() == [message["MsgId"], str(message["SendTime"])]
    assert (message["Content"], message["FromSession"]) == ("live", bob.session)
