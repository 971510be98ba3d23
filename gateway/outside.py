"""Facts committed in a process that is no node: a management command, a product's own Django code with post_message.

Law: telling the nodes is a courtesy that saves their users the wait for a sweep: it fails silently and delays nobody,
except that a process which ends gives its ledger and its last announcements a moment.
"""

import asyncio
import atexit
import threading
from typing import Any

from django.conf import settings

from conversations.announcements import subscribe
from gateway.envelopes import publish_fact
from gateway.layer import Layer
from gateway.node import is_node
from gateway.traces import announced, announcing
from messaging.ledger import ledger
from messaging.message import MessagesCommitted
from quickim.observability import tracing

START_SECONDS = 2.0
END_SECONDS = 3.0


class Outside:
    """A thread with an event loop that only publishes; started by the first fact."""

    def __init__(self) -> None:
        self._starting = threading.Lock()
        self._started = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._layer: Layer | None = None
        self._ending: asyncio.Event | None = None

    def tell(self, fact: Any) -> None:
        """Any thread: something was committed in this process."""
        if is_node():
            return
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=asyncio.run, args=(self._run(),), name="announcer", daemon=True)
                self._thread.start()
                self._started.wait(START_SECONDS)
        if self._loop is not None and self._layer is not None:
            self._loop.call_soon_threadsafe(_publish, self._layer, fact)

    def end(self) -> None:
        """Tell what is still to be told, for a moment."""
        if self._thread is not None and self._loop is not None and self._ending is not None:
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(END_SECONDS)

    async def _run(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        self._layer = Layer(lambda kind, payload: None, lambda: None)
        self._layer.start(listen=False)
        self._started.set()
        await self._ending.wait()
        await self._layer.close()


def _publish(layer: Layer, fact: Any) -> None:
    traced = announcing(fact.committed) if tracing.spans() and isinstance(fact, MessagesCommitted) else ()
    publish_fact(layer, fact)
    announced(traced)


def announce_from_outside() -> None:
    """Called once in every process that sets Django up."""
    outside = Outside()
    if settings.QUICKIM.redis_urls:
        subscribe(outside.tell)
    atexit.register(_end, outside)


def _end(outside: Outside) -> None:
    if not is_node():
        # What it commits now is still told.
        ledger().close(END_SECONDS)
    outside.end()
    tracing.stop()
