"""issue_token, create_conversation and send_message: what they print, and what a running server makes of it."""

import re
import time

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from conversations.models import Conversation, Membership
from conversations.services import kick_out, set_archived
from gateway.tokens import verify_token
from messaging.models import Message
from quickim.rest.callers import Caller
from tests.clients import Api, Person, fresh
from tests.servers import Server


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints, which is one line."""
    call_command(*arguments)
    captured = capsys.readouterr()
    assert captured.err == ""
    (line,) = captured.out.splitlines()
    return line


def test_issue_token_prints_a_token_for_that_session_and_platform(capsys: pytest.CaptureFixture[str]) -> None:
    token = run(capsys, "issue_token", "--session", "Ålice", "--platform", "3")
    identity = verify_token(token)
    assert identity.caller == Caller("Ålice", 3)
    assert 86_390 < identity.expires_at - time.time() <= 86_400


def test_issue_token_takes_a_life_in_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    token = run(capsys, "issue_token", "--session", "alice", "--platform", "0", "--ttl", "60")
    assert 50 < verify_token(token).expires_at - time.time() <= 60


@pytest.mark.django_db(transaction=True)
def test_create_conversation_prints_the_id_of_a_conversation_with_these_members(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--type", "9223372036854775807", "--session", "alice", "--session", "bob", "--session", "alice"]
    identifier = run(capsys, "create_conversation", *arguments)
    conversation = Conversation.objects.get(public_id=identifier)
    assert conversation.type == 2**63 - 1
    members = Membership.objects.filter(conversation=conversation, state=Membership.State.ACTIVE)
    assert sorted(members.values_list("session", flat=True)) == ["alice", "bob"]


@pytest.mark.django_db(transaction=True)
def test_send_message_prints_msgid_and_send_time_of_the_committed_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    identifier = run(capsys, "create_conversation", "--type", "1", "--session", "alice")
    options = ["--session", "alice", "--type", "-3", "--status", "4", "--client-msg-id", "once"]
    line = run(capsys, "send_message", "--conversation", identifier, *options, "--", "-hello\n😀")
    assert re.fullmatch(r"[2-9A-HJ-NP-Z]{5}-[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{3} [0-9]{16}", line)
    message = Message.objects.get()
    assert line == f"{message.msg_id} {message.send_time}"
    stored = (message.session, message.type, message.status, message.content, message.client_msg_id)
    assert stored == ("alice", -3, 4, "-hello\n😀", "once")
    again = run(capsys, "send_message", "--conversation", identifier, *options, "--", "-hello\n😀")
    assert again == line
    assert Message.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_send_message_without_a_session_is_the_system(capsys: pytest.CaptureFixture[str]) -> None:
    identifier = run(capsys, "create_conversation", "--type", "1", "--session", "alice")
    set_archived([identifier], True)
    run(capsys, "send_message", "--conversation", identifier, "")
    assert (Message.objects.get().session, Message.objects.get().content) == ("", "")


@pytest.mark.django_db(transaction=True)
def test_what_the_domain_refuses_is_a_command_error_with_its_words_and_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    identifier = run(capsys, "create_conversation", "--type", "1", "--session", "alice", "--session", "bob")
    send = ["send_message", "--conversation", identifier, "--session", "alice"]
    run(capsys, *send, "--client-msg-id", "once", "hello")
    with pytest.raises(CommandError, match=r"^client_msg_id already used with another message \(90019\)$"):
        call_command(*send, "--client-msg-id", "once", "other")
    with pytest.raises(CommandError, match=r"^not a member of the conversation \(90015\)$"):
        call_command("send_message", "--conversation", identifier, "--session", "charlie", "hello")
    with pytest.raises(CommandError, match=r"^conversation not found \(90014\)$"):
        call_command("send_message", "--conversation", identifier.upper(), "hello")
    kick_out(identifier, ["alice"])
    with pytest.raises(CommandError, match=r"^not a member of the conversation \(90015\)$"):
        call_command(*send, "hello")
    set_archived([identifier], True)
    with pytest.raises(CommandError, match=r"^conversation is archived \(90016\)$"):
        call_command("send_message", "--conversation", identifier, "--session", "bob", "hello")
    assert Message.objects.count() == 1


async def test_a_running_server_pushes_what_the_commands_did(server: Server, api: Api) -> None:
    alice = Person(api, fresh("alice"))
    listener = await alice.listen_ws()
    arguments = ["--type", "5", "--session", alice.session]
    identifier = server.manage("create_conversation", *arguments).stdout.strip()
    assert (await listener.notice("conversation.joined", identifier))["Sessions"] == [alice.session]
    printed = server.manage("send_message", "--conversation", identifier, "hello").stdout.split()
    message = await listener.message()
    assert [message["MsgId"], str(message["SendTime"])] == printed
    assert (message["FromSession"], message["Content"], message["Seq"]) == ("", "hello", 1)


async def test_a_token_from_the_command_line_opens_the_server(server: Server, api: Api) -> None:
    session = fresh("alice")
    token = server.manage("issue_token", "--session", session, "--platform", "2").stdout.strip()
    answer = await api.public("get_joined_conversation", token=token)
    assert answer.data == {"Conversations": []}
