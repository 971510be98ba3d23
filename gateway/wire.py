"""What goes over push connections, encoded once for all who get it. Pure.

Law: a message's bytes are the same for every member on a protocol, and made at most once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django_eventstream.utils import sse_encode_event

from messaging.history import msg_object
from messaging.message import MessagesRedacted, RedactedMessage, StoredMessage
from quickim.observability.tracing import Trace
from quickim.rest.strict_json import encode, parse_object

SSE_KEEP_ALIVE = b": keep-alive\n\n"
SSE_OPENING = b": quickim\nretry: 3000\n\n"
REDACTIONS = 1 << 62
"""Added to a conversation's number where notices are counted: those of its redactions, by the redaction's number."""
_LINE_ENDS = {character: f"\\u{character:04x}" for character in (0x85, 0x2028, 0x2029)}
"""Of Unicode, but not of event streams: parsers that split text by str.splitlines() take them for such. In JSON they
stand inside strings only, where they may be written so."""
MAX_REASON_BYTES = 123
"""Of a WebSocket close frame (RFC 6455, 5.5)."""


class Frame:
    """One message or notice, with its encodings made when first asked for."""

    __slots__ = ("_sse", "_text", "_websocket", "at", "body", "event", "msg_id", "number", "seq", "trace", "version")

    def __init__(
        self,
        body: bytes,
        event: str,
        *,
        number: int = 0,
        seq: int = 0,
        msg_id: str = "",
        version: int = 0,
        at: int = 0,
        trace: Trace | None = None,
    ) -> None:
        self.body = body
        """The JSON object."""
        self.event = event
        """SSE's event name: ``message``, or the notice's."""
        self.number = number
        self.seq = seq
        """0 for a notice."""
        self.msg_id = msg_id
        self.version = version
        self.at = at
        """Of a notice about membership or state: the member_version it tells. ``at``: when (microseconds) that was;
        of a message its SendTime."""
        self.trace = trace
        """Of a message that is followed on its way."""
        self._websocket: bytes | None = None
        self._sse: bytes | None = None
        self._text: str | None = None

    @property
    def text(self) -> str:
        """The JSON object as text, for servers that frame it themselves."""
        if self._text is None:
            self._text = self.body.decode()
        return self._text

    @property
    def websocket(self) -> bytes:
        """A whole unmasked WebSocket text frame (RFC 6455, 5.2)."""
        if self._websocket is None:
            self._websocket = websocket_frame(self.body)
        return self._websocket

    @property
    def sse(self) -> bytes:
        """One server-sent event; a message's id is its MsgId, a notice has none."""
        if self._sse is None:
            data = self.body.decode()
            if not data.isascii():
                data = data.translate(_LINE_ENDS)
            self._sse = sse_encode_event(self.event, data, event_id=self.msg_id or None).encode()
        return self._sse


class Bundle:
    """Several messages of one conversation in a row, for whoever gets them all: one write instead of many."""

    __slots__ = ("_sse", "_websocket", "frames")

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames
        self._websocket: bytes | None = None
        self._sse: bytes | None = None

    @property
    def websocket(self) -> bytes:
        """Their WebSocket frames."""
        if self._websocket is None:
            self._websocket = b"".join([frame.websocket for frame in self.frames])
        return self._websocket

    @property
    def sse(self) -> bytes:
        """Their server-sent events."""
        if self._sse is None:
            self._sse = b"".join([frame.sse for frame in self.frames])
        return self._sse


def websocket_frame(payload: bytes) -> bytes:
    """``payload`` as one final, unmasked text frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def message_frame(message: StoredMessage) -> Frame:
    """The frame of a message."""
    body = encode(
        msg_object(
            message.conversation_id,
            message.msg_id,
            message.session,
            message.send_time,
            message.status,
            message.type,
            message.content,
            message.seq,
            is_redacted=message.is_redacted,
        )
    )
    return Frame(
        body,
        "message",
        number=message.number,
        seq=message.seq,
        msg_id=message.msg_id,
        at=message.send_time,
        trace=message.trace,
    )


def conversation_notice(
    event: str,
    conversation_id: str,
    conversation_type: int,
    at: int,
    sessions: Sequence[str] = (),
    *,
    count: int = 0,
    number: int = 0,
    version: int = 0,
    is_archived: bool = False,
) -> Frame:
    """A notice about a conversation at ``at`` (microseconds); ``count`` when more than ``sessions`` are meant."""
    notice: dict[str, Any] = {
        "Event": event,
        "ConversationID": conversation_id,
        "ConversationType": conversation_type,
        "SendTime": at,
    }
    if sessions:
        notice["Sessions"] = list(sessions)
    if count > len(sessions):
        notice["Count"] = count
    if is_archived:
        notice["IsArchive"] = True
    return Frame(encode(notice), event, number=number, version=version, at=at)


def redacted_frame(frame: Frame) -> Frame:
    """The frame of a message whose content was taken back after ``frame`` was made."""
    message = parse_object(frame.body) | {"Content": "", "Redacted": True}
    return Frame(
        encode(message),
        frame.event,
        number=frame.number,
        seq=frame.seq,
        msg_id=frame.msg_id,
        at=frame.at,
        trace=frame.trace,
    )


def redaction_notice(fact: MessagesRedacted, message: RedactedMessage) -> Frame:
    """The notice that one message's content was taken back."""
    notice = {
        "Event": "message.redacted",
        "ConversationID": fact.conversation_id,
        "ConversationType": fact.conversation_type,
        "SendTime": fact.at,
        "Target": message.msg_id,
    }
    # Told apart from the conversation's own notices, which count by member_version.
    number = fact.number | REDACTIONS
    return Frame(encode(notice), "message.redacted", number=number, version=message.redaction, at=fact.at)


def reset_notice() -> Frame:
    """What was missed is not replayed: fetch history."""
    return Frame(encode({"Event": "reset"}), "reset")


@dataclass(frozen=True, slots=True)
class Farewell:
    """Why a push connection ends, and what its client should do: 4000 to 4499 and the 1000s come back, 4500 up stop."""

    code: int
    reason: str
    reconnect: bool
    retry_after_ms: int = 0

    def notice(self) -> Frame:
        """The ``bye`` that goes before the end on every protocol."""
        notice = {
            "Event": "bye",
            "Code": self.code,
            "Reason": self.reason,
            "Reconnect": self.reconnect,
            "RetryAfterMs": self.retry_after_ms,
        }
        return Frame(encode(notice), "bye")


FRAME_TOO_LARGE = Farewell(1009, "frame too large", reconnect=False)
INTERNAL_ERROR = Farewell(1011, "internal error", reconnect=True, retry_after_ms=1_000)
OVERLOADED = Farewell(1013, "overloaded", reconnect=True, retry_after_ms=2_000)
TOKEN_EXPIRED = Farewell(4002, "token expired", reconnect=True)
TOO_SLOW = Farewell(4003, "too slow", reconnect=True)
TOO_MANY_FRAMES = Farewell(4006, "too many frames", reconnect=True, retry_after_ms=1_000)
BAD_REQUEST = Farewell(4500, "bad request", reconnect=False)
INVALID_TOKEN = Farewell(4501, "invalid token", reconnect=False)
TOKEN_REVOKED = Farewell(4503, "token revoked", reconnect=False)
REPLACED = Farewell(4504, "replaced by a newer login", reconnect=False)
TOO_MANY_CONNECTIONS = Farewell(4504, "too many connections of this session", reconnect=False)


def restarting(retry_after_ms: int) -> Farewell:
    """The node drains; ``retry_after_ms`` is spread by the caller so that its clients don't come back all at once."""
    return Farewell(1012, "restarting", reconnect=True, retry_after_ms=retry_after_ms)
