"""Loading a stock into a migrated database by COPY.

Law: indexes and constraints of the message table are taken away for the load and made again from PostgreSQL's own
definitions of them; that they are the same afterwards is checked.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import psycopg
from django.db.models import Model
from psycopg import sql

from bench.alarm import BenchmarkError
from bench.reads.stock import COLUMNS, TYPE, Stock
from conversations.models import Conversation, Membership
from messaging.models import Message

_MESSAGES = Message._meta.db_table
_CONSTRAINTS = (
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE conrelid = %s::regclass AND contype IN ('p', 'u', 'f') ORDER BY contype DESC, conname"
)
_INDEXES = (
    "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s"
    " AND indexname NOT IN (SELECT conname FROM pg_constraint) ORDER BY indexname"
)
_FOR_THE_LOAD = {"max_wal_size": "64GB", "checkpoint_timeout": "1h", "autovacuum": "off"}

Connection = psycopg.Connection[tuple[str, str]]


def load(url: str, stock: Stock) -> float:
    """Fills the empty tables at ``url``; the seconds that it took, indexes and VACUUM ANALYZE included."""
    began = time.monotonic()
    with psycopg.connect(url, autocommit=True) as connection, _in_a_hurry(connection):
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '1GB'")
        with _without_indexes(connection):
            _copy_messages(connection, stock)
            _copy_conversations(connection, stock)
        connection.execute("VACUUM (ANALYZE)")
    return time.monotonic() - began


@contextmanager
def _in_a_hurry(connection: Connection) -> Iterator[None]:
    """No checkpoint and no autovacuum in between; one checkpoint at the end, so that none meets the measurements."""
    for name, value in _FOR_THE_LOAD.items():
        connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value)))
    connection.execute("SELECT pg_reload_conf()")
    yield
    for name in _FOR_THE_LOAD:
        connection.execute(sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(name)))
    connection.execute("SELECT pg_reload_conf()")
    connection.execute("CHECKPOINT")


@contextmanager
def _without_indexes(connection: Connection) -> Iterator[None]:
    before = _definitions(connection)
    constraints, indexes = before
    table = sql.Identifier(_MESSAGES)
    for name, _ in reversed(constraints):
        connection.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(table, sql.Identifier(name)))
    for name, _ in indexes:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    yield
    for name, definition in constraints:
        # The definitions are PostgreSQL's own.
        added = f"ALTER TABLE {_MESSAGES} ADD CONSTRAINT {name} {definition}"
        connection.execute(added.encode())
    for _, definition in indexes:
        connection.execute(definition.encode())
    if _definitions(connection) != before:
        raise BenchmarkError("the message table did not get back the indexes that the migrations made")


def _definitions(connection: Connection) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    return (
        connection.execute(_CONSTRAINTS, [_MESSAGES]).fetchall(),
        connection.execute(_INDEXES, [_MESSAGES]).fetchall(),
    )


def _copy_messages(connection: Connection, stock: Stock) -> None:
    others = {column: value for column, value in _defaults(Message).items() if column not in COLUMNS}
    # The lines are made elsewhere: what they do not hold is the table's default for the time of the load.
    for column, value in others.items():
        names = sql.Identifier(_MESSAGES), sql.Identifier(column)
        connection.execute(sql.SQL("ALTER TABLE {} ALTER {} SET DEFAULT {}").format(*names, sql.Literal(value)))
    with connection.cursor().copy(f"COPY {_MESSAGES} ({', '.join(COLUMNS)}) FROM STDIN".encode()) as copy:
        for lines in stock.rows():
            copy.write(lines)
    for column in others:
        names = sql.Identifier(_MESSAGES), sql.Identifier(column)
        connection.execute(sql.SQL("ALTER TABLE {} ALTER {} DROP DEFAULT").format(*names))


def _copy_conversations(connection: Connection, stock: Stock) -> None:
    conversations = _Rows(connection, Conversation)
    with conversations.copy() as write:
        for place, public_id in enumerate(stock.conversation_ids):
            write(
                id=place + 1,
                public_id=public_id,
                type=TYPE,
                created_at=stock.begin,
                member_version=1,
                member_count=len(stock.members[place]),
                last_seq=stock.last_seq[place],
                last_msg_id=stock.last_msg_id[place],
                last_send_time=stock.last_send_time[place],
                last_send_session=stock.last_send_session[place],
            )
    times = {"joined_at": stock.begin, "changed_at": stock.begin}
    with _Rows(connection, Membership).copy() as write:
        numbers = count(1)
        for place, members in enumerate(stock.members):
            for session in members:
                write(id=next(numbers), conversation_id=place + 1, session=session, version=1, **times)
    for model in (Conversation, Membership):
        table = model._meta.db_table
        moved = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))"  # noqa: S608
        connection.execute(moved.encode())


def _defaults(model: type[Model]) -> dict[str, Any]:
    """Column to the default that the model gives it."""
    return {field.attname: field.get_default() for field in model._meta.concrete_fields}


class _Rows:
    """COPY into a model's table; what is not given is the model's default."""

    def __init__(self, connection: Connection, model: type[Model]) -> None:
        self._connection = connection
        self._table = model._meta.db_table
        self._defaults = _defaults(model)

    @contextmanager
    def copy(self) -> Iterator[Callable[..., None]]:
        """Gives what writes one row."""
        names = sql.SQL(", ").join(map(sql.Identifier, self._defaults))
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(self._table), names)
        with self._connection.cursor().copy(statement) as copy:
            yield lambda **row: copy.write_row(tuple((self._defaults | row).values()))
