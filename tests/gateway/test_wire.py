"""What goes over push connections, read back by parsers that are not ours."""

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode
from websockets.streams import StreamReader

from gateway import wire
from gateway.wire import Farewell, conversation_notice, message_frame, reset_notice, restarting, websocket_frame
from messaging.message import StoredMessage
from tests.clients.event_stream import EventStreamParser

AN_ID = "0d5f1a9e-5a0c-4a58-9d3b-0c7f6f1d3b52"
A_MSG_ID = "EDCZL-SY32-243Y-VWQ"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


def a_frame(content: str, session: str = "alice") -> wire.Frame:
    """The frame of a message."""
    return message_frame(StoredMessage(5, AN_ID, A_MSG_ID, 17, session, 1_767_225_600_000_000, -1, 2, content))


def read_websocket(frame: bytes) -> WebSocketFrame:
    """The one frame that the bytes hold, as a client reads it."""
    reader = StreamReader()
    reader.feed_data(frame)
    reader.feed_eof()
    reading = WebSocketFrame.parse(reader.read_exact, mask=False)
    try:
        while True:
            next(reading)
    except StopIteration as done:
        assert reader.buffer == b""
        parsed: WebSocketFrame = done.value
        return parsed


@given(TEXTS, st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20))
def test_a_message_says_the_same_on_every_protocol(content: str, session: str) -> None:
    frame = a_frame(content, session)
    expected = {
        "MsgId": A_MSG_ID,
        "ConversationID": AN_ID,
        "FromSession": session,
        "SendTime": 1_767_225_600_000_000,
        "Status": -1,
        "Type": 2,
        "Content": content,
        "Seq": 17,
    }
    assert json.loads(frame.body) == expected
    assert json.loads(frame.text) == expected
    websocket = read_websocket(frame.websocket)
    assert (websocket.opcode, websocket.fin, websocket.data) == (Opcode.TEXT, True, frame.body)
    (event,) = EventStreamParser().feed(frame.sse)
    assert (event.name, event.identity, json.loads(event.data)) == ("message", A_MSG_ID, expected)


def test_its_bytes_are_made_once_for_all_who_get_it() -> None:
    frame = a_frame("hello")
    assert frame.sse is frame.sse
    assert frame.websocket is frame.websocket
    assert frame.text is frame.text


@given(st.one_of(st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 70_000]), st.integers(0, 300)))
def test_a_websocket_frame_of_any_size_is_whole_and_unmasked(size: int) -> None:
    parsed = read_websocket(websocket_frame(b"x" * size))
    assert (parsed.opcode, parsed.fin, len(parsed.data)) == (Opcode.TEXT, True, size)


@given(TEXTS)
def test_no_content_can_end_an_event_or_start_another(content: str) -> None:
    parser = EventStreamParser()
    events = parser.feed(a_frame(f"\n\nevent: bye\ndata: {content}\r\r\0").sse)
    assert [event.name for event in events] == ["message"]


def test_a_notice_has_no_id_so_that_it_is_no_place_to_resume_from() -> None:
    frame = conversation_notice("conversation.joined", AN_ID, 7, 1_767_225_600_000_000, ["alice", "bob"])
    (event,) = EventStreamParser().feed(frame.sse)
    assert (event.name, event.identity) == ("conversation.joined", None)
    assert json.loads(event.data) == {
        "Event": "conversation.joined",
        "ConversationID": AN_ID,
        "ConversationType": 7,
        "SendTime": 1_767_225_600_000_000,
        "Sessions": ["alice", "bob"],
    }
    assert (frame.seq, frame.msg_id) == (0, "")


def test_a_notice_counts_those_whom_it_does_not_name() -> None:
    def notice(**more: Any) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(conversation_notice("e", AN_ID, 7, 1, ["alice"], **more).body)
        return parsed

    assert notice(count=250)["Count"] == 250
    assert "Count" not in notice(count=1)
    assert "IsArchive" not in notice()
    assert notice(is_archived=True)["IsArchive"] is True


def test_no_line_of_an_event_ends_where_only_unicode_ends_it() -> None:
    content = "one\x85two\u2028three\u2029four é"
    frame = a_frame(content)
    (event,) = EventStreamParser().feed(frame.sse)
    assert len(event.data.decode().splitlines()) == 1
    assert json.loads(event.data)["Content"] == content
    assert "é" in event.data.decode()


def test_a_bundle_is_its_frames_one_after_the_other() -> None:
    frames = [a_frame(content) for content in ("one", "two\n", "x" * 70_000)]
    bundle = wire.Bundle(frames)
    assert bundle.websocket == b"".join(frame.websocket for frame in frames)
    assert [event.data for event in EventStreamParser().feed(bundle.sse)] == [frame.body for frame in frames]


def test_reset_is_a_notice() -> None:
    assert json.loads(reset_notice().body) == {"Event": "reset"}
    assert reset_notice().sse == b'event: reset\ndata: {"Event":"reset"}\n\n'


def test_bye_says_why_and_what_to_do() -> None:
    farewell = restarting(1_234)
    assert json.loads(farewell.notice().body) == {
        "Event": "bye",
        "Code": 1012,
        "Reason": "restarting",
        "Reconnect": True,
        "RetryAfterMs": 1_234,
    }


def test_every_farewell_keeps_to_the_ranges_of_close_codes() -> None:
    farewells = [value for value in vars(wire).values() if isinstance(value, Farewell)]
    assert len(farewells) >= 10
    for farewell in [*farewells, restarting(0)]:
        # A frame that is too large would be too large again.
        assert farewell.reconnect == (farewell.code < 4500 and farewell.code != 1009), farewell
        assert re.fullmatch(r"1[0-9]{3}|4[0-9]{3}", str(farewell.code))
        assert len(farewell.reason.encode()) <= wire.MAX_REASON_BYTES


def test_keep_alive_and_opening_are_no_events() -> None:
    parser = EventStreamParser()
    assert parser.feed(wire.SSE_OPENING + wire.SSE_KEEP_ALIVE) == []
    assert parser.comments == 2
    assert parser.retry_milliseconds is not None
