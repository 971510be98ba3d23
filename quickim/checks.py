"""System checks with ids: what a database, a layer or a deployment must be like for the promises to hold.

Laws: a check only looks. An error means that a promise of the wire contract would be broken; a warning means
that a door stands wider open than it probably should (most come with `manage.py check --deploy` only).

E001 to E003: SQLite; E004 to E006: PostgreSQL; E007: a database that cannot be asked; E008 and E009: settings
that contradict each other; W001 to W004: doors and secrets.
"""

import stat
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from quickim.env import GENERATED_FILES
from quickim.variables import Network

SQLITE_FULL = 2
"""`PRAGMA synchronous` answers 0 OFF, 1 NORMAL, 2 FULL, 3 EXTRA."""

_Apps = Sequence[AppConfig] | None


@register(Tags.database)
def check_databases(*, databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Whether an acknowledged send survives a power cut, as far as the database's own settings say.

    Killing processes cannot show a missing fsync, so it is asked for. Runs when a command names databases
    (`migrate`, `check --database default`).
    """
    found: list[CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        check = _DURABILITY.get(connection.vendor)
        try:
            found += check(connection) if check else []
        except OperationalError as error:
            reason = str(error).strip().splitlines()[0]
            found.append(Error(f"The database {alias!r} cannot be asked: {reason}", id="quickim.E007"))
    return found


def _check_sqlite(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    journal_mode, synchronous = (
        _ask(connection, "PRAGMA journal_mode"),
        int(_ask(connection, "PRAGMA synchronous")),
    )
    if journal_mode != "wal":
        found.append(
            Error(
                f"SQLite's journal_mode is {journal_mode}: readers and the writer would wait for each other.",
                hint="It must be WAL, which needs a local disk (no network file system).",
                id="quickim.E001",
            )
        )
    if synchronous < SQLITE_FULL:
        found.append(
            Error(
                f"SQLite's synchronous is {synchronous}: a power cut may take acknowledged messages with it.",
                hint="It must be FULL (2) or EXTRA (3).",
                id="quickim.E002",
            )
        )
    if connection.settings_dict["OPTIONS"].get("transaction_mode") != "IMMEDIATE":
        found.append(
            Error(
                "SQLite's transactions are not IMMEDIATE: one that reads first may fail on its write.",
                hint="DATABASES[…]['OPTIONS']['transaction_mode'] must be 'IMMEDIATE'.",
                id="quickim.E003",
            )
        )
    return found


def _check_postgresql(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name, id_ in (("fsync", "E004"), ("full_page_writes", "E005"), ("synchronous_commit", "E006")):
        # synchronous_commit is durable here with each of on, local, remote_write and remote_apply.
        if _ask(connection, f"SHOW {name}") == "off":
            found.append(
                Error(
                    f"PostgreSQL's {name} is off: a power cut may take acknowledged messages with it.",
                    hint=f"Set {name} = on for the server, the database and the role.",
                    id=f"quickim.{id_}",
                )
            )
    return found


_DURABILITY: dict[str, Callable[[BaseDatabaseWrapper], list[CheckMessage]]] = {
    "sqlite": _check_sqlite,
    "postgresql": _check_postgresql,
}


def _ask(connection: BaseDatabaseWrapper, statement: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone()
    return str(row[0]) if row else ""


@register()
def check_layer(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether the channel layer reaches every worker."""
    backend = settings.CHANNEL_LAYERS["default"]["BACKEND"]
    if settings.QUICKIM.workers > 1 and backend.endswith("InMemoryChannelLayer"):
        return [
            Error(
                "Several workers share an in-memory channel layer, which ends at its process.",
                hint="Set QUICKIM_REDIS_URL, or QUICKIM_WORKERS=1.",
                id="quickim.E008",
            )
        ]
    return []


@register()
def check_pool(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether connections go back to the pool that they came from."""
    return [
        Error(
            f"The database {alias!r} has a pool, but CONN_MAX_AGE would keep its connections out of it.",
            hint="CONN_MAX_AGE must be 0 with OPTIONS['pool'].",
            id="quickim.E009",
        )
        for alias, database in settings.DATABASES.items()
        if database.get("OPTIONS", {}).get("pool") and database.get("CONN_MAX_AGE", 0) != 0
    ]


@register(Tags.security, deploy=True)
def check_generated_secrets(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether the secrets would outlive the data directory, and be the same on the next node."""
    generated = sorted(settings.QUICKIM.generated)
    if not generated or settings.DEBUG:
        return []
    return [
        Warning(
            f"Generated into the data directory: {', '.join(generated)}. A lost directory means other keys.",
            hint="Set them in the environment, from your secret store.",
            id="quickim.W001",
        )
    ]


@register(Tags.security, deploy=True)
def check_inner_allow(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether the inner endpoints are open to the world."""
    configuration = settings.QUICKIM
    if configuration.inner_api_keys or not any(_is_wide_open(network) for network in configuration.inner_allow):
        return []
    return [
        Warning(
            "QUICKIM_INNER_ALLOW admits every address without an API key: anybody may take anyone's token.",
            hint="Name the product's own networks, or set QUICKIM_INNER_API_KEYS.",
            id="quickim.W002",
        )
    ]


@register(Tags.security, deploy=True)
def check_trusted_proxies(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether anybody may say from which address he comes."""
    if not any(_is_wide_open(network) for network in settings.QUICKIM.trusted_proxies):
        return []
    return [
        Warning(
            "QUICKIM_TRUSTED_PROXIES trusts everybody's X-Forwarded-For: anybody can pass for loopback.",
            hint="Name the proxies' own addresses.",
            id="quickim.W003",
        )
    ]


def _is_wide_open(network: Network) -> bool:
    # Also a list that says "everybody" in two halves, 0.0.0.0/1 and 128.0.0.0/1.
    return network.prefixlen <= 1


@register(Tags.security)
def check_secret_files(app_configs: _Apps, **_: Any) -> list[CheckMessage]:
    """Whether other users of this machine could read the generated secrets."""
    paths = [settings.QUICKIM.data_dir / GENERATED_FILES[variable] for variable in sorted(settings.QUICKIM.generated)]
    return [
        Warning(f"Other users can read {path}.", hint=f"chmod 600 {path}", id="quickim.W004")
        for path in paths
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
