"""What can be set about a client, with what it is otherwise."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.client.events import Protocol

PROTOCOLS: tuple[Protocol, ...] = ("ws", "sse", "poll")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Times are in seconds."""

    protocols: tuple[Protocol, ...] = PROTOCOLS
    """Which, the preferred first."""
    cursor: str = ""
    """Where to go on; "" begins now."""
    start: Callable[[], Awaitable[str]] | None = None
    """Gives a place to come back to while there is no cursor yet; by default, the newest MsgId is asked for."""
    notify_path: str = "/notify"
    """May hold a query."""
    open_seconds: float = 10.0
    """How long a protocol may take to open before the next one is tried."""
    poll_seconds: float = 60.0
    """How long a poll may take; more than the server's QUICKIM_POLL_WAIT_SECONDS."""
    silence_seconds: float = 45.0
    """After so much silence a connection counts as dead."""
    answer_seconds: float = 15.0
    """How long a call may take."""
    first_pause_seconds: float = 0.25
    longest_pause_seconds: float = 15.0
    sleep: Callable[[float], Awaitable[None]] | None = None
    """Waits between two attempts to connect, instead of ``asyncio.sleep``."""
    upgrade_seconds: float = 10.0
    """The first and the longest pause before a better protocol is tried again."""
    longest_upgrade_seconds: float = 300.0
    max_pending: int = 100
    """Sends that may wait."""
    send_seconds: float = float("inf")
    """How long a send may wait for its outcome."""
    max_waiting: int = 1_000
    """Events that may wait for the app; then nothing more is read."""
    remembered_conversations: int = 10_000
    """Of so many, those that moved last, repeats are told from what is new."""

    def __post_init__(self) -> None:
        if not self.protocols or any(protocol not in PROTOCOLS for protocol in self.protocols):
            raise ValueError(f"protocols are {', '.join(PROTOCOLS)}")
