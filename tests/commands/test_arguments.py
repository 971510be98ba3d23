"""Bad arguments, and a database or server that is not there: one clear line, the right exit code, no traceback."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import ManagementUtility

from tests.databases import free_port
from tests.servers import ROOT

Manage = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def manage(tmp_path: Path) -> Manage:
    """Runs a command in an environment of its own, whose database nobody migrated and whose port nobody serves."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUICKIM_")}
    environment |= {"QUICKIM_DATA_DIR": str(tmp_path), "QUICKIM_BIND": f"127.0.0.1:{free_port()}"}

    def run(*arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def only_line(done: "subprocess.CompletedProcess[str]", status: int) -> str:
    """The one line of stderr of a command that ended with ``status`` and printed nothing."""
    assert (done.returncode, done.stdout) == (status, ""), done
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("issue_token", "--session, --platform"),
        ("issue_token --session alice --platform phone", "--platform: must be an integer"),
        ("issue_token --session alice --platform 32768", "--platform: must be 0 to 32767"),
        ("issue_token --session '' --platform 1", "--session: must be 1 to 128 characters"),
        ("issue_token --session 'a\nb' --platform 1", "--session: must be 1 to 128 characters"),
        ("issue_token --session a\udcff --platform 1", "--session: must be valid UTF-8"),
        ("issue_token --session alice --platform 1 --ttl 0", "--ttl: must be 1 to"),
        ("create_conversation --type 1", "--session"),
        ("create_conversation --type -1 --session alice", "--type: must be 0 to 9223372036854775807"),
        ("create_conversation --type 1_0 --session alice", "--type: must be an integer"),
        ("send_message --conversation x", "CONTENT"),
        ("send_message --conversation x --type 2147483648 hello", "--type: must be -2147483648"),
        (f"send_message --conversation x --client-msg-id {'y' * 65} hello", "must be 1 to 64 characters"),
        (f"send_message --conversation x {'y' * 65_537}", "CONTENT: must be at most 65536 bytes"),
        ("tail", "--session"),
        ("tail --session alice --url http://127.0.0.1/notify", "--url: must be a WebSocket address"),
        ("tail --session alice --url ws://[::1/notify", "--url: must be a WebSocket address"),
        ("tail --session alice --since yesterday", "--since: is no cursor"),
        ("tail --session alice --unknown", "--unknown"),
    ],
    ids=lambda value: ascii(value)[1:60],
)
def test_bad_arguments_end_in_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: str, words: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        ManagementUtility(["manage.py", *shlex.split(arguments)]).execute()
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"manage.py {arguments.split()[0]}: error: ")
    assert words in line


def test_a_process_with_bad_arguments_ends_just_so(manage: Manage) -> None:
    line = only_line(manage("issue_token", "--session", "alice", "--platform", "phone"), 2)
    assert line == "manage.py issue_token: error: argument --platform: must be an integer"


@pytest.mark.parametrize(
    "arguments",
    [
        ["create_conversation", "--type", "1", "--session", "alice"],
        ["send_message", "--conversation", "0d5f1a9e-5a0c-4a58-9d3b-0c7f6f1d3b52", "hello"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_database_that_is_not_migrated_is_named_as_such(manage: Manage, arguments: list[str]) -> None:
    line = only_line(manage(*arguments), 1)
    assert line == "CommandError: the database is not migrated: run `python manage.py migrate` first"


@pytest.mark.parametrize(
    "arguments",
    [
        ["create_conversation", "--type", "1", "--session", "alice"],
        ["send_message", "--conversation", "0d5f1a9e-5a0c-4a58-9d3b-0c7f6f1d3b52", "hello"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_database_that_is_away_is_told_in_one_line(manage: Manage, arguments: list[str]) -> None:
    url = f"postgres://somebody:secret@127.0.0.1:{free_port()}/quickim"
    line = only_line(manage(*arguments, QUICKIM_DATABASE_URL=url), 1)
    assert "QUICKIM_DATABASE_URL" in line
    assert "secret" not in line


def test_tail_says_that_no_server_is_there(manage: Manage) -> None:
    line = only_line(manage("tail", "--session", "alice"), 1)
    assert line.startswith("CommandError: no server answers at ws://127.0.0.1:")


def test_help_shows_how_to_use_a_command(manage: Manage) -> None:
    done = manage("send_message", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: manage.py send_message")
