"""The system checks against real databases and against settings that must not be."""

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.core.checks import registry
from django.db.utils import ConnectionHandler
from pytest_django import DjangoDbBlocker, Settings

from quickim import backends, checks
from quickim.env import Configuration
from tests.databases import Postgres, holds_within


def ids(found: list[Any]) -> list[str]:
    """The ids of what was found."""
    return [message.id for message in found]


@pytest.fixture
def check_database(monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker) -> Iterator[Any]:
    """Runs the database checks on a database described as in DATABASES."""
    handlers: list[ConnectionHandler] = []

    def check(database: dict[str, Any]) -> list[str]:
        handlers.append(ConnectionHandler({"default": database}))
        monkeypatch.setattr(checks, "connections", handlers[-1])
        return ids(checks.check_databases(databases=["default"]))

    with django_db_blocker.unblock():
        yield check
        for handler in handlers:
            handler["default"].close()
            if handler["default"].vendor == "postgresql":
                handler["default"].close_pool()  # type: ignore[attr-defined]  # of this back end only


def sqlite(tmp_path: Path, **options: str) -> dict[str, Any]:
    database: dict[str, Any] = backends.databases(None, tmp_path)["default"]
    return {**database, "OPTIONS": {**database["OPTIONS"], **options}}


def test_the_embedded_database_is_durable_as_configured(check_database: Any, tmp_path: Path) -> None:
    assert check_database(sqlite(tmp_path)) == []


def test_the_pragmas_are_in_force_and_no_words_of_ours(check_database: Any, tmp_path: Path) -> None:
    check_database(sqlite(tmp_path))
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
    assert check_database(sqlite(tmp_path, **options)) == [expected]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server.start()
    server.stop()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("fsync", "quickim.E004"), ("full_page_writes", "quickim.E005"), ("synchronous_commit", "quickim.E006")],
)
def test_postgresql_that_could_lose_a_commit_is_an_error(
    check_database: Any, postgres: Postgres, name: str, expected: str
) -> None:
    database = backends.databases(postgres.url("postgres"), Path("unused"))["default"]
    assert check_database(database) == []
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as administrator:

        def is_shown(value: str) -> bool:
            # The postmaster rereads its files when it gets to it.
            row = administrator.execute(f"SHOW {name}".encode()).fetchone()
            return row == (value,)

        administrator.execute(f"ALTER SYSTEM SET {name} = off".encode())
        administrator.execute("SELECT pg_reload_conf()")
        assert holds_within(10, lambda: is_shown("off"))
        try:
            assert check_database(database) == [expected]
        finally:
            administrator.execute(f"ALTER SYSTEM RESET {name}".encode())
            administrator.execute("SELECT pg_reload_conf()")
        assert holds_within(10, lambda: is_shown("on"))


def test_a_database_that_is_away_is_one_error(check_database: Any) -> None:
    # Port 9 (discard) of loopback: nobody listens there.
    assert check_database(backends.databases("postgres://u@127.0.0.1:9/db", Path("unused"))["default"]) == [
        "quickim.E007"
    ]


def configured(settings: Settings, **changes: Any) -> Configuration:
    """Settings with these fields of QUICKIM changed."""
    configuration: Configuration = replace(settings.QUICKIM, **changes)
    settings.QUICKIM = configuration
    return configuration


def test_several_workers_with_a_layer_in_memory_are_an_error(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = backends.channel_layers(())
    configured(settings, workers=1)
    assert checks.check_layer(None) == []
    configured(settings, workers=2)
    assert ids(checks.check_layer(None)) == ["quickim.E008"]
    settings.CHANNEL_LAYERS = backends.channel_layers(("redis://cache/0",))
    assert checks.check_layer(None) == []


def test_a_pool_whose_connections_are_kept_outside_of_it_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = backends.databases("postgres://db/quickim", Path("unused"))["default"]
    monkeypatch.setattr(checks, "settings", SimpleNamespace(DATABASES={"default": database}))
    assert checks.check_pool(None) == []
    kept = {**database, "CONN_MAX_AGE": None}
    monkeypatch.setattr(checks, "settings", SimpleNamespace(DATABASES={"default": kept}))
    assert ids(checks.check_pool(None)) == ["quickim.E009"]


def test_generated_secrets_are_a_warning_of_deployments(settings: Settings) -> None:
    settings.DEBUG = False
    configured(settings, generated=frozenset({"QUICKIM_JWT_KEYS"}))
    assert ids(checks.check_generated_secrets(None)) == ["quickim.W001"]
    configured(settings, generated=frozenset())
    assert checks.check_generated_secrets(None) == []


@pytest.mark.parametrize(
    ("networks", "keys", "expected"),
    [
        (["127.0.0.0/8", "10.0.0.0/8"], (), []),
        (["0.0.0.0/0"], (), ["quickim.W002"]),
        (["127.0.0.0/8", "::/0"], (), ["quickim.W002"]),
        (["0.0.0.0/1", "128.0.0.0/1"], (), ["quickim.W002"]),
        (["0.0.0.0/0"], ("a key of the product",), []),
    ],
)
def test_inner_endpoints_open_to_the_world_are_a_warning(
    settings: Settings, networks: list[str], keys: tuple[str, ...], expected: list[str]
) -> None:
    configured(settings, inner_allow=tuple(map(ip_network, networks)), inner_api_keys=keys)
    assert ids(checks.check_inner_allow(None)) == expected


def test_trusting_every_proxy_is_a_warning(settings: Settings) -> None:
    configured(settings, trusted_proxies=(ip_network("10.0.0.7/32"),))
    assert checks.check_trusted_proxies(None) == []
    configured(settings, trusted_proxies=(ip_network("::/0"),))
    assert ids(checks.check_trusted_proxies(None)) == ["quickim.W003"]


def test_a_secret_file_that_others_can_read_is_a_warning(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "jwt_key"
    path.touch(mode=0o600)
    configured(settings, data_dir=tmp_path, generated=frozenset({"QUICKIM_JWT_KEYS"}))
    assert checks.check_secret_files(None) == []
    os.chmod(path, 0o640)
    assert ids(checks.check_secret_files(None)) == ["quickim.W004"]


def test_every_check_is_registered_where_commands_look_for_it() -> None:
    usual = set(registry.registry.get_checks())
    of_deployments = set(registry.registry.get_checks(include_deployment_checks=True)) - usual
    assert {checks.check_databases, checks.check_layer, checks.check_pool, checks.check_secret_files} <= usual
    assert {
        checks.check_generated_secrets,
        checks.check_inner_allow,
        checks.check_trusted_proxies,
    } <= of_deployments
