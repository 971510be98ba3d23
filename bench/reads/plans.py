"""What PostgreSQL says of each question's statements: EXPLAIN with its values, and the plan without them; and how often
each index has served.

Law: the statements are those that Django sent, taken on their way.
"""

from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import connection, transaction

if TYPE_CHECKING:
    from bench.reads.questions import Question

Statement = tuple[str, Any]

_INDEX_USE = (
    "SELECT relname, indexrelname, idx_scan, pg_size_pretty(pg_relation_size(indexrelid))"
    " FROM pg_stat_user_indexes WHERE relname LIKE 'messaging%' OR relname LIKE 'conversations%' ORDER BY 1, 2"
)


class _Taken:
    """Django's wrapper around the execution of a statement: keeps it and lets it pass."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []

    def __call__(self, execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: Any) -> Any:
        self.statements.append((sql, parameters))
        return execute(sql, parameters, many, context)


def explain(questions: Iterable["Question"]) -> str:
    """A chapter of Markdown for each question."""
    parts = ["# Plans"]
    for question in questions:
        ask, taken = question.draw(Random(1)), _Taken()
        with transaction.atomic(), connection.execute_wrapper(taken):
            ask()
            transaction.set_rollback(True)
        parts.append(f"## {question.label}")
        for sql, parameters in taken.statements:
            if sql.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
                continue
            parts.append(f"```sql\n{sql}\n```")
            parts.append(f"```text\n{_plan(sql, parameters)}\n```")
            generic = _plan_without_values(sql, parameters)
            parts.append(f"Generic plan:\n\n```text\n{generic}\n```")
    parts += ["## Use of the indexes", "```text", *_index_use(), "```"]
    return "\n\n".join(parts) + "\n"


def _plan(sql: str, parameters: Any) -> str:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {sql}", parameters)
        plan = "\n".join(row[0] for row in cursor.fetchall())
        transaction.set_rollback(True)
    return plan


def _plan_without_values(sql: str, parameters: Any) -> str:
    """The plan of a prepared statement that is used for all values."""
    connection.ensure_connection()
    with transaction.atomic():
        raw = connection.connection
        with psycopg.Cursor(raw) as cursor:
            cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {sql}".encode(), parameters or None)
            plan = "\n".join(row[0] for row in cursor.fetchall())
        transaction.set_rollback(True)
    return plan


def _index_use() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_INDEX_USE)
        return [f"{table:<28} {index:<48} {scans:>12,} {size:>10}" for table, index, scans, size in cursor.fetchall()]
