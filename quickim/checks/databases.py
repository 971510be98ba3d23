"""What the databases say of themselves: asked when a command names databases, with `check --deploy`, and at start.

Killing processes cannot show a missing fsync, so it is asked for. A database that is not migrated yet passes, except
in a deployment: `migrate` runs these checks too.
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError, InterfaceError, NotSupportedError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from quickim.checks.postgresql import check_postgresql
from quickim.checks.sqlite import check_sqlite
from quickim.checks.tags import QUICKIM

_CHECKS: dict[str, Callable[[BaseDatabaseWrapper], list[CheckMessage]]] = {
    "sqlite": check_sqlite,
    "postgresql": check_postgresql,
}


@register(QUICKIM, Tags.database)
def check_databases(*, databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Whether an acknowledged send survives a power cut, and order holds, as far as the databases' settings say."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        check = _CHECKS.get(connections[alias].vendor)
        found += _ask(alias, check) if check else []
    return found


@register(QUICKIM, Tags.database, deploy=True)
def check_deployed_databases(*, databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    """The same when no command named databases, and whether they are migrated."""
    aliases = list(connections)
    found = [] if databases else check_databases(databases=aliases)
    if not any(message.id in ("quickim.E007", "quickim.E010") for message in found):
        for alias in aliases:
            found += _ask(alias, _check_migrated)
    return found


def _ask(alias: str, check: Callable[[BaseDatabaseWrapper], list[CheckMessage]]) -> list[CheckMessage]:
    try:
        return check(connections[alias])
    except NotSupportedError as error:
        return [
            Error(
                f"The database {alias!r} is too old: {_first_line(error)}",
                hint="Upgrade the database server (for SQLite: Python's own library).",
                id="quickim.E010",
            )
        ]
    except (DatabaseError, InterfaceError) as error:
        return [
            Error(
                f"The database {alias!r} cannot be asked: {_first_line(error)}",
                hint="Does it run, and is QUICKIM_DATABASE_URL its address?",
                id="quickim.E007",
            )
        ]


def _check_migrated(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    executor = MigrationExecutor(connection)
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return []
    return [
        Error(
            f"The database {connection.alias!r} is not migrated.",
            hint="Run `python manage.py migrate`.",
            id="quickim.E019",
        )
    ]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
