"""prune_messages: what it takes and prints, that it can be stopped, and that others' locks do not stop it."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.management import ManagementUtility, call_command
from django.core.management.base import CommandError

from conversations.models import Conversation
from conversations.services import create_conversation, set_deleted
from messaging import retention
from messaging.append import append_batch
from messaging.management.commands import prune_messages
from messaging.message import NewMessage
from messaging.models import Message
from tests.clients import Api, Person, fresh
from tests.databases import holds_within
from tests.gateway.in_process import Clock
from tests.servers import ROOT, Server

DAY = 86_400


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints, which is one line."""
    call_command("prune_messages", *arguments)
    captured = capsys.readouterr()
    assert captured.err == ""
    (line,) = captured.out.splitlines()
    return line


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> Clock:
    """The database's clock, moved by the test."""
    clock = Clock()
    monkeypatch.setattr("quickim.database.database_clock", clock)
    monkeypatch.setattr("messaging.retention.database_clock", clock)
    return clock


@pytest.fixture
def room(clock: Clock) -> Conversation:
    """A conversation with three messages, each a day older than the next; the last is new."""
    room = create_conversation(7, ["alice"])
    for number in range(3):
        clock.advance(DAY)
        append_batch([NewMessage(str(room.public_id), "alice", 0, 0, f"{number}")])
    return room


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "--older-than"),
        ("--older-than 90", "--older-than: must be a whole number with s, m, h, d or w, such as 90d"),
        ("--older-than d", "--older-than: must be a whole number"),
        ("--older-than -1d", "--older-than"),
        ("--older-than 1.5h", "--older-than: must be a whole number"),
        ("--older-than 1y", "--older-than: must be a whole number"),
        ("--older-than 1D", "--older-than: must be a whole number"),
        ("--older-than ٣d", "--older-than: must be a whole number"),
        ("--older-than 1d --batch 0", "--batch: must be 1 to 5000"),
        ("--older-than 1d --batch 5001", "--batch: must be 1 to 5000"),
        ("--older-than 1d --pause -1", "--pause"),
        ("--older-than 1d --pause 61", "--pause: must be 0 to 60 seconds"),
        ("--older-than 1d --type x", "--type: must be an integer"),
        ("--older-than 1d --type -1", "--type: must be 0 to"),
    ],
)
def test_bad_arguments_end_in_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: str, words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        ManagementUtility(["manage.py", "prune_messages", *arguments.split()]).execute()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("90s", 90), ("5m", 300), ("36h", 129_600), ("90d", 7_776_000), ("2w", 1_209_600)]
)
def test_an_age_is_a_number_with_its_unit(text: str, seconds: int) -> None:
    assert prune_messages.age(text) == seconds * 1_000_000


def test_it_says_in_one_line_what_went(capsys: pytest.CaptureFixture[str], room: Conversation) -> None:
    dry = run(capsys, "--older-than", "36h", "--dry-run")
    assert dry == "would delete 1 messages of 1 conversations and 0 refused drafts"
    assert Message.objects.count() == 3
    line = run(capsys, "--older-than", "36h", "--batch", "1", "--pause", "0")
    assert line == "deleted 1 messages of 1 conversations and 0 refused drafts"
    assert list(Message.objects.order_by("seq").values_list("seq", flat=True)) == [2, 3]
    assert run(capsys, "--older-than", "5w") == "deleted 0 messages of 0 conversations and 0 refused drafts"


def test_it_takes_one_conversation_even_a_deleted_one_or_one_type(
    capsys: pytest.CaptureFixture[str], room: Conversation
) -> None:
    other = create_conversation(8, ["alice"])
    set_deleted([str(room.public_id)], True)
    with pytest.raises(CommandError, match=r"^conversation not found \(90014\)$"):
        run(capsys, "--older-than", "12h", "--conversation", str(other.public_id).upper())
    assert run(capsys, "--older-than", "12h", "--type", "8").startswith("deleted 0 messages")
    assert run(capsys, "--older-than", "12h", "--conversation", str(other.public_id)).startswith("deleted 0 messages")
    line = run(capsys, "--older-than", "12h", "--type", "7", "--conversation", str(room.public_id))
    assert line == "deleted 2 messages of 1 conversations and 0 refused drafts"


def test_what_others_held_all_the_time_is_exit_code_1(
    capsys: pytest.CaptureFixture[str], room: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_held(targets: dict[int, int], batch: int) -> Any:
        return retention._Step(0, set(), set(targets))

    monkeypatch.setattr(retention, "_delete", all_held)
    monkeypatch.setattr(retention, "HELD_SECONDS", 0)
    with pytest.raises(CommandError, match=r"^1 conversations were held by other transactions: run it again$"):
        run(capsys, "--older-than", "1d")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_says_what_it_did_and_goes_on_the_next_time(
    capsys: pytest.CaptureFixture[str], room: Conversation, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def stop(_: float) -> None:
        signal.raise_signal(number)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr("messaging.management.commands.prune_messages.time.sleep", stop)
        with pytest.raises(SystemExit) as ended:
            call_command("prune_messages", "--older-than", "0s", "--batch", "1")
    assert ended.value.code == 130
    assert signal.getsignal(signal.SIGTERM) is before
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip() == "stopped; deleted 1 messages of 0 conversations and 0 refused drafts"
    assert Message.objects.count() == 2
    assert run(capsys, "--older-than", "12h").startswith("deleted 1 messages")


@pytest.fixture
def pruning() -> Iterator[Any]:
    """Starts prune_messages in a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(server: Server, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "manage.py", "prune_messages", *arguments]
        started.append(subprocess.Popen(command, cwd=ROOT, env=server.environment, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("server", ["cluster"], indirect=True)
async def test_a_held_conversation_is_come_back_to_and_keeps_no_other_waiting(
    server: Server, api: Api, pruning: Any
) -> None:
    alice = Person(api, fresh("alice"))
    held, other = await api.conversation(alice.session), await api.conversation(alice.session)
    for conversation in (held, other):
        await alice.send(conversation, "old")
    with psycopg.connect(server.settings["QUICKIM_DATABASE_URL"]) as foreign:
        foreign.execute("SELECT 1 FROM conversations_conversation WHERE public_id = %s FOR UPDATE", [held])
        process = pruning(server, "--older-than", "0s", "--pause", "0")

        def is_pruned() -> bool:
            wanted = "SELECT first_seq = 2 FROM conversations_conversation WHERE public_id = %s"
            return bool(foreign.execute(wanted, [other]).fetchone() == (True,))

        assert await asyncio.to_thread(holds_within, 30, is_pruned)
        assert (len(await alice.history(other)), len(await alice.history(held))) == (0, 1)
        foreign.rollback()
    output, _ = await asyncio.to_thread(process.communicate, timeout=40)
    assert process.returncode == 0
    assert output.startswith("deleted ")
    assert await alice.history(held) == []
