"""The settings as processes meet them: what the addresses become, and how a malformed environment ends."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError
from django.db.utils import ConnectionHandler
from pytest_django import DjangoDbBlocker

from quickim import backends
from tests.databases import Postgres

ROOT = Path(__file__).resolve().parents[2]


def run(tmp_path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in the clone, in an environment that says nothing of Django and only this of quickim."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("QUICKIM_", "DJANGO_"))}
    environ |= {f"QUICKIM_{name}": value for name, value in variables.items()}
    environ.setdefault("QUICKIM_DATA_DIR", str(tmp_path / "data"))
    command = [sys.executable, *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("manage.py", "check"),
        ("manage.py", "serve"),
        ("manage.py", "issue_token", "--session", "alice", "--platform", "1"),
        ("-m", "uvicorn", "quickim.asgi:application"),
        ("-m", "daphne", "quickim.asgi:application"),
    ],
    ids=" ".join,
)
def test_a_malformed_environment_ends_in_one_line_and_exit_code_1(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    finished = run(tmp_path, *arguments, BIND="nowhere")
    assert finished.returncode == 1
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith("QUICKIM_BIND must be an address and a port")
    assert not (tmp_path / "data").exists()


def test_every_problem_has_its_line(tmp_path: Path) -> None:
    finished = run(tmp_path, "manage.py", "check", BIND="nowhere", WORKERS="4", SEND_RATES="off")
    assert finished.returncode == 1
    assert [line.split()[0] for line in finished.stderr.splitlines()] == [
        "'QUICKIM_SEND_RATES'",
        "QUICKIM_BIND",
    ]


def test_without_django_the_command_line_says_how_to_get_it() -> None:
    # -I -S: a Python that sees neither the clone's packages nor anybody else's.
    program = "import runpy; runpy.run_path('manage.py', run_name='__main__')"
    finished = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1
    assert finished.stderr.splitlines() == [
        "Django is not installed in this Python: script/server installs everything and starts the server."
    ]


def test_django_and_tokens_have_keys_of_their_own() -> None:
    assert settings.QUICKIM.secret_key == settings.SECRET_KEY
    signing_key = settings.SIMPLE_JWT["SIGNING_KEY"]
    assert signing_key == settings.QUICKIM.jwt_keys[0].key
    assert signing_key != settings.SECRET_KEY


def test_the_embedded_database_lies_in_the_data_directory(tmp_path: Path) -> None:
    assert backends.databases(None, tmp_path)["default"]["NAME"] == tmp_path / "quickim.sqlite3"


def postgresql(url: str) -> dict[str, Any]:
    """What Django is told of the database at this URL."""
    database: dict[str, Any] = backends.databases(backends.database_url(url), Path("unused"))["default"]
    return database


def test_a_postgresql_url_is_percent_decoded() -> None:
    database = postgresql("postgresql://us%40er:p%3A%2Fw@[::1]:5433/n%20m")
    parts = [database[key] for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME")]
    assert parts == ["us@er", "p:/w", "::1", "5433", "n m"]


def test_a_postgresql_url_may_name_a_socket() -> None:
    database = postgresql("postgres:///quickim?host=/run/postgresql")
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("/run/postgresql", "", "quickim")


def test_query_parameters_go_to_libpq_and_win_over_ours() -> None:
    database = postgresql("postgres://db/quickim?sslmode=verify-full&connect_timeout=9&options=-c%20lock_timeout%3D0")
    assert database["OPTIONS"]["sslmode"] == "verify-full"
    assert database["OPTIONS"]["connect_timeout"] == "9"
    assert database["OPTIONS"]["options"].endswith("-c lock_timeout=0")
    assert "statement_timeout" in database["OPTIONS"]["options"]


def test_every_redis_url_becomes_a_shard_whose_subscription_may_be_silent() -> None:
    layer = backends.channel_layers(("redis://a/0", "rediss://b:6380/1"))["default"]
    assert layer["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
    assert [host["address"] for host in layer["CONFIG"]["hosts"]] == ["redis://a/0", "rediss://b:6380/1"]
    assert all(host["socket_timeout"] is None for host in layer["CONFIG"]["hosts"])


def test_without_redis_the_layer_is_this_process_memory() -> None:
    assert backends.channel_layers(())["default"]["BACKEND"] == "channels.layers.InMemoryChannelLayer"


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server.start()
    server.stop()


def shown(url: str, *names: str) -> list[str]:
    """What a PostgreSQL connection of ours answers to SHOW."""
    connection = ConnectionHandler({"default": postgresql(url)})["default"]
    try:
        with connection.cursor() as cursor:
            answers = []
            for name in names:
                cursor.execute(f"SHOW {name}")
                answers.append(str(cursor.fetchone()[0]))
        return answers
    finally:
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined]  # of the PostgreSQL back end only


def test_postgresql_ends_what_would_stall_others(postgres: Postgres, django_db_blocker: DjangoDbBlocker) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "application_name")
    with django_db_blocker.unblock():
        assert shown(postgres.url("postgres"), *names) == ["10s", "3s", "10s", "quickim"]


def test_a_deployment_may_lift_a_timeout_for_a_long_migration(
    postgres: Postgres, django_db_blocker: DjangoDbBlocker
) -> None:
    url = postgres.url("postgres") + "?options=-c%20statement_timeout%3D0"
    with django_db_blocker.unblock():
        assert shown(url, "statement_timeout", "lock_timeout") == ["0", "3s"]


def test_a_database_that_is_away_is_an_error_within_seconds(django_db_blocker: DjangoDbBlocker) -> None:
    # Port 9 (discard) of loopback: nobody listens there.
    with django_db_blocker.unblock(), pytest.raises(OperationalError):
        shown("postgres://user@127.0.0.1:9/quickim", "fsync")
