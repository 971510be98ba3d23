"""OpenTelemetry, behind ``tracing``: sampling, spans, the export in the background. Imported only when tracing is on.

Laws:
- Whether a trace is recorded is decided once, at its root; everything below it goes along, on every node. What is not
  sampled gets no span.
- Nothing here waits for the collector: spans go to a bounded queue that a thread of this process empties; what does
  not fit is dropped, and said once a minute at most.
- No token, content or clear session becomes an attribute; failures tell their type, never their text.
- Of what a caller sends, a traceparent of a sane length is read, and nothing else.
"""

import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from django.conf import settings
from django.urls import Resolver404, resolve
from django.utils.crypto import salted_hmac
from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from quickim.observability.tracing_environment import ratio_bound, resource
from quickim.observability.tracing_export import PatientExporter
from quickim.rest.rates import Bucket

UNTRACED_PATHS = frozenset({"/notify", "/healthz", "/readyz", "/metrics"})
"""Connections that last, and what asks every few seconds."""
MAX_TRACEPARENT_CHARACTERS = 512

Attributes = Mapping[str, str | int | bool]
Event = MutableMapping[str, Any]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Any, Any, Send], Awaitable[None]]


class _Rate(NamedTuple):
    per_second: float
    burst: int


ASKED_RATE = _Rate(200.0, 400)
"""How many traces a second callers may have recorded by their traceparent, in each process: anybody may send one."""

_NOWHERE = Context()
_SCOPE = InstrumentationScope("quickim")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)
_propagator = TraceContextTextMapPropagator()


class Spans:
    """See the module. One per process; thread-safe. Times are nanoseconds since the Unix epoch."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        # Its own provider, never the global one: a product in this process may have set that up for itself.
        self._provider = TracerProvider(resource=resource(environ), shutdown_on_exit=False)
        self._sampler = self._provider.sampler
        self._ratio_bound = ratio_bound(environ)
        self._exporter = PatientExporter(OTLPSpanExporter())
        self._processor = BatchSpanProcessor(self._exporter)
        self._provider.add_span_processor(self._processor)
        self._asked = Bucket(ASKED_RATE, time.monotonic())

    def close(self, within_seconds: float) -> None:
        """Export what is left, for so long at most."""
        closing = threading.Thread(target=self._provider.shutdown, name="tracing end", daemon=True)
        closing.start()
        closing.join(within_seconds)
        self._exporter.shutdown()

    # Where we are

    def current(self) -> SpanContext | None:
        """The recorded span that this task or thread is in, ours or a product's own."""
        if not contexts.get_current():
            # Nearly always: twice as fast as asking for the span of no context.
            return None
        context = get_current_span().get_span_context()
        return context if context.is_valid and context.trace_flags.sampled else None

    def current_trace_id(self) -> str | None:
        """See ``tracing``; also of a trace that its caller did not want recorded."""
        context = get_current_span().get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else None

    def traceparent(self, unused: str = "") -> str:
        """What an answer tells its caller: the span that it was served in, or that of a caller who did not want one
        recorded; else one that stands nowhere, of the 32 random hexadecimal digits ``unused``, if there are any."""
        if contexts.get_current() and (context := get_current_span().get_span_context()).is_valid:
            return traceparent_of(context)
        unused = unused or f"{random.getrandbits(128):032x}"
        return f"00-{unused}-{unused[:16]}-00"

    def note(self, name: str, value: str | int) -> None:
        """An attribute for the span that this task is in, if it is recorded."""
        get_current_span().set_attribute(name, value)

    # Spans

    def below(self, parent: SpanContext | None) -> SpanContext:
        """A place for a span below ``parent``, or for the root of a trace of its own: what happens under it may know it
        before it is over."""
        ids = self._provider.id_generator
        trace_id = ids.generate_trace_id() if parent is None else parent.trace_id
        return SpanContext(trace_id, ids.generate_span_id(), is_remote=False, trace_flags=_SAMPLED)

    def emit(
        self,
        name: str,
        parent: SpanContext | None,
        times: tuple[int, int],
        attributes: Attributes,
        kind: str = "INTERNAL",
        *,
        at: SpanContext | None = None,
        links: Iterable[SpanContext] = (),
        error: str = "",
    ) -> SpanContext:
        """A span that is over: from, to. A clock that was set back makes it short, never negative.

        ``at``: its place, where ``below`` has given it one. Returns that.
        """
        context = at or self.below(parent)
        # Without the tracer, which takes twenty times as long for what is needed of a span that is over.
        self._processor.on_end(
            ReadableSpan(
                name,
                context,
                parent,
                self._provider.resource,
                attributes,
                links=[Link(other) for other in links],
                kind=SpanKind[kind],
                status=Status(StatusCode.ERROR, error) if error else _UNSET,
                start_time=times[0],
                end_time=max(times),
                instrumentation_scope=_SCOPE,
            )
        )
        return context

    def takes_root(self) -> bool:
        """Whether something that belongs to no trace yet is to be recorded."""
        if self._ratio_bound is not None:
            # What the sampler would do with a trace id that nobody has yet, twenty times as fast.
            return random.getrandbits(64) < self._ratio_bound
        return self._samples(_NOWHERE, "root")

    # Requests

    def follows(self, scope: Any) -> bool:
        """Whether an HTTP request is one for ``http``: most are none, and go their way as if nothing was asked."""
        return b"traceparent" in dict(scope["headers"]) or self.takes_root()

    async def http(self, application: Application, scope: Any, receive: Any, send: Send) -> None:
        """Serve one HTTP request that is followed with ``application``, in a span if its trace is recorded."""
        if scope["path"] in UNTRACED_PATHS or scope["path"].startswith(settings.STATIC_URL):
            await application(scope, receive, send)
            return
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"]
        span = self._root(scope["method"], given[-1]) if given else _CallSpan(self, scope["method"], None)

        async def send_and_look(event: Event) -> None:
            if event["type"] == "http.response.start":
                _note_response(span, event)
            await send(event)

        with _inside(span):
            try:
                await application(scope, receive, send_and_look if span.is_recording() else send)
            finally:
                if span.is_recording():
                    _note_request(span, scope)

    async def call(self, work: Callable[[], Awaitable[None]], method: str, traceparent: object) -> None:
        """Do ``work``, a call over a WebSocket, in a span if its trace is recorded; without a ``traceparent`` it is:
        its caller has asked ``takes_root``."""
        if traceparent is None:
            span: Span = _CallSpan(self, f"ws {method}", None)
        else:
            span = self._root(f"ws {method}", traceparent)
        span.set_attributes({"quickim.protocol": "ws", "rpc.method": method})
        with _inside(span):
            await work()

    def _root(self, name: str, traceparent: object) -> Span:
        """A request's own span; INVALID_SPAN when there is no trace, and its caller's own, which records nothing here,
        when that is not to be recorded."""
        context = _extracted(traceparent)
        caller = get_current_span(context)
        if not caller.get_span_context().is_valid:
            return _CallSpan(self, name, None) if self.takes_root() else INVALID_SPAN
        if not self._samples(context, name) or self._asked.take(ASKED_RATE, time.monotonic()):
            return caller
        return _CallSpan(self, name, caller.get_span_context())

    def _samples(self, context: Context, name: str) -> bool:
        known = get_current_span(context).get_span_context()
        trace_id = known.trace_id if known.is_valid else self._provider.id_generator.generate_trace_id()
        decision = self._sampler.should_sample(context, trace_id, name, SpanKind.SERVER).decision
        return decision is Decision.RECORD_AND_SAMPLE


class _CallSpan(NonRecordingSpan):
    """A call that is being served: what it learns is kept here, and told when it is over."""

    def __init__(self, spans: Spans, name: str, parent: SpanContext | None) -> None:
        super().__init__(spans.below(parent))
        self._spans, self._name, self._parent = spans, name, parent
        self._start = time.time_ns()
        self._attributes: dict[str, Any] = {}
        self._error = ""

    def is_recording(self) -> bool:
        return True

    def set_attribute(self, key: str, value: Any) -> None:
        self._attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        self._attributes.update(attributes)

    def update_name(self, name: str) -> None:
        self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        if isinstance(status, Status) and not status.is_ok:
            self._error = status.description or "failed"

    def end(self, end_time: int | None = None) -> None:
        times = (self._start, end_time or time.time_ns())
        self._spans.emit(
            self._name, self._parent, times, self._attributes, "SERVER", at=self.get_span_context(), error=self._error
        )


def traceparent_of(context: SpanContext) -> str:
    """``context`` as the header's value (W3C Trace Context)."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def context_of(traceparent: object) -> SpanContext | None:
    """The recorded span that a traceparent names; None for anything else."""
    context = get_current_span(_extracted(traceparent)).get_span_context()
    return context if context.is_valid and context.trace_flags.sampled else None


def _extracted(traceparent: object) -> Context:
    """The context of what a traceparent names; of nothing for anything else."""
    if type(traceparent) is not str or len(traceparent) > MAX_TRACEPARENT_CHARACTERS:
        return _NOWHERE
    return _propagator.extract({"traceparent": traceparent}, _NOWHERE)


@lru_cache(maxsize=4_096)
def hashed_session(session: str) -> str:
    """What stands for ``session`` in traces: the same on all nodes that share QUICKIM_SECRET_KEY, told by nothing else.
    The system has none."""
    return salted_hmac("quickim.tracing", session, algorithm="sha256").hexdigest()[:16] if session else ""


@contextmanager
def _inside(span: Span) -> Iterator[None]:
    """Make ``span`` the current one, and end it."""
    if span is INVALID_SPAN:
        yield
        return
    token = contexts.attach(set_span_in_context(span))
    try:
        yield
    except Exception as error:
        span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        raise
    finally:
        contexts.detach(token)
        if span.is_recording():
            span.end()


def _note_response(span: Span, event: Event) -> None:
    status = event["status"]
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))
    for name, value in event.get("headers", ()):
        if name == b"x-request-id":
            span.set_attribute("quickim.request_id", value.decode("latin-1"))


def _note_request(span: Span, scope: Any) -> None:
    """Its route; the path itself may hold anything, tokens as well."""
    span.set_attribute("http.request.method", scope["method"])
    if route := _route(scope["path"]):
        span.set_attribute("http.route", route)
        span.update_name(f"{scope['method']} {route}")


@lru_cache(maxsize=256)
def _route(path: str) -> str:
    """The pattern that ``path`` fits; none: nothing."""
    try:
        return f"/{resolve(path).route}"
    except (Resolver404, UnicodeError):
        return ""
