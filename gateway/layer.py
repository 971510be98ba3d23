"""The only file that knows the channel layer: one channel for the process, one group, one publish per batch.

Laws: the layer is a fast path and may lose anything; publishing never fails or delays whoever publishes; a node does
not hear itself. The in-memory layer has no other nodes: there nothing is published at all.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer

from quickim.tasks import cancel, spawn

logger = logging.getLogger(__name__)

GROUP = "quickim.nodes"
ENVELOPE = "quickim.envelope"
MAX_QUEUED = 1_000
"""Envelopes waiting to be published; older ones are dropped beyond that, and the sweep of the others finds them."""
PUBLISH_SECONDS = 1.0
RETRY_SECONDS = 0.5


class Layer:
    """See the module. ``on_envelope`` gets what other nodes published; ``on_return`` is called when it came back."""

    def __init__(self, on_envelope: Callable[[dict[str, Any]], None], on_return: Callable[[], None]) -> None:
        self.node_id = uuid.uuid4().hex
        self.is_up = True
        self._on_envelope = on_envelope
        self._on_return = on_return
        self._layer: Any = get_channel_layer()
        self.is_shared = not isinstance(self._layer, InMemoryChannelLayer)
        """Whether other processes can hear us at all."""
        self._queue: deque[dict[str, Any]] = deque(maxlen=MAX_QUEUED)
        self._queued = asyncio.Event()
        self._idle = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to listen and to publish."""
        if self.is_shared:
            self._tasks = [spawn(self._listen(), "layer listener"), spawn(self._publish(), "layer publisher")]

    async def close(self) -> None:
        """Publish what waits, for a moment, then stop."""
        if self._tasks and self._queue and self.is_up:
            try:
                async with asyncio.timeout(PUBLISH_SECONDS):
                    await self._idle.wait()
            except TimeoutError:
                logger.warning("%d announcements were not published; other nodes sweep them up.", len(self._queue))
        await cancel(self._tasks)

    def publish(self, kind: str, payload: Any) -> None:
        """Tell the other nodes; returns at once."""
        if self.is_shared:
            self._queue.append({"type": ENVELOPE, "node": self.node_id, "kind": kind, "payload": payload})
            self._queued.set()
            self._idle.clear()

    async def answers(self) -> bool:
        """Whether the layer takes a message now (asked by /readyz)."""
        if not self.is_shared:
            return True
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._layer.group_send(f"{GROUP}.health", {"type": ENVELOPE})
        except Exception:  # noqa: BLE001  # whatever the driver raises, the answer is no
            return False
        return True

    async def _listen(self) -> None:
        while True:
            try:
                channel = await self._layer.new_channel()
                await self._layer.group_add(GROUP, channel)
                self._seems(up=True)
                while True:
                    envelope = await self._layer.receive(channel)
                    if envelope.get("node") != self.node_id:
                        self._on_envelope(envelope)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001  # drivers raise of all kinds; each means: not now
                self._seems(up=False, why=error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _publish(self) -> None:
        while True:
            await self._queued.wait()
            self._queued.clear()
            while self._queue:
                envelope = self._queue.popleft()
                try:
                    async with asyncio.timeout(PUBLISH_SECONDS):
                        await self._layer.group_send(GROUP, envelope)
                except asyncio.CancelledError:
                    raise
                except Exception as error:  # noqa: BLE001  # as above
                    self._queue.clear()
                    self._seems(up=False, why=error)
                    await self._wait_until_back()
                else:
                    self._seems(up=True)
            self._idle.set()

    async def _wait_until_back(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if await self.answers():
                break
        # What was announced meanwhile, by anybody, is lost on the way: everybody looks into the database.
        self._queue.clear()
        self._seems(up=True)

    def _seems(self, *, up: bool, why: Exception | None = None) -> None:
        if up == self.is_up:
            return
        self.is_up = up
        if up:
            logger.warning("The channel layer is back; the sweep catches up.")
            self._on_return()
        else:
            logger.warning(
                "The channel layer is away (%s): messages go on through the database. Check Redis.",
                type(why).__name__,
            )
