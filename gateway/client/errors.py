"""What a call or a connection can fail with, and what that means for whoever tries again. Pure."""

from dataclasses import dataclass
from typing import Any

FIRST_STOP_CODE, LAST_STOP_CODE = 4500, 4999
FRAME_TOO_LARGE = 1009
TOKEN_EXPIRED, TOKEN_REFUSED, TOKEN_REVOKED = 4002, 4501, 4503
RENEWING = frozenset({TOKEN_EXPIRED, TOKEN_REFUSED, TOKEN_REVOKED})
"""Codes that another token may help against: the app is asked for one, and without one it is over."""
INTERNAL_ERROR, TOO_MANY_REQUESTS, INVALID_TOKEN = 10002, 10007, 10101
_LATER = frozenset({408, 425, 429})
"""Statuses by which a server or a proxy says "later"."""
_FIRST_SERVER_ERROR = 500


class ClientError(Exception):
    """Everything that a client raises."""


class CallFailed(ClientError):
    """A call that failed. ``code`` is the server's, or 0 when it did not decide: no connection, no answer in time, or
    somebody in between answered (with ``status``). ``retry_after_seconds``: as the server asked, 0 if it did not."""

    def __init__(
        self,
        code: int,
        text: str,
        *,
        status: int = 0,
        detail: dict[str, Any] | None = None,
        retry_after_seconds: float = 0.0,
    ) -> None:
        super().__init__(f"{text} ({code})" if code else text)
        self.code, self.text, self.status = code, text, status
        self.detail = detail or {}
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_temporary(self) -> bool:
        """Whether the same call may be answered differently later; nobody knows whether this one took effect."""
        if not self.code and not self.status:
            return True
        is_ours = self.code in (INTERNAL_ERROR, TOO_MANY_REQUESTS)
        return is_ours or self.status >= _FIRST_SERVER_ERROR or self.status in _LATER

    @property
    def is_about_the_token(self) -> bool:
        """Whether the token was refused."""
        return self.code == INVALID_TOKEN


class UnexpectedAnswer(ClientError):
    """What came is not what a quickim server says."""


class ConnectionEnded(ClientError):
    """The server said: do not come back. ``code`` is a close code, or the error code of a refusal over HTTP."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the server ended the connection ({code}{f', {reason}' if reason else ''})")
        self.code, self.reason = code, reason


class QueueFull(ClientError):
    """So many sends wait already."""


class Closed(ClientError):
    """The client is closed."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection ended, or could not be opened.

    ``stops``: do not come back. ``renews``: it was the token, a new one may be taken. ``is_blocked``: no quickim server
    spoke, another protocol may get through. ``is_asked``: ended on this side, to begin anew at once.
    """

    code: int = 0
    reason: str = ""
    stops: bool = False
    renews: bool = False
    is_blocked: bool = False
    is_asked: bool = False
    least_seconds: float = 0.0
    error: Exception | None = None


ASKED = Ending(is_asked=True)


def ending_of_bye(bye: dict[str, Any]) -> Ending:
    """What a ``bye`` notice announces."""
    code = int(bye["Code"])
    renews = code in RENEWING
    stops = not renews and (not bye.get("Reconnect", True) or code >= FIRST_STOP_CODE)
    least_seconds = max(0.0, bye.get("RetryAfterMs", 0) / 1_000)
    return Ending(code, str(bye.get("Reason", "")), stops, renews, least_seconds=least_seconds)


def ending_of_close(code: int | None, reason: str | None) -> Ending:
    """How a WebSocket ended that was told nothing else."""
    code = code or 0
    renews = code in RENEWING
    stops = not renews and (FIRST_STOP_CODE <= code <= LAST_STOP_CODE or code == FRAME_TOO_LARGE)
    return Ending(code, reason or "", stops, renews)


def ending_of_failure(error: CallFailed) -> Ending:
    """What a refused ``/notify`` over HTTP means."""
    if error.is_about_the_token:
        return Ending(error.code, error.text, renews=True, error=error)
    if error.code and error.is_temporary:
        return Ending(error.code, error.text, least_seconds=error.retry_after_seconds, error=error)
    if error.code:
        return Ending(error.code, error.text, stops=True, error=error)
    # A page of a proxy, a lost network: no word of the server.
    least_seconds = error.retry_after_seconds
    return Ending(0, error.text, is_blocked=True, least_seconds=least_seconds, error=error)
