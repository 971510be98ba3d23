"""What PostgreSQL must be like: durable, writable, comparing MsgIds byte by byte, and bounded in its waits."""

import re
from collections.abc import Iterator

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.db.backends.base.base import BaseDatabaseWrapper

from conversations.fields import BytewiseField

READ_COMMITTED = 2
"""psycopg's number of it."""

Known = dict[str, str]
"""PostgreSQL's settings as this connection has them; times in milliseconds."""

_DURABILITY = {"fsync": "E004", "full_page_writes": "E005", "synchronous_commit": "E006"}
_TIMEOUTS = {
    "statement_timeout": ("W005", "a statement that hangs keeps its thread"),
    "lock_timeout": ("W006", "whoever waits for a lock may wait for ever"),
    "idle_in_transaction_session_timeout": ("W007", "a process that stops in a transaction keeps its conversations"),
}
_ASKED = (
    *_DURABILITY,
    *_TIMEOUTS,
    "transaction_isolation",
    "transaction_read_only",
    "server_encoding",
    "synchronous_standby_names",
    "max_connections",
    "superuser_reserved_connections",
)


def check_postgresql(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """All of it. Raises the database's errors."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(_ASKED)])
        known: Known = dict(cursor.fetchall())
    options = connection.settings_dict["OPTIONS"]
    return [
        *_durability(known),
        *_semantics(known, options.get("isolation_level")),
        *_collations(connection),
        *_timeouts(known, str(options.get("options", ""))),
        *_connections(known, options.get("pool")),
    ]


def _durability(known: Known) -> Iterator[CheckMessage]:
    for name, id_ in _DURABILITY.items():
        # synchronous_commit is durable here with each of on, local, remote_write and remote_apply.
        if known[name] == "off":
            yield Error(
                f"PostgreSQL's {name} is off: a power cut may take acknowledged messages with it.",
                hint=f"Set {name} = on for the server, the database and the role.",
                id=f"quickim.{id_}",
            )
    if known["synchronous_standby_names"] and known["synchronous_commit"] == "local":
        yield Warning(
            "PostgreSQL's synchronous_commit is local although it has synchronous standbys: a failover may lose"
            " acknowledged messages.",
            hint="Set synchronous_commit = on for the database and the role.",
            id="quickim.W009",
        )


def _semantics(known: Known, asked_isolation: int | None) -> Iterator[CheckMessage]:
    # What Django asks for it says only when a transaction begins.
    if known["transaction_isolation"] != "read committed" or asked_isolation not in (None, READ_COMMITTED):
        yield Error(
            "PostgreSQL's transactions are not READ COMMITTED: an append would not see what was committed while it"
            " waited for its lock.",
            hint="Set default_transaction_isolation = 'read committed' for the database and the role, and no"
            " isolation_level in OPTIONS.",
            id="quickim.E011",
        )
    if known["transaction_read_only"] == "on":
        yield Error(
            "PostgreSQL takes no writes here: every send would fail.",
            hint="Is this a standby? Add target_session_attrs=read-write to QUICKIM_DATABASE_URL, with all hosts.",
            id="quickim.E013",
        )
    if known["server_encoding"] != "UTF8":
        yield Error(
            f"The database's encoding is {known['server_encoding']}: it cannot hold every message.",
            hint="Create it with ENCODING 'UTF8'.",
            id="quickim.E014",
        )


def _collations(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    """Tables that are not there yet have nothing wrong."""
    columns = {
        (model._meta.db_table, field.column)
        for model in apps.get_models()
        for field in model._meta.local_concrete_fields
        if isinstance(field, BytewiseField)
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.relname, a.attname, c.collname FROM pg_attribute a JOIN pg_class t ON t.oid = a.attrelid"
            " JOIN pg_collation c ON c.oid = a.attcollation"
            " WHERE t.relkind IN ('r', 'p') AND pg_table_is_visible(t.oid) AND t.relname = ANY(%s)",
            [sorted(table for table, _ in columns)],
        )
        rows = cursor.fetchall()
    for table, column, collation in sorted(rows):
        if (table, column) in columns and collation not in ("C", "POSIX"):
            yield Error(
                f"{table}.{column} has the collation {collation!r}: MsgIds would not be in the order of their time.",
                hint=f'ALTER TABLE {table} ALTER COLUMN {column} TYPE varchar(19) COLLATE "C";',
                id="quickim.E012",
            )


def _timeouts(known: Known, options: str) -> Iterator[CheckMessage]:
    missing = [name for name in _TIMEOUTS if known[name] == "0"]
    if len(missing) == len(_TIMEOUTS) and all(_is_wanted(name, options) for name in missing):
        yield Warning(
            "PostgreSQL did not get the settings that each connection asks for: a pooler left them out.",
            hint=f"Let the pooler pass `options`, or set them for the role: ALTER ROLE … SET {missing[0]} = '10s';"
            f" SET {missing[1]} = '3s'; SET {missing[2]} = '10s'.",
            id="quickim.W008",
        )
        return
    for name in missing:
        id_, reason = _TIMEOUTS[name]
        yield Warning(
            f"PostgreSQL's {name} is 0: {reason}.",
            hint="Do not set it to 0 in the options of QUICKIM_DATABASE_URL.",
            id=f"quickim.{id_}",
        )


def _is_wanted(name: str, options: str) -> bool:
    """Whether the connection's startup options set a timeout; the last of them counts."""
    values = re.findall(rf"-c\s*{name}=(\S+)", options)
    return bool(values) and re.fullmatch(r"0+(ms|s|min|h|d)?", values[-1]) is None


def _connections(known: Known, pool: object) -> Iterator[CheckMessage]:
    workers = settings.QUICKIM.workers
    most = workers * int(pool.get("max_size", 4)) if isinstance(pool, dict) else 0
    free = int(known["max_connections"]) - int(known["superuser_reserved_connections"])
    if most > free:
        yield Warning(
            f"{workers} workers may open {most} connections, and PostgreSQL has {free} for all its users.",
            hint="Raise max_connections, or lower QUICKIM_WORKERS.",
            id="quickim.W010",
        )
