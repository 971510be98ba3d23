"""Why somebody did, or did not, get a message: what is known is said, and nothing else."""

import asyncio
import re

import pytest
from django.test import Client

from conversations import services
from conversations.models import Conversation
from gateway.desk.trace import connections_here
from messaging.redaction import redact_message
from messaging.retention import Pruned, prune, select
from quickim.database import in_database
from tests.desk.conftest import address, say
from tests.gateway.conftest import world
from tests.gateway.in_process import InProcess

__all__ = ["world"]


def traced(client: Client, room: Conversation, session: str, msg_id: str) -> tuple[str, str]:
    """(what is said, the obstacles among it)."""
    page = client.get(address(room, "trace/"), {"session": session, "msg_id": msg_id}).text
    found = re.findall(r"<li( class=\"obstacle\")?>(.*?)</li>", page, re.DOTALL)
    return " ".join(text for _, text in found), " ".join(text for obstacle, text in found if obstacle)


def test_a_member_was_brought_it(support: Client, room: Conversation) -> None:
    said, obstacles = traced(support, room, "bob", say(room, "hello"))
    assert "member when it was sent" in said
    assert "read it in the history" in said
    assert obstacles == ""


def test_a_stranger_never_was_one(support: Client, room: Conversation) -> None:
    assert "never was" in traced(support, room, "charlie", say(room, "hello"))[1]


def test_who_joined_later_can_scroll_back(support: Client, room: Conversation) -> None:
    msg_id = say(room, "hello")
    services.join_conversation(str(room.public_id), ["charlie"])
    said, obstacles = traced(support, room, "charlie", msg_id)
    assert "not pushed" in obstacles
    assert "read it in the history" in said
    assert "Whether he was a member before is not kept" in said


@pytest.mark.parametrize("how", ["kick", "leave"])
def test_who_was_gone_was_not_meant_to_get_it(how: str, support: Client, room: Conversation) -> None:
    if how == "kick":
        services.kick_out(str(room.public_id), ["bob"])
    else:
        services.leave_conversation(str(room.public_id), "bob")
    obstacles = traced(support, room, "bob", say(room, "hello"))[1]
    assert ("removed before" if how == "kick" else "gone by himself before") in obstacles


def test_who_went_later_was_a_member_then(support: Client, room: Conversation) -> None:
    msg_id = say(room, "hello")
    services.kick_out(str(room.public_id), ["bob"])
    said, obstacles = traced(support, room, "bob", msg_id)
    assert "He was a member when it was sent." in said
    assert "reads it no more" in obstacles


def test_state_and_redaction_are_told(support: Client, room: Conversation) -> None:
    msg_id = say(room, "hello")
    redact_message(str(room.public_id), msg_id)
    services.set_archived([str(room.public_id)], True)
    said, _ = traced(support, room, "alice", msg_id)
    assert "taken back" in said
    assert "archived now" in said
    assert "sent it himself" in said
    services.set_deleted([str(room.public_id)], True)
    assert "deleted now" in traced(support, room, "alice", msg_id)[1]


def test_what_is_no_message_here_is_said_to_be_none(support: Client, room: Conversation) -> None:
    old = say(room, "hello")
    for _ in prune(select(-60_000_000), Pruned()):
        pass
    for msg_id, text in (
        ("nonsense", "no MsgId"),
        ("ZZZZZ-ZZZZ-ZZZZ-ZZZ", "never committed here"),
        (old, "not kept any more"),
    ):
        assert text in support.get(address(room, "trace/"), {"session": "bob", "msg_id": msg_id}).text


def test_a_process_without_connections_says_so(support: Client, room: Conversation) -> None:
    page = support.get(address(room, "trace/"), {"session": "bob", "msg_id": say(room, "hello")}).text
    assert "serves no connections" in page


async def test_connections_are_told_with_what_they_were_handed(world: InProcess) -> None:
    identifier = await world.create("alice", "bob")
    number = (await in_database(Conversation.objects.get, public_id=identifier)).pk
    await world.connect("bob")
    await world.send(identifier, "alice", "hello")
    given = await asyncio.get_running_loop().run_in_executor(None, connections_here, "bob", number, 1)
    assert given is not None
    ((one),) = given
    assert (one.protocol, one.given, one.is_given, one.is_replaying) == ("reader", 1, True, False)
    not_yet = await asyncio.get_running_loop().run_in_executor(None, connections_here, "bob", number, 2)
    assert not_yet is not None
    assert not not_yet[0].is_given
    assert await asyncio.get_running_loop().run_in_executor(None, connections_here, "nobody", number, 1) == []
