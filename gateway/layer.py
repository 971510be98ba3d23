"""The only file that knows the channel layer: one channel for the process, one group a partition, one publish a batch.

Laws: the layer is a fast path and may lose anything; publishing never fails or delays whoever publishes; a node does
not hear itself, nor another deployment on the same Redis. The in-memory layer has no other nodes: there nothing is
published at all.

A node knows how its layer is by its own pulses: one a second, numbered, to itself. One that cannot be sent, or does
not come back, means away; a number that is missing means that other things got lost with it.
"""

import asyncio
import logging
import time
import uuid
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from channels.layers import InMemoryChannelLayer, get_channel_layer
from django.conf import settings
from django.utils.crypto import salted_hmac

from gateway.traces import publishing
from quickim.observability import metrics
from quickim.tasks import cancel, spawn

logger = logging.getLogger(__name__)

ENVELOPE = "quickim.envelope"
TRACES = "traces"
"""An envelope's additional part: MsgId → traceparent of what it tells. Nodes of older versions do not look for it."""
PROBE = "probe"
KINDS = frozenset({"messages", "change", "redacted", "login"})
"""What metrics tell by its name (see gateway.envelopes and gateway.node)."""
FORMAT = 1
"""Nodes of two versions run side by side during an upgrade: an envelope of another format is left to the sweep."""
MAX_QUEUED = 1_000
"""Envelopes of a partition that wait to be published; beyond that the oldest are left to the sweep of the others."""
PUBLISH_SECONDS = 1.0
SUBSCRIBE_SECONDS = 5.0
RETRY_SECONDS = 0.5
PULSE_SECONDS = 1.0
DEAF_AFTER = 3
"""Pulses sent and not heard: the layer counts as away, and after twice as many its connections are made anew."""
COMPLAIN_SECONDS = 60.0


class Layer:
    """See the module. ``on_envelope(kind, payload)`` gets what other nodes published, and
    their traces as a third argument where some came along; ``on_loss`` is called when
    something was lost on the way: when the layer goes away, and again when it is back."""

    def __init__(self, on_envelope: Callable[..., None], on_loss: Callable[[], None]) -> None:
        self.node_id = uuid.uuid4().hex
        self._on_envelope = on_envelope
        self._on_loss = on_loss
        self._layer: Any = get_channel_layer()
        self.is_shared = not isinstance(self._layer, InMemoryChannelLayer)
        """Whether other processes can hear us at all."""
        # Whoever shares the secret key is of this deployment.
        deployment = salted_hmac("quickim.layer", "", algorithm="sha256").hexdigest()[:12]
        partitions = range(settings.QUICKIM.layer_partitions)
        self._failing: set[Hashable] = set()
        self._publishers = [_Publisher(self, f"{deployment}.nodes.{number}") for number in partitions]
        # As many groups as partitions, so that every shard most likely carries one.
        self._pulses = [_Pulse(f"{deployment}.{self.node_id}.{number}") for number in partitions]
        self._complained_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_up(self) -> bool:
        """Whether what is published arrives, as far as we know."""
        return not self._failing

    def start(self, *, listen: bool = True) -> None:
        """Begin to publish and, unless this process serves nobody, to listen."""
        if self.is_shared:
            self._tasks = [spawn(publisher.run(), "layer publisher") for publisher in self._publishers]
            if listen:
                self._tasks.append(spawn(self._keep_listening(), "layer listener"))

    async def close(self) -> None:
        """Publish what waits, for a moment, then stop."""
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self.published()
        except TimeoutError:
            logger.warning(
                "Some announcements were not published; other nodes sweep them up. Check Redis if this repeats."
            )
        await cancel(self._tasks)
        await self._disconnect()

    async def published(self) -> None:
        """Wait until nothing waits to be published."""
        for publisher in self._publishers if self._tasks else ():
            await publisher.idle.wait()

    def publish(self, kind: str, key: int, payload: Any) -> None:
        """Tell the other nodes, in order for each ``key`` (a conversation's number); returns at once."""
        if self.is_shared:
            self._publishers[key % len(self._publishers)].put(self._envelope(kind, payload))

    def publish_batch(
        self, kind: str, items: Iterable[tuple[int, Any]], traces: Iterable[tuple[int, str, str]] = ()
    ) -> None:
        """Tell (key, item) of many at once: one publish for each partition concerned, of a list; (key, MsgId,
        traceparent) of those that are traced go with them."""
        if self.is_shared:
            by_partition: dict[int, list[Any]] = defaultdict(list)
            for key, item in items:
                by_partition[key % len(self._publishers)].append(item)
            envelopes = {partition: self._envelope(kind, payload) for partition, payload in by_partition.items()}
            for key, msg_id, traceparent in traces:
                envelopes[key % len(self._publishers)].setdefault(TRACES, {})[msg_id] = traceparent
            for partition, envelope in envelopes.items():
                self._publishers[partition].put(envelope)

    async def send(self, group: str, envelope: dict[str, Any]) -> None:
        """One publish. Raises TimeoutError and whatever the driver raises."""
        with publishing(envelope.get(TRACES)):
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._layer.group_send(group, envelope)

    def fails(self, part: Hashable, why: Exception | None = None) -> None:
        """``part`` of the layer does not do its work."""
        was_up = self.is_up
        self._failing.add(part)
        if was_up:
            reason = type(why).__name__ if why else "nothing comes back"
            logger.warning("The channel layer is away (%s): messages go on through the database. Check Redis.", reason)
            # Something was lost already, and from now on sweeps come more often.
            self._on_loss()

    def works(self, part: Hashable) -> None:
        """``part`` of the layer does its work, maybe again."""
        if part in self._failing:
            self._failing.discard(part)
            if not self._failing:
                logger.warning("The channel layer is back; the sweep catches up. Nothing to do.")
                self._on_loss()

    def probe(self) -> dict[str, Any]:
        """An envelope that says nothing."""
        return self._envelope(PROBE, None)

    def _envelope(self, kind: str, payload: Any) -> dict[str, Any]:
        return {"type": ENVELOPE, "format": FORMAT, "node": self.node_id, "kind": kind, "payload": payload}

    async def _keep_listening(self) -> None:
        while True:
            receiving: asyncio.Task[None] | None = None
            try:
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    channel = await self._layer.new_channel()
                receiving = spawn(self._receive(channel), "layer receiving")
                await self._beat(channel)
            except Exception as error:  # noqa: BLE001  # drivers raise of all kinds; each means: not now
                self.fails("subscription", error)
            finally:
                # Before the receiving is cancelled: what is not subscribed any more needs no unsubscribing.
                await self._disconnect()
                await cancel([receiving] if receiving else [])
            await asyncio.sleep(RETRY_SECONDS)

    async def _beat(self, channel: str) -> None:
        """Keep ``channel`` in all groups and send pulses, until we are deaf."""
        for pulse in self._pulses:
            pulse.unheard = 0
        while await self._subscribe(channel) and all(pulse.unheard <= 2 * DEAF_AFTER for pulse in self._pulses):
            await asyncio.gather(*map(self._send_pulse, self._pulses))
            await asyncio.sleep(PULSE_SECONDS)

    async def _subscribe(self, channel: str) -> bool:
        """Join all groups; those of a shard that is away are joined when it is back. False: none at all."""
        groups = [publisher.group for publisher in self._publishers] + [pulse.group for pulse in self._pulses]
        errors = []
        for group in groups:
            try:
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    await self._layer.group_add(group, channel)
            except Exception as error:  # noqa: BLE001  # as above
                errors.append(error)
        if errors:
            self.fails("subscription", errors[0])
        else:
            self.works("subscription")
        return len(errors) < len(groups)

    async def _send_pulse(self, pulse: "_Pulse") -> None:
        pulse.number += 1
        try:
            await self.send(pulse.group, self._envelope("pulse", [self._pulses.index(pulse), pulse.number]))
        except Exception as error:  # noqa: BLE001  # as above
            pulse.unheard = 0
            self.fails(pulse, error)
            return
        pulse.unheard += 1
        if pulse.unheard > DEAF_AFTER:
            self.fails(pulse)

    async def _receive(self, channel: str) -> None:
        while True:
            try:
                envelope = await self._layer.receive(channel)
                self._take(envelope)
            except Exception as error:  # noqa: BLE001  # whatever was sent, the next envelope is received
                if time.monotonic() - self._complained_at > COMPLAIN_SECONDS:
                    self._complained_at = time.monotonic()
                    logger.warning(
                        "An announcement could not be read (%s); the sweep finds what it told."
                        " Do all nodes have the same QUICKIM_LAYER_KEYS and version?",
                        type(error).__name__,
                    )

    def _take(self, envelope: dict[str, Any]) -> None:
        if envelope.get("format") != FORMAT:
            return
        is_own = envelope["node"] == self.node_id
        if is_own and envelope["kind"] == "pulse":
            index, number = envelope["payload"]
            pulse = self._pulses[index]
            if number != pulse.heard + 1:
                self._on_loss()
            pulse.heard = number
            pulse.unheard = 0
            self.works(pulse)
        elif not is_own and envelope["kind"] != PROBE:
            _count("received", envelope)
            more = (envelope[TRACES],) if TRACES in envelope else ()
            self._on_envelope(envelope["kind"], envelope["payload"], *more)

    async def _disconnect(self) -> None:
        """Forget all subscriptions and connections of this process."""
        if not self.is_shared:
            return
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await self._layer.flush()
        except Exception as error:  # noqa: BLE001  # as above
            logger.info("The layer's connections did not close in time (%s).", type(error).__name__)


class _Pulse:
    """Numbered signs of life to this node itself, in a group of their own; ``heard``: the last that came back."""

    __slots__ = ("group", "heard", "number", "unheard")

    def __init__(self, group: str) -> None:
        self.group = group
        self.number = 0
        self.heard = 0
        self.unheard = 0


class _Publisher:
    """Publishes what concerns one partition, in order; while that fails, everything is left to the sweep."""

    def __init__(self, layer: Layer, group: str) -> None:
        self.group = group
        self.idle = asyncio.Event()
        self.idle.set()
        self._layer = layer
        self._queue: deque[dict[str, Any]] = deque(maxlen=MAX_QUEUED)
        self._queued = asyncio.Event()

    def put(self, envelope: dict[str, Any]) -> None:
        """Put ``envelope`` in line."""
        if len(self._queue) == MAX_QUEUED:
            _count("lost", self._queue[0])
        self._queue.append(envelope)
        self._queued.set()
        self.idle.clear()

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            await self._queued.wait()
            self._queued.clear()
            while self._queue:
                await self._send(self._queue.popleft())
            self.idle.set()

    async def _send(self, envelope: dict[str, Any]) -> None:
        while True:
            try:
                await self._layer.send(self.group, envelope)
            except Exception as error:  # noqa: BLE001  # drivers raise of all kinds; each means: not now
                self._layer.fails(self, error)
            else:
                self._layer.works(self)
                _count("published", envelope)
                return
            await asyncio.sleep(RETRY_SECONDS)
            # What was announced meanwhile, by anybody, is lost on the way: everybody looks into the database.
            for lost in (envelope, *self._queue):
                _count("lost", lost)
            self._queue.clear()
            envelope = self._layer.probe()


def _count(direction: str, envelope: dict[str, Any]) -> None:
    kind = envelope.get("kind", PROBE)
    if kind != PROBE:
        metrics.ANNOUNCEMENTS.inc(1, direction, kind if kind in KINDS else "other")


def key_of(text: str) -> int:
    """A key to publish under for what is no conversation's: a session's."""
    return zlib.crc32(text.encode())
