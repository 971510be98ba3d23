"""Column types that the models of several apps share."""

from typing import Any

from django.db import models


class BytewiseField(models.CharField):  # type: ignore[type-arg]  # not subscriptable at run time
    """Text that compares byte by byte on every database, as MsgIds must.

    PostgreSQL's usual collations skip hyphens and would break the order of MsgIds; SQLite compares bytes anyway and
    does not know a collation named "C".
    """

    def db_type(self, connection: Any) -> str | None:
        """Spelled out on PostgreSQL, where Django gives a "varchar" key a second index for LIKE that nobody needs."""
        if connection.vendor == "postgresql":
            return f"character varying({self.max_length})"
        return super().db_type(connection)

    def db_parameters(self, connection: Any) -> Any:
        """Adds the collation where the database has one of that name."""
        parameters: dict[str, Any] = dict(super().db_parameters(connection))
        if connection.vendor == "postgresql":
            parameters["collation"] = "C"
        return parameters
