"""Traces where the black-box tests cannot aim: what no announcement brought, and what stays within its bounds."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from opentelemetry import context
from opentelemetry.trace import SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.envelopes import unpack_messages
from gateway.traces import arrived
from quickim.observability import tracing
from quickim.observability.tracing_sdk import Spans, context_of, hashed_session, traceparent_of
from tests.gateway.in_process import InProcess
from tests.observability.collector import Collector, collecting

ROW = [7, "id", "MSG-1", 1, "alice", 1_000, 1, 2, "hello", 3]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """This process traces, and exports to it."""
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        tracing.stop()
        tracing.start()
        try:
            yield collector
        finally:
            tracing.stop()


@pytest.fixture
def caller(collector: Collector) -> Iterator[str]:
    """The id of the trace that this test's sends belong to."""
    trace_id = uuid4().hex
    carrier = {"traceparent": f"00-{trace_id}-{'b' * 16}-01"}
    token = context.attach(TraceContextTextMapPropagator().extract(carrier))
    yield trace_id
    context.detach(token)


@pytest.mark.asyncio
async def test_a_gap_that_the_database_fills_is_linked_to_the_message_that_it_held_up(
    world: InProcess, collector: Collector, caller: str
) -> None:
    bob = await world.connect("bob")
    room = await world.create("alice", "bob")
    with world.held_facts() as facts:
        await world.send(room, "alice", "lost on the way")
        second = await world.send(room, "alice", "heard")
    await world.tell(facts[1])
    assert bob.texts == ["lost on the way", "heard"]
    tracing.stop()
    spans = collector.spans
    [fill] = [span for span in spans if span.name == "fill"]
    [announce] = [span for span in spans if span.name == "announce"]
    [hub] = [span for span in spans if span.name == "hub"]
    assert fill.links == ((caller, announce.span_id),)
    assert (fill.attributes["quickim.fill.messages"], fill.attributes["quickim.conversation.id"]) == (2, room)
    assert fill.attributes["quickim.fill.unknown"] == 1
    # The second one is seen to the end, in its trace.
    assert (hub.trace_id, hub.attributes["quickim.message.id"]) == (caller, second.msg_id)
    assert hub.start <= fill.start <= fill.end <= hub.end


@pytest.mark.asyncio
async def test_a_node_without_members_says_that_it_has_none(
    world: InProcess, collector: Collector, caller: str
) -> None:
    room = await world.create("alice", "bob")
    await world.send(room, "alice", "nobody listens")
    tracing.stop()
    [hub] = [span for span in collector.trace(caller) if span.name == "hub"]
    assert hub.attributes["quickim.connections"] == 0


def test_what_cannot_be_read_of_another_nodes_traces_is_passed_over(collector: Collector) -> None:
    for traces in ({"MSG-1": "nonsense"}, {"MSG-1": 5}, {"MSG-1": None}, {"other": "x"}, ["MSG-1"], 5, "MSG-1"):
        committed = unpack_messages([ROW])
        arrived(committed, traces)
        assert committed[0].message.trace is None
    committed = unpack_messages([ROW])
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    arrived(committed, {"MSG-1": traceparent})
    trace = committed[0].message.trace
    assert trace is not None
    assert traceparent_of(trace.context) == traceparent


def test_a_traceparent_that_is_not_sampled_or_malformed_names_no_span() -> None:
    for text in (f"00-{'a' * 32}-{'b' * 16}-00", f"00-{'0' * 32}-{'b' * 16}-01", "", "00", "x" * 55):
        assert context_of(text) is None


def test_the_trace_id_of_a_log_line_is_the_callers(collector: Collector, caller: str) -> None:
    assert tracing.current_trace_id() == caller


def test_a_session_is_told_by_its_hash_only(collector: Collector) -> None:
    assert len({hashed_session(name) for name in ("alice", "bob", "Alice")}) == 3
    assert hashed_session("alice") == hashed_session("alice")
    assert hashed_session("") == ""


def test_a_clock_that_was_set_back_makes_no_negative_time(collector: Collector) -> None:
    spans = tracing.spans()
    assert isinstance(spans, Spans)
    place = spans.emit("late", None, (2_000, 1_000), {})
    assert isinstance(place, SpanContext)
    tracing.stop()
    [span] = collector.spans
    assert span.start <= span.end
