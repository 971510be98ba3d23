"""Traces, as the rest of the project sees them: one question, ``spans()``, which is None while tracing is off.

Laws: without an OTLP endpoint in the environment OpenTelemetry is not even imported (only ``tracing_sdk`` does that),
and whoever could record asks once and goes on. What is not sampled is not recorded anywhere: a message without a
``Trace`` costs its stages one comparison.
"""

import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quickim.observability import logs

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from quickim.observability.tracing_sdk import Spans

logger = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
STOP_SECONDS = 2.0
"""How long an ending process tries to export what it has left."""


@dataclass(slots=True, eq=False)
class Trace:
    """A sampled message's place in its trace: the span that what happens next belongs under."""

    context: "SpanContext"
    since: int = field(default_factory=time.time_ns)
    """When this stage began: nanoseconds since the Unix epoch."""
    handed_out: "SpanContext | None" = None
    """The span in which this node's hub handed it out."""
    replays: int = 0
    """How many replays of it were recorded."""


_spans: "Spans | None" = None
_is_settled = False
"""Whether it is decided if this process traces: the environment does not change."""
_starting = threading.Lock()


def spans() -> "Spans | None":
    """What records spans in this process; None: tracing is off."""
    return _spans


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether ``environ`` names a collector, and does not switch the SDK or its exporter off."""
    exporters = environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    return (
        any(environ.get(name, "").strip() for name in ENDPOINTS)
        and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        and "otlp" in exporters.split(",")
    )


def start() -> None:
    """Begin to record, where the environment wants it; in the process that serves, never before a fork. Again: nothing.

    A configuration that OpenTelemetry refuses leaves tracing off, and is said once.
    """
    if not _is_settled:
        with _starting:
            _settle()


def _settle() -> None:
    global _spans, _is_settled
    if _is_settled:
        return
    _is_settled = True
    if not is_wanted(os.environ):
        return
    logs.trace_id = lambda: current_trace_id() or ""
    # Half a second of imports, for those only who asked for them.
    from quickim.observability.tracing_sdk import Spans  # noqa: PLC0415

    try:
        _spans = Spans(os.environ)
    except Exception as error:  # noqa: BLE001  # whatever OpenTelemetry makes of its variables, the server serves
        logger.warning("Tracing stays off (%s): check the OTEL_* variables.", type(error).__name__)


def stop(within_seconds: float = STOP_SECONDS) -> None:
    """Export what is left, for so long at most, and record nothing more. Blocks; not for an event loop."""
    global _spans, _is_settled
    with _starting:
        stopping, _spans, _is_settled = _spans, None, False
    if stopping is not None:
        stopping.close(within_seconds)


def current_trace_id() -> str | None:
    """The trace that is being served on this task or thread, in 32 hexadecimal digits; None outside of one, and when
    tracing is off. For log lines."""
    return None if _spans is None else _spans.current_trace_id()
