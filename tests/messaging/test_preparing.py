"""Statements are prepared on a connection to the server itself, and never through a pooler."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from quickim.bundles import _is_preparing
from tests.databases import Postgres


class Pooled(psycopg.Connection[Any]):
    """A connection whose other end gives a number of its own, as a pooler does."""

    @property
    def info(self) -> Any:
        """See psycopg."""
        return Numbered(self.pgconn)


class Numbered(psycopg.ConnectionInfo):
    """What a pooler's client knows of its connection."""

    @property
    def backend_pid(self) -> int:
        """A number that no process has."""
        return 2**22 + 1


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A PostgreSQL of its own."""
    server = Postgres()
    try:
        yield server.start().url("postgres")
    finally:
        server.stop()


@pytest.mark.parametrize(("kind", "expected"), [(psycopg.Connection, True), (Pooled, False)], ids=["direct", "pooler"])
def test_only_a_server_of_ones_own_prepares(url: str, kind: type[psycopg.Connection[Any]], expected: bool) -> None:
    # As Django makes them.
    with kind.connect(url, prepare_threshold=None, autocommit=True) as raw:
        for _ in range(3):
            assert _is_preparing(raw) is expected
            psycopg.Cursor(raw).execute(b"SELECT 1", prepare=_is_preparing(raw))
        (count,) = raw.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() or (None,)
    assert (count == 1) is expected
    assert (count == 0) is not expected
