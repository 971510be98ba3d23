"""One message is one trace, from its sender's call to each protocol on each node; a real collector looks at it."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
import pytest_asyncio

from tests.clients import Api, Person, fresh
from tests.observability.collector import Collector, Span, collecting
from tests.servers import ROOT, Fleet, Server

SERVER, PRODUCER, CONSUMER = 2, 4, 5
"""Kinds of spans, as OTLP counts them."""


@dataclass
class Stage:
    """Two nodes that export to one collector, and what was sent and must not be seen there."""

    collector: Collector
    here: Server
    there: Server


@pytest.fixture(scope="module")
def stage(fleet: Fleet) -> Iterator[Stage]:
    """For all tests of this module."""
    with collecting() as collector:
        server = fleet.start("nodes", **exporting_to(collector.url))
        yield Stage(collector, server.nodes[0], server.nodes[1])
        for node in server.nodes:
            node.kill9()


@pytest_asyncio.fixture(loop_scope="function")
async def here(stage: Stage) -> AsyncIterator[Api]:
    """The one node."""
    async with Api(stage.here.url) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="function")
async def there(stage: Stage) -> AsyncIterator[Api]:
    """The other node."""
    async with Api(stage.there.url) as api:
        yield api


@pytest.fixture
def alice(here: Api) -> Person:
    """The sender, on the one node."""
    return Person(here, fresh("alice"))


@pytest.fixture
def bob(there: Api) -> Person:
    """The receiver, on the other."""
    return Person(there, fresh("bob"))


@pytest_asyncio.fixture(loop_scope="function")
async def room(here: Api, alice: Person, bob: Person) -> str:
    """Where they meet."""
    return await here.conversation(alice.session, bob.session)


def exporting_to(url: str) -> dict[str, str]:
    """The standard variables, with a short delay: a test waits for it."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_SERVICE_NAME": "messages",
        "NO_PROXY": "127.0.0.1",
    }


class Caller:
    """The product's own span, which a trace begins with."""

    def __init__(self, *, sampled: bool = True) -> None:
        self.trace_id, self.span_id = uuid4().hex, uuid4().hex[:16]
        self.traceparent = f"00-{self.trace_id}-{self.span_id}-{'01' if sampled else '00'}"


async def send(who: Person, room: str, caller: Caller, content: str = "hello", **headers: str) -> str:
    """Send over HTTP in ``caller``'s trace; returns the MsgId."""
    answer = await who.api.request(
        "POST",
        "/send_msg",
        token=who.token,
        headers={"traceparent": caller.traceparent, **headers},
        json={"conversation_id": room, "content": content},
    )
    identifier: str = answer.data["MsgID"]
    return identifier


async def gathered(stage: Stage, caller: Caller, *names: str) -> list[Span]:
    """The trace of ``caller``, once it has spans of these names."""
    return await asyncio.to_thread(stage.collector.wait_for, caller.trace_id, *names)


def only(spans: list[Span], name: str) -> Span:
    """The one span of this name."""
    found = [span for span in spans if span.name == name]
    assert len(found) == 1, f"{name}: {[span.name for span in spans]}"
    return found[0]


async def test_one_message_is_one_trace_over_two_nodes(stage: Stage, alice: Person, bob: Person, room: str) -> None:
    listeners = await asyncio.gather(bob.listen("sse"), bob.listen("ws"), bob.listen("poll"), alice.listen("ws"))
    caller = Caller()
    msg_id = await send(alice, room, caller, **{"X-Request-Id": "the-request-of-alice"})
    for listener in listeners:
        await listener.messages_in(room, 1)
    protocols = ("deliver sse", "deliver ws", "deliver ws", "deliver poll")
    spans = await gathered(stage, caller, "POST /send_msg", "publish", "hub", "hub", *protocols)

    root, queue, commit = (only(spans, name) for name in ("POST /send_msg", "queue", "commit"))
    announce, publish = only(spans, "announce"), only(spans, "publish")
    assert (root.parent_id, root.kind) == (caller.span_id, SERVER)
    assert {root.attributes[name] for name in ("http.response.status_code", "http.route")} == {200, "/send_msg"}
    assert root.attributes["quickim.request_id"] == "the-request-of-alice"
    assert {queue.parent_id, commit.parent_id, announce.parent_id} == {root.span_id}
    assert (publish.parent_id, announce.kind) == (announce.span_id, PRODUCER)

    hubs = {span.instance: span for span in spans if span.name == "hub"}
    assert {span.service for span in spans} == {"messages"}
    assert len(hubs) == 2
    assert {hub.parent_id for hub in hubs.values()} == {announce.span_id}
    assert {hub.kind for hub in hubs.values()} == {CONSUMER}
    assert root.instance == announce.instance
    elsewhere = next(hub for instance, hub in hubs.items() if instance != root.instance)
    deliveries = [span for span in spans if span.name.startswith("deliver ")]
    assert {span.parent_id for span in deliveries} <= {hub.span_id for hub in hubs.values()}
    assert {span.name for span in deliveries if span.parent_id == elsewhere.span_id} == set(protocols)
    assert {span.attributes["quickim.connections"] for span in deliveries} == {1}

    assert {span.attributes["quickim.protocol"] for span in deliveries} == {"sse", "ws", "poll"}
    for span in (commit, *hubs.values()):
        assert span.attributes["quickim.conversation.id"] == room
        assert (span.attributes["quickim.message.id"], span.attributes["quickim.message.seq"]) == (msg_id, 1)
    assert_plausible(spans)


def assert_plausible(spans: list[Span]) -> None:
    """The times of one sent message: nested, or one after the other, and never backwards."""
    root, queue, commit = (only(spans, name) for name in ("POST /send_msg", "queue", "commit"))
    announce = only(spans, "announce")
    by_id = {span.span_id: span for span in spans}
    assert all(span.start <= span.end for span in spans)
    assert root.covers(queue)
    assert root.covers(commit)  # the sender is answered when it is committed
    assert queue.end == commit.start
    assert commit.end == announce.start
    assert max(span.end for span in spans) - root.start < 20 * 10**9
    for span in spans:
        if span.parent_id in by_id:
            assert by_id[span.parent_id].start <= span.start
        if span.name.startswith("deliver ") and "quickim.replayed" not in span.attributes:
            assert by_id[span.parent_id].covers(span)


async def test_a_batch_and_its_commits_are_linked_both_ways(stage: Stage, alice: Person, room: str) -> None:
    sent = await alice.pour(room, [f"{number}" for number in range(300)])
    ids = {one["MsgID"] for one in sent}

    def commits(spans: list[Span]) -> list[Span]:
        return [one for one in spans if one.name == "commit" and one.attributes["quickim.message.id"] in ids]

    def is_there(spans: list[Span]) -> bool:
        found = commits(spans)
        batches = {span.span_id for span in spans if span.name == "batch"}
        return len(found) == len(ids) and {link[1] for span in found for link in span.links} <= batches

    spans = await asyncio.to_thread(stage.collector.wait_until, is_there)
    batches = {span.span_id: span for span in spans if span.name == "batch"}
    shared = 0
    for commit in commits(spans):
        ((trace_id, span_id),) = commit.links
        batch = batches[span_id]
        assert (batch.trace_id, batch.parent_id) == (trace_id, "")
        assert (batch.start, batch.end) == (commit.start, commit.end)
        count = batch.attributes["messaging.batch.message_count"]
        shared += count > 1
        # A span keeps 128 links; beyond, the first ones go.
        assert (commit.trace_id, commit.span_id) in batch.links or count > 128
        statements = [line.split()[2] for line in batch.attributes["quickim.batch.statements"].splitlines()]
        assert (statements[0], statements[-1]) == ("SELECT", "COMMIT")
        assert "INSERT" in statements
    assert shared > len(ids) / 2


async def test_a_call_over_a_websocket_brings_its_traceparent(
    stage: Stage, alice: Person, bob: Person, room: str
) -> None:
    listener = await bob.listen("sse")
    caller = Caller()
    socket = await alice.listen_ws()
    call = f'{{"id": 1, "method": "send_msg", "traceparent": "{caller.traceparent}", "params": '
    await socket.socket.send(f'{call}{{"conversation_id": "{room}", "content": "hello"}}}}')
    assert (await socket.answer(1))["code"] == 0
    await listener.messages_in(room, 1)
    spans = await gathered(stage, caller, "ws send_msg", "queue", "commit", "announce", "hub", "hub", "deliver sse")
    root = only(spans, "ws send_msg")
    assert (root.parent_id, root.kind, root.attributes["quickim.protocol"]) == (caller.span_id, SERVER, "ws")
    assert only(spans, "commit").parent_id == root.span_id
    for wrong in ("5", '"nonsense"', f'"{"0" * 5_000}"', "null", "{}"):
        await socket.socket.send(f'{{"id": "w", "method": "ping", "traceparent": {wrong}}}')
        assert (await socket.answer("w"))["code"] == 0
        socket.answers.clear()


async def test_every_answer_names_its_trace(stage: Stage, here: Api, alice: Person) -> None:
    caller, unsampled = Caller(), Caller(sampled=False)
    for headers, trace_id, flags in (
        ({"traceparent": caller.traceparent}, caller.trace_id, "01"),
        ({"traceparent": unsampled.traceparent}, unsampled.trace_id, "00"),
        ({}, None, "01"),
    ):
        answer = await here.request("POST", "/get_joined_conversation", token=alice.token, headers=headers, json={})
        named = answer.headers["traceparent"].split("-")
        assert (named[0], named[3]) == ("00", flags)
        assert trace_id in (None, named[1])
    root = only(await gathered(stage, caller, "POST /get_joined_conversation"), "POST /get_joined_conversation")
    assert root.parent_id == caller.span_id
    answer = await here.request("GET", "/healthz")
    assert answer.headers["traceparent"].split("-")[1::2] == [answer.headers["x-request-id"], "00"]
    told = []
    for method, path in (("GET", "/healthz"), ("GET", "/nothing"), ("GET", "/docs"), ("GET", "/notify")):
        told.append((await here.request(method, path)).headers["traceparent"])
    told.append((await here.request("POST", "/send_msg", headers={"Host": "evil.example"})).headers["traceparent"])
    assert len({traceparent.split("-")[1] for traceparent in told}) == len(told)


async def test_the_log_repeats_nothing_of_a_callers_context(stage: Stage, alice: Person) -> None:
    mark, caller = stage.here.log_size(), Caller()
    for traceparent in (caller.traceparent, "nonsense", f"{caller.traceparent}-{'x' * 5_000}", f"ff{'x' * 53}"):
        for state in ("between=us", "between us", "a=b,a=b", "between=" + "us" * 2_000, ",".join(["k=v"] * 40)):
            headers = {"traceparent": traceparent, "tracestate": state}
            answer = await alice.api.request(
                "POST", "/get_joined_conversation", token=alice.token, headers=headers, json={}
            )
            answer.succeeded()
    assert stage.here.log_text(mark) == ""


async def test_a_refused_send_says_so_in_its_trace(stage: Stage, here: Api, room: str) -> None:
    stranger, caller = Person(here, fresh("charlie")), Caller()
    answer = await here.request(
        "POST",
        "/send_msg",
        token=stranger.token,
        headers={"traceparent": caller.traceparent},
        json={"conversation_id": room, "content": "hello"},
    )
    answer.refused(90015)
    spans = await gathered(stage, caller, "POST /send_msg", "commit")
    assert only(spans, "commit").attributes["quickim.code"] == 90015
    assert only(spans, "POST /send_msg").attributes["http.response.status_code"] == 403


async def test_what_its_caller_does_not_sample_is_not_exported(
    stage: Stage, alice: Person, bob: Person, room: str
) -> None:
    listener = await bob.listen("sse")
    unsampled, sampled = Caller(sampled=False), Caller()
    await send(alice, room, unsampled)
    await send(alice, room, sampled)
    await listener.messages_in(room, 2)
    # Exported in the order of their ends, by each node.
    await gathered(stage, sampled, "POST /send_msg", "hub", "hub", "deliver sse")
    assert stage.collector.trace(unsampled.trace_id) == []


async def test_no_secret_and_no_content_is_exported(stage: Stage, alice: Person, bob: Person, room: str) -> None:
    listener = await bob.listen("sse")
    caller = Caller()
    content = f"between-us-{uuid4().hex}"
    await send(alice, room, caller, content)
    await listener.messages_in(room, 1)
    await alice.api.request("POST", f"/{alice.token}?token={alice.token}", headers={"traceparent": caller.traceparent})
    spans = await gathered(stage, caller, "POST /send_msg", "POST", "commit", "hub", "hub", "deliver sse")
    exported = b"".join(stage.collector.bodies)
    secrets = (content, alice.token, bob.token, alice.token.split(".")[2], alice.session, bob.session)
    assert [secret for secret in secrets if secret.encode() in exported] == []
    assert len(only(spans, "commit").attributes["quickim.session.hash"]) == 16


async def test_a_replay_is_seen_in_the_trace(stage: Stage, alice: Person, bob: Person, room: str) -> None:
    first = await bob.listen("sse")
    await alice.send(room, "one")
    await first.messages_in(room, 1)
    await first.close()
    caller = Caller()
    msg_id = await send(alice, room, caller)
    await gathered(stage, caller, "hub", "hub")
    second = await bob.listen("ws", since=first.cursor)
    await second.messages_in(room, 1)
    spans = await gathered(stage, caller, "deliver ws")
    delivery = only(spans, "deliver ws")
    assert (delivery.attributes["quickim.message.id"], delivery.attributes["quickim.replayed"]) == (msg_id, True)
    assert delivery.instance != only(spans, "announce").instance


POSTING = """
import sys
import django
django.setup()
from django.db import transaction
from opentelemetry import context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from messaging.services import post_message
context.attach(TraceContextTextMapPropagator().extract({"traceparent": sys.argv[2]}))
with transaction.atomic():
    post_message(sys.argv[1], "Your order is paid.")
"""


async def test_a_products_own_process_is_part_of_the_trace(stage: Stage, bob: Person, room: str) -> None:
    listener = await bob.listen("sse")
    caller = Caller()
    environment = stage.here.environment | {"DJANGO_SETTINGS_MODULE": "quickim.settings"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", POSTING, room, caller.traceparent, cwd=ROOT, env=environment, stderr=subprocess.PIPE
    )
    _, complaints = await process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    await listener.messages_in(room, 1)
    spans = await gathered(stage, caller, "queue", "commit", "announce", "publish", "hub", "hub", "deliver sse")
    assert only(spans, "commit").parent_id == caller.span_id
    announce = only(spans, "announce")
    assert {span.parent_id for span in spans if span.name == "hub"} == {announce.span_id}
    assert announce.instance not in {span.instance for span in spans if span.name == "hub"}
