"""PostgreSQL and Valkey behind the server, the ones that the tests run on.

Law: fresh ones for each benchmark, as they come: nothing of them is tuned but what is said here. They end with the
block.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from bench.meter import parent
from bench.server import affinity
from tests.databases import Postgres, Valkey


@dataclass(frozen=True)
class Backing:
    """``settings``: the environment variables that lead to them; ``pids``: their first processes, by name."""

    settings: Mapping[str, str]
    pids: Mapping[str, int]


@contextmanager
def postgresql(cores: Collection[int]) -> Iterator[tuple[Postgres, int]]:
    """PostgreSQL on ``cores``, and the id of its first process."""
    with affinity(cores):
        server = Postgres().start()
    try:
        with psycopg.connect(server.url("postgres")) as connection:
            yield server, parent(connection.info.backend_pid)
    finally:
        server.stop()


@contextmanager
def postgresql_and_valkey(cores: Collection[int]) -> Iterator[Backing]:
    """Both, with an empty database."""
    with postgresql(cores) as (server, pid):
        valkey = Valkey()
        with affinity(cores):
            valkey.start()
        try:
            settings = {"QUICKIM_DATABASE_URL": server.new_database(), "QUICKIM_REDIS_URL": valkey.url}
            yield Backing(settings, {"PostgreSQL": pid, "Valkey": valkey.pid})
        finally:
            valkey.stop()
