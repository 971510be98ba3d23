"""tail: live messages in the terminal, over the real gateway, across restarts, ended by Ctrl-C or a closed pipe."""

from collections.abc import Callable

import pytest

from tests.clients import Api, fresh
from tests.commands.tailing import Tails
from tests.servers import Server

pytestmark = pytest.mark.asyncio


async def test_it_prints_messages_and_notices_one_json_object_a_line(server: Server, api: Api, tails: Tails) -> None:
    alice = fresh("alice")
    room = await api.conversation(alice)
    first = await api.post(room, "first")
    tail = await tails(server.environment, "--session", alice, "--since", first["MsgID"])
    second = await api.post(room, "two\nlines, 😀 and \u2028")
    message = await tail.message()
    assert message == {
        "MsgId": second["MsgID"],
        "ConversationID": room,
        "FromSession": "",
        "SendTime": second["SendTime"],
        "Status": 0,
        "Type": 0,
        "Content": "two\nlines, 😀 and \u2028",
        "Seq": 2,
    }
    (await api.inner("set_archive_conversations", conversation_ids=[room], is_archive=True)).succeeded()
    assert (await tail.line())["Event"] == "conversation.archived"


async def test_ctrl_c_ends_it_with_exit_0_and_without_a_word(server: Server, api: Api, tails: Tails) -> None:
    alice = fresh("alice")
    room = await api.conversation(alice)
    first = await api.post(room, "first")
    await api.post(room, "second")
    tail = await tails(server.environment, "--session", alice, "--platform", "7", "--since", first["MsgID"])
    assert (await tail.message())["Content"] == "second"
    tail.interrupt()
    assert await tail.rest() == (0, "", "")


async def test_a_closed_pipe_ends_it_quietly(server: Server, api: Api, tails: Tails) -> None:
    alice = fresh("alice")
    room = await api.conversation(alice)
    first = await api.post(room, "first")
    await api.post(room, "second")
    tail = await tails(server.environment, "--session", alice, "--since", first["MsgID"])
    assert (await tail.message())["Content"] == "second"
    tail.close_pipe()
    await api.post(room, "nobody reads this")
    status, _, errors = await tail.rest()
    assert (status, errors) == (0, "")


async def test_it_comes_back_after_a_restart_and_has_missed_nothing(
    start_server: Callable[..., Server], tails: Tails
) -> None:
    server, alice = start_server(), fresh("alice")
    async with Api(server.url) as api:
        room = await api.conversation(alice)
        first = await api.post(room, "1")
        await api.post(room, "2")
        tail = await tails(server.environment, "--session", alice, "--since", first["MsgID"])
        assert (await tail.message())["Content"] == "2"
        server.kill9()
        await tail.said("connecting again in")
    server.manage("send_message", "--conversation", room, "3")
    server.restart()
    assert (await tail.message())["Content"] == "3"
    async with Api(server.url) as api:
        await api.post(room, "4")
    assert (await tail.message())["Content"] == "4"
    tail.interrupt()
    status, _, errors = await tail.rest()
    assert status == 0
    assert "Traceback" not in errors


async def test_a_refusal_for_good_ends_it_with_exit_1_and_one_line(server: Server, api: Api, tails: Tails) -> None:
    url = api.url.replace("http", "ws", 1) + "/elsewhere"
    status, out, errors = await (await tails(server.environment, "--session", "alice", "--url", url)).rest()
    assert status == 1
    assert '"Event":"bye"' in out
    (line,) = errors.splitlines()
    assert line.startswith("CommandError: the server ended the connection (4500")
