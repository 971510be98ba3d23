"""An OpenTelemetry collector of the tests' own: receives OTLP over HTTP and keeps every byte and every span.

Law: it knows the protocol and nothing of the server; what it hands out are facts on the wire.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

WAIT_SECONDS = 20.0


@dataclass(frozen=True)
class Span:
    """One span; ids in hexadecimal, times in nanoseconds since the Unix epoch. ``links``: (trace, span) ids."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start: int
    end: int
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    is_error: bool
    service: str
    instance: str

    def covers(self, other: "Span") -> bool:
        """Whether ``other`` lies within."""
        return self.start <= other.start and other.end <= self.end


class Collector:
    """What came in. Thread-safe."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.bodies: list[bytes] = []
        self._spans: list[Span] = []
        self._changed = threading.Condition()

    def take(self, body: bytes) -> None:
        """One request's body."""
        spans = [*_spans(ExportTraceServiceRequest.FromString(body))]
        with self._changed:
            self.bodies.append(body)
            self._spans += spans
            self._changed.notify_all()

    @property
    def spans(self) -> list[Span]:
        """All so far."""
        with self._changed:
            return list(self._spans)

    def trace(self, trace_id: str) -> list[Span]:
        """The spans of one trace so far, by their begin."""
        return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.start)

    def wait_until(self, is_there: Callable[[list[Span]], bool]) -> list[Span]:
        """Blocks until the spans that came in are enough; fails with their names when they are not in time."""
        with self._changed:
            came = self._changed.wait_for(lambda: is_there(self._spans), WAIT_SECONDS)
            assert came, f"only {sorted(span.name for span in self._spans)}"
            return list(self._spans)

    def wait_for(self, trace_id: str, *names: str) -> list[Span]:
        """Blocks until a trace has spans of these names, each as often as it is named; returns the trace."""

        def is_there(spans: list[Span]) -> bool:
            found = [span.name for span in spans if span.trace_id == trace_id]
            return all(found.count(name) >= names.count(name) for name in names)

        self.wait_until(is_there)
        return self.trace(trace_id)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector = Collector(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, name="collector")
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for resource in request.resource_spans:
        of = _attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Span(
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.name,
                    span.kind,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    _attributes(span.attributes),
                    tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    span.status.code == 2,
                    of["service.name"],
                    of["service.instance.id"],
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        assert isinstance(pair, KeyValue)
        kind = pair.value.WhichOneof("value")
        assert kind is not None
        found[pair.key] = getattr(pair.value, kind)
    return found
