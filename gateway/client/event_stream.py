"""``text/event-stream``, cut into the data of its events. Pure."""

import re

_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


class EventStreamParser:
    """Fed with bytes as they come, cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that ``chunk`` completes."""
        *lines, self._rest = _LINE_END.split(self._rest + chunk)
        found = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                found.append(b"\n".join(self._data))
                self._data = []
        return found
