"""A traced message from its commit to the connections: ``announce``, ``publish``, and on each node ``hub`` with a
``deliver`` for each protocol.

Laws: it travels between nodes as a traceparent in the layer's envelope, beside what it belongs to; a node that cannot
read it delivers all the same. What a node has heard of a trace it remembers for a moment, in bounds, so that a message
that comes from the database in the end (a gap, a replay) is still seen in its trace. One span tells the deliveries of
a protocol, however many they are.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from messaging.message import Committed, StoredMessage
from messaging.traces import about_message
from quickim.observability import tracing
from quickim.observability.tracing import Trace

if TYPE_CHECKING:
    from gateway.connection import Connection
    from gateway.room import Room
    from gateway.wire import Frame

REMEMBERED_MESSAGES = 2_000
MAX_REPLAYS = 20
"""Replays of one message that a node records; thousands may come back at once."""
MAX_LINKS = 32

_recent: OrderedDict[str, Trace] = OrderedDict()
"""By MsgId; on the node's event loop."""


# Between nodes


def announcing(committed: Iterable[Committed]) -> list[tuple[StoredMessage, Trace]]:
    """Begin to tell of what was committed here; what happens from now on belongs under the announcement. Returns the
    traced messages, each with where it came from."""
    spans, begun = tracing.spans(), []
    if spans is not None:
        for message, trace in [(item.message, item.message.trace) for item in committed if item.message.trace]:
            message.trace = Trace(spans.below(trace.context))
            _remember(message)
            begun.append((message, trace))
    return begun


def announced(begun: Iterable[tuple[StoredMessage, Trace]]) -> None:
    """This node has been told, and the others' announcement is in line."""
    spans = tracing.spans()
    for message, before in begun:
        if spans is not None and message.trace is not None:
            times = (before.since, time.time_ns())
            spans.emit("announce", before.context, times, {}, "PRODUCER", at=message.trace.context)


def traceparents(committed: Iterable[Committed]) -> list[tuple[int, str, str]]:
    """(conversation's number, MsgId, traceparent) of the traced ones: what goes along with an announcement."""
    from quickim.observability.tracing_sdk import traceparent_of  # noqa: PLC0415  # only where tracing is on

    messages = [item.message for item in committed]
    return [
        (message.number, message.msg_id, traceparent_of(message.trace.context))
        for message in messages
        if message.trace is not None
    ]


@contextmanager
def publishing(traces: Mapping[str, str] | None) -> Iterator[None]:
    """Around one publish that carries ``traces``: MsgId → traceparent."""
    spans = tracing.spans()
    if spans is None or not traces:
        yield
        return
    from quickim.observability.tracing_sdk import context_of  # noqa: PLC0415  # only where tracing is on

    start, error = time.time_ns(), ""
    try:
        yield
    except Exception as failure:
        error = f"{type(failure).__name__}: the other nodes sweep it up"
        raise
    finally:
        times = (start, time.time_ns())
        for msg_id, traceparent in traces.items():
            if (context := context_of(traceparent)) is not None:
                spans.emit("publish", context, times, {"quickim.message.id": msg_id}, "CLIENT", error=error)


def arrived(committed: Iterable[Committed], traces: Any) -> None:
    """Another node's announcement came with ``traces``; what cannot be read is passed over."""
    if tracing.spans() is None or not isinstance(traces, Mapping):
        return
    from quickim.observability.tracing_sdk import context_of  # noqa: PLC0415  # only where tracing is on

    for item in committed:
        if (context := context_of(traces.get(item.message.msg_id))) is not None:
            item.message.trace = Trace(context)
            _remember(item.message)


# On this node


def passed_by(rooms: Mapping[int, "Room"], committed: Iterable[Committed]) -> None:
    """The hub has looked at ``committed``: those are over that concern nobody who is connected here."""
    spans = tracing.spans()
    for item in committed:
        trace = item.message.trace
        if spans is not None and trace is not None and item.message.number not in rooms:
            about = about_stored(item.message) | {"quickim.connections": 0}
            trace.handed_out = spans.emit("hub", trace.context, (trace.since, time.time_ns()), about, "CONSUMER")


def hand_out(room: "Room", frame: "Frame", trace: Trace) -> None:
    """Give a traced ``frame`` to everybody in ``room``."""
    given: Counter[str] = Counter()
    replaying = 0
    start = time.time_ns()
    for connection in room.audience:
        if connection.behind:
            replaying += 1
        elif not connection.ended and connection.floors.get(frame.number, 0) < frame.seq:
            given[connection.protocol] += 1
    room.audience.deliver(frame)
    end = time.time_ns()
    spans = tracing.spans()
    if spans is None:
        return
    about = about_message(room.conversation_id, frame.msg_id, frame.seq)
    about["quickim.connections"] = given.total()
    if replaying:
        about["quickim.connections.replaying"] = replaying
    hub = spans.emit("hub", trace.context, (trace.since, end), about, "CONSUMER")
    trace.handed_out = hub
    for protocol, count in given.items():
        # Which message it is, the hub's span says.
        how: dict[str, str | int | bool] = {"quickim.protocol": protocol, "quickim.connections": count}
        spans.emit(f"deliver {protocol}", hub, (start, end), how)


def filled(room: "Room", frames: "Sequence[Frame]", start: int) -> None:
    """The database gave ``frames``, which no announcement brought in time: each finds its trace again, if this node
    has heard of it, and the filling itself is a span, linked to those that it held up."""
    spans = tracing.spans()
    if spans is None:
        return
    for frame in frames:
        frame.trace = _recent.get(frame.msg_id)
    seen = (*frames, *room.waiting.values())
    links = list({frame.msg_id: frame.trace.context for frame in seen if frame.trace is not None}.values())
    if not links and not spans.takes_root():
        return
    about: dict[str, str | int | bool] = {
        "quickim.conversation.id": room.conversation_id,
        "quickim.fill.after_seq": room.delivered,
        "quickim.fill.messages": len(frames),
        "quickim.fill.unknown": sum(frame.trace is None for frame in frames),
    }
    if frames:
        about |= {"quickim.fill.first": frames[0].msg_id, "quickim.fill.last": frames[-1].msg_id}
    spans.emit("fill", None, (start, time.time_ns()), about, links=links[:MAX_LINKS])


def replayed(connection: "Connection", frame: "Frame", start: int) -> None:
    """``connection`` was given ``frame`` by a replay that began to read at ``start``."""
    spans, trace = tracing.spans(), _recent.get(frame.msg_id)
    if spans is None or trace is None or trace.replays >= MAX_REPLAYS:
        return
    trace.replays += 1
    about: dict[str, str | int | bool] = {
        "quickim.message.id": frame.msg_id,
        "quickim.message.seq": frame.seq,
        "quickim.protocol": connection.protocol,
        "quickim.connections": 1,
        "quickim.replayed": True,
    }
    times = (max(start, trace.since), time.time_ns())
    spans.emit(f"deliver {connection.protocol}", trace.handed_out or trace.context, times, about)


def about_stored(message: StoredMessage) -> dict[str, str | int | bool]:
    """The attributes of ``message``."""
    return about_message(message.conversation_id, message.msg_id, message.seq)


def _remember(message: StoredMessage) -> None:
    if message.trace is not None:
        _recent[message.msg_id] = message.trace
        if len(_recent) > REMEMBERED_MESSAGES:
            _recent.popitem(last=False)
