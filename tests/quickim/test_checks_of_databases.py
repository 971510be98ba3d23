"""The system checks that ask databases, against real ones."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import NotSupportedError
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.utils import ConnectionHandler
from pytest_django import DjangoDbBlocker, Settings

from conversations.fields import BytewiseField
from conversations.models import Conversation
from messaging.models import Message
from quickim import backends
from quickim.backends import POSTGRESQL_POOL
from quickim.checks import databases, sqlite
from tests.databases import Postgres, holds_within
from tests.quickim.test_checks import configured, ids


@pytest.fixture
def check_database(monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker) -> Iterator[Any]:
    """Runs the database checks on a database described as in DATABASES."""

    def check(database: dict[str, Any]) -> list[str]:
        handler = ConnectionHandler({"default": database})
        monkeypatch.setattr(databases, "connections", handler)
        try:
            return ids(databases.check_databases(databases=["default"]))
        finally:
            handler["default"].close()
            if handler["default"].vendor == "postgresql":
                # Pools are kept by alias: the next one is another database.
                handler["default"].close_pool()  # type: ignore[attr-defined]  # of this back end only

    with django_db_blocker.unblock():
        yield check


def embedded(tmp_path: Path, **options: str) -> dict[str, Any]:
    database: dict[str, Any] = backends.databases(None, tmp_path)["default"]
    return {**database, "OPTIONS": {**database["OPTIONS"], **options}}


def test_the_embedded_database_is_durable_as_configured(check_database: Any, tmp_path: Path) -> None:
    assert check_database(embedded(tmp_path)) == []


def test_the_pragmas_are_in_force_and_no_words_of_ours(check_database: Any, tmp_path: Path) -> None:
    check_database(embedded(tmp_path))
    other = sqlite3.connect(tmp_path / "quickim.sqlite3")
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"init_command": "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL"}, "quickim.E001"),
        ({"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"}, "quickim.E002"),
        ({"transaction_mode": "DEFERRED"}, "quickim.E003"),
    ],
)
def test_sqlite_that_could_lose_or_refuse_a_commit_is_an_error(
    check_database: Any, tmp_path: Path, options: dict[str, str], expected: str
) -> None:
    assert check_database(embedded(tmp_path, **options)) == [expected]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server.start()
    server.stop()


def on_postgresql(postgres: Postgres, query: str = "", **options: Any) -> dict[str, Any]:
    """As QUICKIM_DATABASE_URL with these parameters has it, and OPTIONS with these changed."""
    database: dict[str, Any] = backends.databases(postgres.url("postgres") + query, Path("unused"))["default"]
    return {**database, "OPTIONS": {**database["OPTIONS"], **options}}


@pytest.fixture
def administer(postgres: Postgres) -> Iterator[Callable[..., None]]:
    """Changes settings of the whole server, and changes them back."""
    changed: list[str] = []
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as administrator:

        def become(name: str, value: str | None) -> None:
            assignment = f"SET {name} = '{value}'" if value is not None else f"RESET {name}"
            administrator.execute(f"ALTER SYSTEM {assignment}".encode())
            administrator.execute("SELECT pg_reload_conf()")
            wanted = "setting = %s" if value is not None else "source <> 'configuration file'"
            shown = f"SELECT {wanted} FROM pg_settings WHERE name = '{name}'".encode()
            parameters = [value] if value is not None else []
            # The postmaster rereads its files when it gets to it.
            assert holds_within(10, lambda: administrator.execute(shown, parameters).fetchone() == (True,))

        def administer(**settings: str) -> None:
            for name, value in settings.items():
                changed.append(name)
                become(name, value)

        yield administer
        for name in changed:
            become(name, None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("fsync", "quickim.E004"), ("full_page_writes", "quickim.E005"), ("synchronous_commit", "quickim.E006")],
)
def test_postgresql_that_could_lose_a_commit_is_an_error(
    check_database: Any, postgres: Postgres, administer: Callable[..., None], name: str, expected: str
) -> None:
    assert check_database(on_postgresql(postgres)) == []
    administer(**{name: "off"})
    assert check_database(on_postgresql(postgres)) == [expected]


def test_a_standby_that_commits_do_not_wait_for_is_a_warning(
    check_database: Any, postgres: Postgres, administer: Callable[..., None]
) -> None:
    administer(synchronous_standby_names="other", synchronous_commit="local")
    assert check_database(on_postgresql(postgres)) == ["quickim.W009"]


def test_transactions_that_are_not_read_committed_are_an_error(
    check_database: Any, postgres: Postgres, administer: Callable[..., None]
) -> None:
    isolated = on_postgresql(postgres, isolation_level=psycopg.IsolationLevel.REPEATABLE_READ)
    assert check_database(isolated) == ["quickim.E011"]
    administer(default_transaction_isolation="serializable")
    assert check_database(on_postgresql(postgres)) == ["quickim.E011"]


def test_a_database_that_takes_no_writes_is_an_error(
    check_database: Any, postgres: Postgres, administer: Callable[..., None]
) -> None:
    administer(default_transaction_read_only="on")
    try:
        assert check_database(on_postgresql(postgres)) == ["quickim.E013"]
    finally:
        administer(default_transaction_read_only="off")


def test_an_encoding_that_cannot_hold_every_message_is_an_error(check_database: Any, postgres: Postgres) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as administrator:
        administrator.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    database = on_postgresql(postgres)
    assert check_database({**database, "NAME": "latin"}) == ["quickim.E014"]


def test_msgids_that_do_not_compare_byte_by_byte_are_an_error(check_database: Any, postgres: Postgres) -> None:
    columns = [
        (model._meta.db_table, field.column)
        for model in (Message, Conversation)
        for field in model._meta.local_concrete_fields
        if isinstance(field, BytewiseField)
    ]
    assert len(columns) == 3
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as administrator:
        for table, column in columns:
            administrator.execute(f"CREATE TABLE IF NOT EXISTS {table} (session varchar(128))".encode())
            administrator.execute(f'ALTER TABLE {table} ADD {column} varchar(19) COLLATE "C"'.encode())
        try:
            assert check_database(on_postgresql(postgres)) == []
            for table, column in columns:
                change = f'ALTER TABLE {table} ALTER {column} TYPE varchar(19) COLLATE "default"'
                administrator.execute(change.encode())
            assert check_database(on_postgresql(postgres)) == ["quickim.E012"] * 3
        finally:
            for table in {table for table, _ in columns}:
                administrator.execute(f"DROP TABLE {table}".encode())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("statement_timeout", "quickim.W005"),
        ("lock_timeout", "quickim.W006"),
        ("idle_in_transaction_session_timeout", "quickim.W007"),
    ],
)
def test_a_wait_without_a_bound_is_a_warning(check_database: Any, postgres: Postgres, name: str, expected: str) -> None:
    assert check_database(on_postgresql(postgres, f"?options=-c%20{name}%3D0")) == [expected]
    assert check_database(on_postgresql(postgres, f"?options=-c%20{name}%3D1min")) == []


def test_a_pooler_that_leaves_out_the_connections_settings_is_a_warning(
    check_database: Any, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = DatabaseWrapper.get_connection_params

    def without_options(self: Any) -> dict[str, Any]:
        return {name: value for name, value in usual(self).items() if name != "options"}

    monkeypatch.setattr(DatabaseWrapper, "get_connection_params", without_options)
    assert check_database(on_postgresql(postgres)) == ["quickim.W008"]


def test_more_connections_than_the_server_has_are_a_warning(
    check_database: Any, postgres: Postgres, settings: Settings
) -> None:
    # Of 200 connections three are kept for superusers.
    enough = 197 // POSTGRESQL_POOL["max_size"]
    configured(settings, workers=enough)
    assert check_database(on_postgresql(postgres)) == []
    configured(settings, workers=enough + 1)
    assert check_database(on_postgresql(postgres)) == ["quickim.W010"]


def test_a_database_that_is_away_is_one_error(check_database: Any) -> None:
    # Port 9 (discard) of loopback: nobody listens there.
    assert check_database(backends.databases("postgres://u@127.0.0.1:9/db", Path("unused"))["default"]) == [
        "quickim.E007"
    ]


def test_a_database_server_that_is_too_old_is_an_error(
    check_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(connection: object) -> list[Any]:
        raise NotSupportedError("PostgreSQL 14 or later is required (found 13.1).")

    monkeypatch.setitem(databases._CHECKS, "sqlite", refuse)
    assert check_database(embedded(tmp_path)) == ["quickim.E010"]


MOUNTS = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 22 0:41 / /srv rw - nfs4 server:/export rw,vers=4.2
41 40 254:2 / /srv/my\\040disk rw - xfs /dev/vdb rw
42 22 0:42 / /srvother rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/lib/quickim.sqlite3", "ext4"),
        ("/srv/quickim.sqlite3", "nfs4"),
        ("/srv/my disk/quickim.sqlite3", "xfs"),
        ("/srvother/quickim.sqlite3", "tmpfs"),
    ],
)
def test_the_file_system_of_a_file_is_that_of_the_nearest_mount(path: str, expected: str) -> None:
    assert sqlite.file_system(Path(path), MOUNTS) == expected
    assert sqlite.file_system(Path(path), "") == ""


def test_sqlite_on_a_network_file_system_is_an_error(
    check_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"40 22 0:41 / {tmp_path.resolve()} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(sqlite, "MOUNTS", mounts)
    assert check_database(embedded(tmp_path)) == ["quickim.E015"]
    monkeypatch.setattr(sqlite, "MOUNTS", tmp_path / "of another system")
    assert check_database(embedded(tmp_path)) == []


def test_several_workers_on_sqlite_are_an_error(check_database: Any, tmp_path: Path, settings: Settings) -> None:
    configured(settings, workers=2)
    assert check_database(embedded(tmp_path)) == ["quickim.E016"]


def test_a_deployment_asks_databases_that_no_command_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> None:
    handler = ConnectionHandler({"default": embedded(tmp_path, transaction_mode="DEFERRED")})
    monkeypatch.setattr(databases, "connections", handler)
    with django_db_blocker.unblock():
        assert databases.check_databases(databases=None) == []
        assert ids(databases.check_deployed_databases(databases=None)) == ["quickim.E003", "quickim.E019"]
        assert ids(databases.check_deployed_databases(databases=["default"])) == ["quickim.E019"]
        handler["default"].close()


@pytest.mark.django_db
def test_a_migrated_database_is_no_finding_of_a_deployment() -> None:
    assert databases.check_deployed_databases(databases=None) == []
