"""The one transaction that stores messages. Its laws make commit order = Seq order = MsgId order in a conversation.

1. The conversation's row is locked in a statement of its own; membership, state and repeats are read after it.
2. Seq and tick are given under that lock, which is held to the commit. The tick is the database's clock read after
   the lock, and above the conversation's last.
3. A conversation that another transaction holds is skipped (``Again``): nobody else waits for it.
4. A refused draft is an outcome, never an exception: it does not hurt its neighbours.
5. The commit comes within ``MAX_WRITE_SECONDS`` of the clock reading, or the transaction is given up.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from django.db import connection

from conversations.access import CONVERSATION_ID
from messaging import msgid
from messaging.append_postgres import PostgresStatements
from messaging.append_sql import Head, Key, Statements, delete_drafts, waiting_drafts
from messaging.append_sqlite import SqliteStatements
from messaging.message import Again, Committed, NewMessage, Outcome, Receipt, StoredMessage
from quickim import database
from quickim.database import in_time, write_transaction
from quickim.errors import (
    ClientMsgIdReused,
    ConversationArchived,
    ConversationNotFound,
    NotMember,
)


class CommitUnclear(Exception):
    """The connection failed while the commit was under way: stored or not, nobody knows yet."""


def append_batch(drafts: Sequence[NewMessage], nudge: int = 0) -> list[Outcome]:
    """Append ``drafts`` in one transaction; an outcome for each, in order.

    ``nudge`` raises every tick by that much: a batch that clashed on a MsgId is repeated with a higher one.
    Raises the database's errors (nothing is stored then) and CommitUnclear.
    """
    sql = statements()
    committing = False
    try:
        with write_transaction():
            outcomes = _append(sql, drafts, nudge)
            committing = True
    except Exception as error:
        if committing and sql.commit_may_have_happened(error):
            raise CommitUnclear from error
        raise
    return outcomes


def statements() -> Statements:
    """The statements for the database in use."""
    return _STATEMENTS[connection.vendor]


def _append(sql: Statements, drafts: Sequence[NewMessage], nudge: int) -> list[Outcome]:
    with in_time():
        ground = sql.read([draft for draft in drafts if CONVERSATION_ID.fullmatch(draft.conversation_id)])
        now = database.database_clock(ground.clock)
        plan = _Plan(
            members=ground.members,
            known=ground.known,
            waiting_drafts=waiting_drafts({draft.draft_id for draft in drafts if draft.draft_id}),
            floor=ground.floor,
        )
        heads = ground.heads
        outcomes = [plan.decide(draft, heads.get(draft.conversation_id), now, nudge) for draft in drafts]
        if plan.rows:
            sql.store(plan.rows, list(plan.touched.values()))
        delete_drafts(
            [
                draft.draft_id
                for draft, outcome in zip(drafts, outcomes, strict=True)
                if draft.draft_id and isinstance(outcome, Committed | Receipt)
            ]
        )
    return outcomes


@dataclass(slots=True)
class _Plan:
    """What a batch will store, decided draft by draft."""

    members: Collection[tuple[int, str]]
    known: dict[Key, StoredMessage]
    waiting_drafts: set[int]
    """Draft rows that are still there; one that is gone was appended by somebody else."""
    new: dict[Key, StoredMessage] = field(default_factory=dict)
    taken: set[tuple[int, int]] = field(default_factory=set)
    rows: list[tuple[StoredMessage, str]] = field(default_factory=list)
    touched: dict[int, Head] = field(default_factory=dict)
    floor: int | None = None
    """The highest tick given so far where one counter serves all conversations."""

    def decide(self, draft: NewMessage, head: Head | None, now: int, nudge: int) -> Outcome:
        """The outcome of ``draft`` under its conversation's ``head``; what is to be stored joins ``rows``."""
        if head is None or head.is_deleted:
            return ConversationNotFound()
        if not head.locked:
            return Again()
        if draft.draft_id and draft.draft_id not in self.waiting_drafts:
            return Receipt("", 0, repeated=True)
        self.waiting_drafts.discard(draft.draft_id)
        key = (head.number, draft.session, draft.client_msg_id)
        if draft.client_msg_id and (first := self.known.get(key) or self.new.get(key)) is not None:
            is_other = (first.content, first.type, first.status) != (draft.content, draft.type, draft.status)
            # What a redacted one said cannot be compared any more: its sender is told that it was sent.
            if is_other and not first.is_redacted:
                return ClientMsgIdReused()
            return Receipt(first.msg_id, first.send_time, repeated=True)
        if draft.session and (head.number, draft.session) not in self.members:
            return NotMember()
        if head.is_archived and draft.session:
            return ConversationArchived()
        message = self._place(draft, head, now, nudge)
        if draft.client_msg_id:
            self.new[key] = message
        return Committed(message, head.member_version)

    def _place(self, draft: NewMessage, head: Head, now: int, nudge: int) -> StoredMessage:
        tick = max(msgid.tick_at(now), head.last_tick + 1) + nudge
        if self.floor is not None:
            tick = self.floor = max(tick, self.floor + 1)
        low = msgid.low_bits(head.type, head.number)
        while (tick, low) in self.taken:
            tick += 1
        self.taken.add((tick, low))
        head.last_tick = tick
        head.last_seq += 1
        head.last_msg_id = msgid.encode(tick, low)
        head.last_send_time = max(now, head.last_send_time)
        head.last_send_session = draft.session
        message = StoredMessage(
            number=head.number,
            conversation_id=draft.conversation_id,
            msg_id=head.last_msg_id,
            seq=head.last_seq,
            session=draft.session,
            send_time=head.last_send_time,
            status=draft.status,
            type=draft.type,
            content=draft.content,
        )
        self.rows.append((message, draft.client_msg_id))
        self.touched[head.number] = head
        return message


_STATEMENTS: dict[str, Statements] = {"sqlite": SqliteStatements(), "postgresql": PostgresStatements()}
