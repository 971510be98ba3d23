"""What a client tells the app, in order. Pure."""

from dataclasses import dataclass
from typing import Any, Literal

Message = dict[str, Any]
"""As on the wire: MsgId, ConversationID, FromSession, SendTime (microseconds), Status, Type, Content, Seq."""
Notice = dict[str, Any]
"""As on the wire: an object with ``Event``."""
Protocol = Literal["ws", "sse", "poll"]
State = Literal["idle", "connecting", "connected", "waiting", "closed", "ended"]


@dataclass(frozen=True, slots=True)
class MessageCame:
    """A message, once, after all that lie before it in its conversation."""

    message: Message


@dataclass(frozen=True, slots=True)
class NoticeCame:
    """News about a conversation, or a ``bye``."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class Reset:
    """Messages are missing: read them from history. ``conversation``: which one's, None: any. ``after`` and
    ``before``: the Seq of the last message before the gap and of the first one after it, 0 when not known."""

    conversation: str | None = None
    after: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True)
class StateChanged:
    """``protocol`` when connected; ``retry_in_seconds``, ``reason`` and maybe the ``error`` when waiting."""

    state: State
    protocol: Protocol | None = None
    retry_in_seconds: float = 0.0
    reason: str = ""
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something failed that nobody awaits: the token callback, or what came is no quickim's."""

    error: Exception


Event = MessageCame | NoticeCame | Reset | StateChanged | Trouble
