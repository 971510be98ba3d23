"""``manage.py migrate``, without the limit that statements have otherwise: an index on a large table takes its time.

Locks are waited for no longer than by anybody else, so a migration never stalls those who serve meanwhile for long.
"""

from typing import Any

from django.core.management.commands.migrate import Command as Migrate
from django.db import connections


class Command(Migrate):
    """See the module."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate."""
        database = connections[options["database"]]
        if database.vendor == "postgresql":
            with database.cursor() as cursor:
                cursor.execute("SET statement_timeout = 0")
        super().handle(*args, **options)
