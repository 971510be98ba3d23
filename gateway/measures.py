"""What the gateway's work is counted as, and where the gauges of a node are read.

Law: on the way of a message to its readers there is one count for each node it is handed out on, not one for each
reader; what can be read when somebody asks is not counted at all.
"""

import resource
import time
from collections import Counter
from typing import TYPE_CHECKING

from django.db import connections

from gateway.connection import Connection
from gateway.wire import Frame
from messaging.ledger import ledger
from quickim import database
from quickim.observability import metrics
from quickim.observability.metrics_series import OTHER, Labels

if TYPE_CHECKING:
    from gateway.node import Node

PLATFORMS = 10
"""Platforms from 0 up that are told by their number; all others are told together."""


def count_delivery(by_protocol: dict[str, int], frame: Frame) -> None:
    """A live message was just handed to that many connections of each protocol."""
    size = len(frame.body)
    readers = 0
    for protocol, count in by_protocol.items():
        if count:
            readers += count
            metrics.DELIVERIES.inc(count, protocol)
            metrics.DELIVERED_BYTES.inc(count * size, protocol)
    if readers:
        # Clocks differ by a little: nothing is delivered before it was stored.
        metrics.DELIVERY_SECONDS.observe(max(0.0, time.time() - frame.at / 1_000_000))


def count_replay(connection: Connection, messages: int, size: int) -> None:
    """So many messages of ``size`` bytes together were replayed to ``connection``."""
    if messages:
        metrics.REPLAYED.inc(messages)
        metrics.DELIVERIES.inc(messages, connection.protocol)
        metrics.DELIVERED_BYTES.inc(size, connection.protocol)


def watch(node: "Node") -> None:
    """From now on the gauges tell of ``node``."""
    metrics.QUEUE_DEPTH.read_from(lambda: {(): ledger().depth})
    metrics.LAYER_UP.read_from(lambda: {(): float(node.layer.is_up)})
    metrics.CONNECTIONS.read_from(lambda: _connections(node.hub.connections()))
    metrics.OUTBOX_BYTES.read_from(lambda: _outboxes(node.hub.connections()))
    metrics.MAX_FILES.read_from(lambda: {(): max(0, resource.getrlimit(resource.RLIMIT_NOFILE)[0])})
    metrics.POOL_CONNECTIONS.read_from(_pool_connections)
    metrics.POOL_WAITING.read_from(lambda: {(): _pool()["requests_waiting"]})
    metrics.POOL_MAX.read_from(lambda: {(): _pool()["pool_max"]})


def _connections(all_here: list[Connection]) -> dict[Labels, float]:
    counts = Counter(
        (connection.protocol, connection.caller.platform) for connection in all_here if not connection.is_kept
    )
    series: dict[Labels, float] = {(protocol, "0"): 0 for protocol in metrics.PROTOCOLS}
    for (protocol, platform), count in counts.items():
        labels = (protocol, str(platform) if platform < PLATFORMS else OTHER)
        series[labels] = series.get(labels, 0) + count
    return series


def _outboxes(all_here: list[Connection]) -> dict[Labels, float]:
    waiting: dict[Labels, float] = {(protocol,): 0 for protocol in metrics.PROTOCOLS}
    for connection in all_here:
        if pending := connection.pending:
            waiting[connection.protocol,] += pending
    return waiting


def _pool_connections() -> dict[Labels, float]:
    pool = _pool()
    return {
        ("in_use",): pool["pool_size"] - pool["pool_available"],
        ("idle",): pool["pool_available"],
    }


def _pool() -> dict[str, int]:
    """psycopg's statistics of the pool; on SQLite those of the database threads, in the same words."""
    default = connections["default"]
    if default.vendor == "postgresql":
        statistics: dict[str, int] = default.pool.get_stats()  # type: ignore[attr-defined]
        return {"requests_waiting": 0, **statistics}
    busy, waiting = database.workload()
    return {
        "pool_size": database.THREADS,
        "pool_available": database.THREADS - busy,
        "pool_max": database.THREADS,
        "requests_waiting": waiting,
    }
