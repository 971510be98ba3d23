"""The addresses of PostgreSQL and Redis, read by the libraries that dial them, and what Django gets of them.

Law: nothing connects here. A reason for refusing an address never repeats it: it may hold a password. The
libraries are imported only when there is an address, so the embedded default starts without them.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from quickim.variables import items

CONNECT_TIMEOUT_SECONDS = 3

POSTGRESQL_OPTIONS: dict[str, Any] = {
    "application_name": "quickim",
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    # A peer that vanished without a FIN is noticed after about 20 s idle, or 10 s after something was sent.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""libpq's connection parameters; one in the URL's query string wins."""

POSTGRESQL_SESSION = (
    "-c statement_timeout=10s"
    # A draft waits 3 s at most, so a lock that is not had by then is of no use to it.
    " -c lock_timeout=3s"
    # Row locks of a process that stopped inside a transaction stall its conversations: the server ends it.
    " -c idle_in_transaction_session_timeout=10s"
)
"""Set by the server on each connection; `?options=…` of the URL comes after these, and the last one wins."""

POSTGRESQL_POOL: dict[str, Any] = {
    # What a worker uses all the time: four database threads and the writer.
    "min_size": 5,
    # And at times: one that replaces a hung writer, and four threads of pages for people (quickim.rest.slots).
    "max_size": 10,
    "timeout": CONNECT_TIMEOUT_SECONDS,
    # Attempts to connect come at ever longer intervals: whoever wants a connection then begins a new series, instead of
    # waiting for the next of the old one when the database has long been back.
    "reconnect_timeout": 2,
    # Whoever waits in an outage makes the pool grow; what nobody needs after it goes soon.
    "max_idle": 10,
    "max_lifetime": 1800,
    "name": "quickim",
}
"""Arguments of `psycopg_pool.ConnectionPool`, one pool a process."""

REDIS_OPTIONS: dict[str, Any] = {
    # redis-py 8 gives up on a read after 5 s by default, and a subscription may be silent for longer.
    "socket_timeout": None,
    "socket_connect_timeout": 2,
    "health_check_interval": 15,
}
"""What every connection to Redis is made with; a parameter in the URL's query string wins."""

SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    # In WAL mode, NORMAL may lose the last commits with the power; an acknowledged send must not be lost.
    "PRAGMA synchronous=FULL",
    # 16 MiB: a checkpoint syncs the database file, and four times as many commits share one.
    "PRAGMA wal_autocheckpoint=4000",
    # A long reader lets the WAL grow; it is cut back to this afterwards.
    "PRAGMA journal_size_limit=67108864",
    # Negative: KiB. 8 MiB for each connection, of which every thread that uses the ORM has one.
    "PRAGMA cache_size=-8192",
    "PRAGMA temp_store=MEMORY",
)


def database_url(text: str) -> str | None:
    """An URL that libpq understands and that names a database; None when there is none."""
    if not text:
        return None
    if not text.startswith(("postgres://", "postgresql://")):
        raise ValueError("must begin with postgres:// or postgresql:// (leave it unset for SQLite)")
    parameters = _libpq_parameters(text)
    if not parameters.get("dbname") and not parameters.get("service"):
        raise ValueError("must name a database after the last slash")
    for port in str(parameters.get("port", "")).split(","):
        if port and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) <= 65535):
            raise ValueError("must have ports from 1 to 65535")
    return text


def _libpq_parameters(url: str) -> dict[str, Any]:
    from psycopg import ProgrammingError  # noqa: PLC0415
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        return conninfo_to_dict(url)
    except ProgrammingError as error:
        # libpq's text repeats parts of the URL, maybe of its password; the name of a parameter is safe.
        unknown = re.search(r'invalid URI query parameter: "(\w+)"', str(error))
        detail = f" (libpq knows no parameter {unknown[1]})" if unknown else ""
        raise ValueError(f"must be an URL as libpq reads it, special characters percent-encoded{detail}") from None


def redis_urls(text: str) -> tuple[str, ...]:
    """Comma-separated URLs that redis-py understands; none for the in-memory layer."""
    for url in items(text):
        _refuse_bad_redis_url(url)
    return items(text)


def _refuse_bad_redis_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - it raises ValueError for a port that is none
    except ValueError:
        raise ValueError("must have a port from 0 to 65535 and an IPv6 host in brackets") from None
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must be URLs that begin with redis://, rediss:// or unix://, separated by commas")
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("must name a socket after unix://")
    if parts.scheme != "unix" and not parts.hostname:
        raise ValueError("must name a host")
    # redis-py takes a database that is no number for database 0.
    if parts.scheme != "unix" and not re.fullmatch(r"/?|/[0-9]{1,4}", parts.path):
        raise ValueError("must have a number, if anything, after the last slash")
    from redis.asyncio import ConnectionPool  # noqa: PLC0415

    try:
        # Nothing is dialled: a connection that is made, but not used, only checks its arguments.
        ConnectionPool.from_url(url, **REDIS_OPTIONS).make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, ValueError):
        raise ValueError("must not have query parameters that redis-py refuses") from None


def channel_layers(urls: tuple[str, ...], keys: tuple[str, ...] = ()) -> dict[str, Any]:
    """Django's CHANNEL_LAYERS: Redis' publish/subscribe, sharded over `urls`, or this process' memory.

    With `keys`, the first encrypts what is published, and all of them decrypt.
    """
    if not urls:
        return {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    hosts = [{"address": url, **REDIS_OPTIONS} for url in urls]
    return {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": hosts, "prefix": "quickim", "symmetric_encryption_keys": list(keys)},
        }
    }


def databases(url: str | None, data_dir: Path) -> dict[str, Any]:
    """Django's DATABASES: PostgreSQL at `url`, or SQLite in `data_dir`."""
    return {"default": _postgresql(url) if url else _sqlite(data_dir)}


def sqlite_file(data_dir: Path) -> Path:
    """Where the embedded database lives."""
    return data_dir / "quickim.sqlite3"


def _sqlite(data_dir: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": sqlite_file(data_dir),
        # Opening a file is cheap, but its page cache is not: threads keep their connection.
        "CONN_MAX_AGE": None,
        # A file, not Django's shared memory: WAL and the writer's thread are tested as they will run.
        "TEST": {"NAME": data_dir / "test.sqlite3"},
        "OPTIONS": {
            # A transaction that starts by reading could not become a writing one once another has written.
            "transaction_mode": "IMMEDIATE",
            # Below the three seconds that a draft waits: its sender is told "unavailable", not "unknown".
            "timeout": 2,
            "init_command": "; ".join(SQLITE_PRAGMAS),
        },
    }


def _postgresql(url: str) -> dict[str, Any]:
    parameters = _libpq_parameters(url)
    known = {
        key.upper(): parameters.pop(parameter, "")
        for key, parameter in {
            "name": "dbname",
            "user": "user",
            "password": "password",
            "host": "host",
            "port": "port",
        }.items()
    }
    session = " ".join(filter(None, (POSTGRESQL_SESSION, parameters.pop("options", ""))))
    return {
        "ENGINE": "django.db.backends.postgresql",
        **known,
        # The pool keeps connections: Django must hand each one back at the end of a request.
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": False,
        # Works behind a pooler in transaction mode too; nothing here reads more than a page at a time.
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": {**POSTGRESQL_OPTIONS, **parameters, "options": session, "pool": dict(POSTGRESQL_POOL)},
    }
