"""The way to the collector, on a thread of its own: a collector that is away costs spans, never calm.

Law: at most one line a minute tells that spans are lost; what OpenTelemetry itself would log for every batch and every
dropped span is kept out of the log.
"""

import logging
import threading
import time
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

logger = logging.getLogger(__name__)

COMPLAIN_SECONDS = 60.0
_CHATTY = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal")


class PatientExporter(SpanExporter):
    """``exporter``, with one voice for all that goes wrong."""

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        self._exporter = exporter
        self._complaints = _complaints
        self._has_ended = threading.Event()
        for name in _CHATTY:
            # For good: what is said at the very end comes from threads that are not waited for.
            logging.getLogger(name).addFilter(_complaints)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """On the processor's thread: send ``spans``, or lose them."""
        if self._has_ended.is_set():
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._complaints.end()
        else:
            self._complaints.lost(len(spans))
        return result

    def shutdown(self) -> None:
        """Nothing more is sent; a wait between two attempts ends."""
        if not self._has_ended.is_set():
            self._has_ended.set()
            self._exporter.shutdown()  # type: ignore[no-untyped-call]


class _Complaints(logging.Filter):
    """Stands in for what it filters out."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._said_at = float("-inf")
        self._lost = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith("Queue full"):
            self.lost(1)
        return False

    def lost(self, count: int) -> None:
        """So many spans will not reach the collector."""
        with self._lock:
            self._lost += count
            if time.monotonic() - self._said_at < COMPLAIN_SECONDS:
                return
            self._said_at, lost = time.monotonic(), self._lost
        logger.warning(
            "Traces do not reach the collector (%d spans lost); messages go on."
            " Does it answer at OTEL_EXPORTER_OTLP_ENDPOINT, by OTLP over HTTP?",
            lost,
        )

    def end(self) -> None:
        """They reach it again."""
        with self._lock:
            lost, self._lost = self._lost, 0
        if lost:
            logger.info("Traces reach the collector again; %d spans were lost.", lost)


_complaints = _Complaints()
