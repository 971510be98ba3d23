"""Bringing a connection level: what it missed, page by page from the database, merged in MsgId order.

Laws:
- Bounded memory on every protocol. A page is small, the next is read when the reader has taken this one, and what is
  announced meanwhile is kept as a number only (Connection.behind), to be read in its turn.
- No hole without a word: when something was pruned before it was read, the reader is told ``reset`` and starts from
  now, as if he had come with a cursor that is too old.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db import DatabaseError, InterfaceError

from gateway.connection import Connection
from gateway.measures import count_replay
from gateway.missed import Page, Window, read_page
from gateway.traces import replayed
from gateway.wire import TOO_SLOW, reset_notice
from quickim.database import in_database
from quickim.errors import Unavailable
from quickim.observability import tracing

if TYPE_CHECKING:
    from gateway.hub import Hub

logger = logging.getLogger(__name__)

PAGE_MESSAGES = 500
PAGE_CHARACTERS = 2**20
RETRY_SECONDS = 0.25


async def replay(hub: "Hub", connection: Connection) -> None:
    """Push what ``connection`` is behind with, until it is level with its rooms or over."""
    characters = min(PAGE_CHARACTERS, connection.outbox_bytes)
    try:
        while not connection.ended and (windows := hub.windows(connection)):
            connection.replayed_watermark, start = hub.watermark, time.time_ns()
            try:
                page = await in_database(read_page, connection.caller.session, windows, PAGE_MESSAGES, characters)
            except (Unavailable, DatabaseError, InterfaceError) as error:
                logger.warning(
                    "A replay waits for the database (%s): check /readyz and the database server.", type(error).__name__
                )
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if page.is_pruned:
                connection.push(reset_notice())
                connection.behind.clear()
                break
            if not await _push(hub, connection, page, start):
                return
            if page.complete:
                _pass(hub, connection, windows, page)
    finally:
        connection.replay = None
    connection.level()


def _pass(hub: "Hub", connection: Connection, windows: Sequence[Window], page: Page) -> None:
    """``page`` was the last: what the windows hold beyond it is not his to have, now or at all."""
    for window in windows:
        position = connection.behind.get(window.number, window.high)
        if position >= window.high:
            continue
        room, seen = hub.rooms.get(window.number), page.deleted.get(window.number)
        if seen is None or room is None:
            connection.behind[window.number] = window.high
        elif room.state_version <= seen:
            room.withhold(connection, position)
        # Else it was restored since the page was read: the next one has it.


async def _push(hub: "Hub", connection: Connection, page: Page, start: int) -> bool:
    """Push the page as fast as the reader takes it; False when he does not, or is gone."""
    given = size = 0
    try:
        for frame in page.frames:
            if connection.pending > connection.outbox_bytes // 2 and not await connection.drained():
                connection.end(TOO_SLOW)
            if connection.ended:
                return False
            position = connection.behind.get(frame.number)
            if position is not None and frame.seq > position:
                connection.behind[frame.number] = frame.seq
                connection.push(hub.redactions.current(frame))
                given, size = given + 1, size + len(frame.body)
                if tracing.spans() is not None:
                    replayed(connection, frame, start)
    finally:
        count_replay(connection, given, size)
    return not connection.ended
