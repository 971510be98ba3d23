"""Where a MsgId lies in a conversation, as a Seq.

Law: one row is read, the first one downward from (conversation, msg_id) in the index of that name, whatever the
statistics say. ``conversation = … ORDER BY msg_id LIMIT …`` would leave PostgreSQL the choice of the primary key's
index, filtered by conversation: it takes that for a conversation with many messages, and when those are old it goes
through all that the others have said since.
"""

from typing import Any, Literal

from django.db.models import BigIntegerField, Func, Value
from django.db.models.functions import Coalesce

from messaging.models import Message


class SeqAt(Func):
    """The highest Seq of ``conversation`` (its number) whose MsgId is below (``<``) or not above (``<=``) ``msg_id``;
    null when there is none."""

    output_field = BigIntegerField()

    def __init__(self, conversation: Any, operator: Literal["<", "<="], msg_id: str) -> None:
        super().__init__(conversation, Value(msg_id))
        self.operator = operator

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        """Row values: with the conversation as a condition of its own, the order would be by msg_id alone again."""
        conversation, msg_id = self.source_expressions
        number, number_parameters = compiler.compile(conversation)
        bound, bound_parameters = compiler.compile(msg_id)
        sql = seq_at_sql(number, self.operator, bound)
        return sql, [*number_parameters, *number_parameters, *bound_parameters]


def seq_at_sql(number: str, operator: Literal["<", "<="], bound: str) -> str:
    """``SeqAt`` as SQL, of the expressions ``number`` (which stands there twice) and ``bound``."""
    return (
        f"(SELECT CASE WHEN p.conversation_id = {number} THEN p.seq END"  # noqa: S608  # column names only
        f" FROM {Message._meta.db_table} p WHERE (p.conversation_id, p.msg_id) {operator} ({number}, {bound})"
        " ORDER BY p.conversation_id DESC, p.msg_id DESC LIMIT 1)"
    )


def seq_at(number: int, operator: Literal["<", "<="], msg_id: str) -> Coalesce:
    """``SeqAt`` of the conversation ``number``, 0 when there is none."""
    return Coalesce(SeqAt(Value(number), operator, msg_id), Value(0))
