"""A strict parser of ``text/event-stream``: what is tolerated but not to be sent fails here."""

import re
from dataclasses import dataclass
from typing import Final

_LINE_END: Final = re.compile(rb"\r\n|\n|\r(?!\Z)")


@dataclass(frozen=True)
class ServerSentEvent:
    """One dispatched event. ``identity`` is the ``id`` it carried itself, None when it had none."""

    name: str
    data: bytes
    identity: str | None


class EventStreamParser:
    """Fed with bytes as they come, split anywhere; gives the events completed by them.

    Only the line ends of the standard end a line (not U+2028 or U+0085). Unknown fields, events without data
    and lines that are no UTF-8 raise ValueError.
    """

    def __init__(self) -> None:
        self.comments = 0
        self.keep_alives = 0
        self.retry_milliseconds: int | None = None
        self._rest = b""
        self._fields: dict[str, bytes] = {}
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Takes the next bytes; returns the events they complete."""
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: bytes) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        line.decode("utf-8")
        if line.startswith(b":"):
            self.comments += 1
            return None
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name in (b"event", b"id"):
            if name.decode() in self._fields:
                raise ValueError(f"{name!r} twice in one event")
            self._fields[name.decode()] = value
        elif name == b"retry":
            self.retry_milliseconds = int(value)
        else:
            raise ValueError(f"unknown field {name!r}")
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        fields, data = self._fields, self._data
        self._fields, self._data = {}, []
        if not fields and not data:
            return None
        if not data:
            raise ValueError(f"an event without data: {fields}")
        identity = fields.get("id")
        return ServerSentEvent(
            fields.get("event", b"message").decode(),
            b"\n".join(data),
            None if identity is None else identity.decode(),
        )
