"""Bundles: statements that go to the database at once, in the order given.

Laws: a bundle is no statement and no transaction of its own; each statement sees what was committed when it begins, and
after one that failed the rest is skipped. On PostgreSQL a bundle is one round trip, and statements are prepared, but
never through a pooler, which may give each transaction another server, nor where their plan is to suit their values.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.db import connection

Statement = tuple[str, Sequence[Any]]
"""SQL with ``%s`` for each parameter. On PostgreSQL a list is a parameter only as the text of an array: the driver's
own dumping of lists costs more than the rest of a send."""
Rows = list[tuple[Any, ...]]


def bundle(statements: Sequence[Statement], *, prepare: bool = True) -> list[Rows]:
    """The rows of each statement. ``prepare``: whether PostgreSQL may keep one plan for all values; not for statements
    that look for what is above a value, of which a plan for any value expects a third of the table."""
    if connection.vendor == "postgresql":
        return _at_once(statements, prepare)
    answers = []
    for query, values in statements:
        with connection.cursor() as cursor:
            cursor.execute(query, values)
            answers.append(cursor.fetchall() if cursor.description else [])
    return answers


def _at_once(statements: Sequence[Statement], prepare: bool) -> list[Rows]:
    connection.ensure_connection()
    raw: psycopg.Connection[Any] = connection.connection
    # Its errors are told apart by Django's classes, also those of the very first statement of a connection.
    with connection.wrap_database_errors:
        prepare = prepare and _is_preparing(raw)

        def execute(*_: Any) -> list[psycopg.Cursor[Any]]:
            # One by itself is one round trip anyway, and a pipeline costs as much as a statement.
            with raw.pipeline() if len(statements) > 1 else nullcontext():
                return [
                    psycopg.Cursor(raw).execute(query.encode(), values, prepare=prepare) for query, values in statements
                ]

        cursors = _watched(execute, statements) if connection.execute_wrappers else execute()
        return [_rows(cursor) for cursor in cursors]


def _rows(cursor: psycopg.Cursor[Any]) -> Rows:
    # Its ``description`` would make an object of each column only to say that there are some.
    return cursor.fetchall() if cursor.pgresult is not None and cursor.pgresult.nfields else []


def _watched(execute: Callable[..., Any], statements: Sequence[Statement]) -> Any:
    """To who watches the statements of the connection (a recorded trace does), a bundle is one."""
    for wrapper in reversed(connection.execute_wrappers):
        execute = partial(wrapper, execute)
    return execute("; ".join(query for query, _ in statements), None, False, {"connection": connection})


_is_direct: WeakKeyDictionary[psycopg.Connection[Any], bool] = WeakKeyDictionary()


def _is_preparing(raw: psycopg.Connection[Any]) -> bool:
    """Whether statements may be prepared on this connection: nothing stands between us and its server."""
    direct = _is_direct.get(raw)
    if direct is None:
        # A pooler tells its clients a number of its own.
        row = psycopg.Cursor(raw).execute(b"SELECT pg_backend_pid()").fetchone()
        direct = _is_direct[raw] = row is not None and row[0] == raw.info.backend_pid
        # Of statements that ask for it; Django's own never do.
        raw.prepare_threshold = 5 if direct else None
    return direct
