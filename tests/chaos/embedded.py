"""The embedded default as a place for faults: one process, SQLite, the layer in memory."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.faults.place import Place
from tests.servers import Server


class EmbeddedSite(Place):
    """See the module. Nobody is kicked here, so that a membership that is there is the only one."""

    def __init__(self, home: Path, settings: Mapping[str, str]) -> None:
        super().__init__([Server(home / "node-0", "embedded", settings, data=home / "data")], doors=True)
        self._file = home / "data" / "quickim.sqlite3"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Another process's transaction holds the database for the block."""
        with closing(sqlite3.connect(self._file, timeout=10, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def messages(self, rooms: Sequence[str]) -> list[tuple[Any, ...]]:
        """See Place."""
        return self._ask(
            "SELECT c.public_id, m.seq, m.msg_id, m.session, m.client_msg_id, m.content, m.send_time"
            " FROM messaging_message m JOIN conversations_conversation c ON c.id = m.conversation_id"
            " ORDER BY c.id, m.seq",
            rooms,
        )

    def memberships(self, rooms: Sequence[str]) -> list[tuple[Any, ...]]:
        """See Place."""
        return self._ask(
            "SELECT c.public_id, m.session, m.joined_seq, NULL FROM conversations_membership m"
            " JOIN conversations_conversation c ON c.id = m.conversation_id WHERE m.state = 1",
            rooms,
        )

    def _ask(self, statement: str, rooms: Sequence[str]) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._file, timeout=10)) as connection:
            rows = connection.execute(statement).fetchall()
        dashed = {room.replace("-", ""): room for room in rooms}
        return [(dashed[row[0]], *row[1:]) for row in rows if row[0] in dashed]
