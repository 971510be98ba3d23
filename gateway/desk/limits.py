"""How long a page may keep the database busy.

Law: support looks for something on the database that everybody else lives on; what takes too long is stopped there,
not only given up here.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError, connection, transaction

READ_SECONDS = 2.0
_QUERY_CANCELED = "57014"
_SQLITE_STEPS = 20_000
"""Steps of SQLite's machine between two looks at the clock: some milliseconds."""


class TookTooLong(Exception):
    """The database did not get through in the time it had; nothing happened."""


@contextmanager
def time_limit(seconds: float = READ_SECONDS) -> Iterator[None]:
    """Stops reading statements inside after ``seconds``. Raises TookTooLong."""
    try:
        with _limited(seconds):
            yield
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) == _QUERY_CANCELED or "interrupted" in str(error):
            raise TookTooLong from None
        raise


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    if connection.vendor == "postgresql":
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{int(seconds * 1_000)}ms"])
            yield
        return
    connection.ensure_connection()
    raw: Any = connection.connection
    deadline = time.monotonic() + seconds
    raw.set_progress_handler(lambda: time.monotonic() > deadline, _SQLITE_STEPS)
    try:
        yield
    finally:
        raw.set_progress_handler(None, 0)
