"""What passes a proxy, seen by protocol: a PostgreSQL client's COMMIT, a Redis client's SUBSCRIBE. Pure.

Law: a spotter only looks; it takes bytes in whatever pieces they come.
"""

from typing import Final, Protocol

_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104
"""What stands for a version in the untyped messages that may come before the start-up message, or instead of it."""
_QUERY, _PARSE = b"Q", b"P"


class Spotter(Protocol):
    """Follows what one client sends."""

    def spots(self, sent: bytes) -> bool:
        """Takes the next bytes; whether what is looked for ended in them."""


class NothingSpotter:
    """Looks for nothing."""

    def spots(self, sent: bytes) -> bool:
        """Never."""
        return False


class CommitSpotter:
    """Looks for COMMIT in the messages of a PostgreSQL client: as a simple query, or parsed as a statement."""

    def __init__(self) -> None:
        self._rest = b""
        self._has_started = False

    def spots(self, sent: bytes) -> bool:
        """See Spotter: a message that commits is complete."""
        self._rest += sent
        found = False
        while (message := self._next()) is not None:
            kind, text = message
            # A parsed statement has its name in front.
            statement = text.partition(b"\0")[2] if kind == _PARSE else text
            found |= kind in (_QUERY, _PARSE) and statement.lstrip().upper().startswith(b"COMMIT")
        return found

    def _next(self) -> tuple[bytes, bytes] | None:
        """(type, text) of the next message, taken off the rest; the ones before the session have no type."""
        head = 1 if self._has_started else 0
        if len(self._rest) < head + 4:
            return None
        end = head + int.from_bytes(self._rest[head : head + 4], "big")
        if len(self._rest) < end:
            return None
        kind, text, self._rest = self._rest[:head], self._rest[head + 4 : end], self._rest[end:]
        if not self._has_started:
            self._has_started = int.from_bytes(text[:4], "big") not in (_CANCEL, _SSL, _GSS)
        return kind, text


_SUBSCRIBE: Final = b"\r\nSUBSCRIBE\r\n"


class SubscriptionSpotter:
    """Looks for the first SUBSCRIBE of a Redis client: it listens from then on."""

    def __init__(self) -> None:
        self._last = b""

    def spots(self, sent: bytes) -> bool:
        """See Spotter."""
        seen = self._last + sent
        self._last = seen[-len(_SUBSCRIBE) + 1 :]
        return _SUBSCRIBE in seen
