"""create_support_user and erase_session, as they are run from a shell."""

import io
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError

from conversations.models import Conversation
from messaging.models import Message
from tests.desk.conftest import say

PASSWORD = "correct horse battery staple"


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    """A file with a good password in its first line."""
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\nsecond line\n")
    return str(path)


def test_a_support_user_is_of_the_staff_and_in_the_group(
    db: None, password_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("create_support_user", "ada", "--password-file", password_file)
    assert capsys.readouterr().out == "ada may log in at /admin/\n"
    user = User.objects.get()
    assert user.check_password(PASSWORD)
    assert (user.is_staff, user.is_superuser, user.is_active) == (True, False, True)
    assert [group.name for group in user.groups.all()] == ["support"]


def test_an_administrator_may_do_everything(db: None, password_file: str) -> None:
    call_command("create_support_user", "grace", "--administrator", "--password-file", password_file, verbosity=0)
    user = User.objects.get()
    assert (user.is_staff, user.is_superuser) == (True, True)


def test_the_password_may_come_on_standard_input(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    call_command("create_support_user", "ada", "--password-file", "-")
    assert User.objects.get().check_password(PASSWORD)


def test_the_password_is_asked_for_twice_at_a_terminal(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    answers = iter([PASSWORD, "another", PASSWORD, PASSWORD])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    with pytest.raises(CommandError, match="differ"):
        call_command("create_support_user", "ada")
    call_command("create_support_user", "ada")
    assert User.objects.get().check_password(PASSWORD)


@pytest.mark.parametrize(
    ("name", "password", "problem"),
    [
        ("ada", "short", "too short"),
        ("ada", "12345678901", "numeric"),
        ("ada", "", "too short"),
        ("a b", PASSWORD, "valid username"),
        ("", PASSWORD, "blank"),
        ("x" * 151, PASSWORD, "150"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(db: None, tmp_path: Path, name: str, password: str, problem: str) -> None:
    (tmp_path / "password").write_text(password)
    with pytest.raises(CommandError, match=problem) as refused:
        call_command("create_support_user", name, "--password-file", str(tmp_path / "password"))
    assert "\n" not in str(refused.value)
    assert PASSWORD not in str(refused.value)
    assert not User.objects.exists()


def test_a_name_is_taken_once(db: None, password_file: str) -> None:
    call_command("create_support_user", "ada", "--password-file", password_file)
    with pytest.raises(CommandError, match="already exists"):
        call_command("create_support_user", "ada", "--administrator", "--password-file", password_file)
    assert not User.objects.get().is_superuser


def test_without_terminal_and_file_it_does_not_hang(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(CommandError, match="--password-file"):
        call_command("create_support_user", "ada")
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("create_support_user", "ada", "--password-file", "nowhere/at all")


def test_erase_session_says_what_went(room: Conversation, capsys: pytest.CaptureFixture[str]) -> None:
    say(room, "a secret")
    say(room, "bob's", "bob")
    call_command("erase_session", "alice")
    assert capsys.readouterr().out == "erased 1 messages of 1 conversations and 0 refused drafts\n"
    assert list(Message.objects.order_by("seq").values_list("content", flat=True)) == ["", "bob's"]
    with pytest.raises(CommandError, match="1 to 128"):
        call_command("erase_session", "")
