"""How often the same thing is written: no storm of refusals may fill a disk, or hide what else is said.

Law: of lines with the same logger, level, template and kind of exception, the first ``SAME_A_MINUTE`` of a minute are
written; of one logger and level, whatever they say, ``ALL_A_MINUTE``. What is held back is counted, and told with the
next one that is written.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable

SAME_A_MINUTE = 20
ALL_A_MINUTE = 200
WINDOW_SECONDS = 60.0
MAX_KINDS = 1_000
NOTE = "quickim_note"
"""The attribute of a record with what is to be added to its message."""


class _Window:
    __slots__ = ("began", "count")

    def __init__(self, began: float) -> None:
        self.began, self.count = began, 0


class Limit(logging.Filter):
    """For a handler. ``exempt``: a logger whose lines are all wanted."""

    def __init__(self, exempt: str = "") -> None:
        super().__init__()
        self._exempt = exempt
        self._lock = threading.Lock()
        self._windows: OrderedDict[Hashable, _Window] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether ``record`` is written."""
        if record.name == self._exempt:
            return True
        kind = record.exc_info[0] if record.exc_info else None
        same, everything = (record.name, record.levelno, str(record.msg), kind), (record.name, record.levelno)
        now = time.monotonic()
        with self._lock:
            note = self._note(same, SAME_A_MINUTE, now)
            more = None if note is None else self._note(everything, ALL_A_MINUTE, now)
        if note is None or more is None:
            return False
        setattr(record, NOTE, note + more)
        return True

    def _note(self, key: Hashable, limit: int, now: float) -> str | None:
        """None: it is held back."""
        window = self._windows.pop(key, None) or _Window(now)
        held_back = 0
        if now - window.began >= WINDOW_SECONDS:
            held_back, window = max(0, window.count - limit), _Window(now)
        self._windows[key] = window
        if len(self._windows) > MAX_KINDS:
            self._windows.popitem(last=False)
        window.count += 1
        if window.count > limit:
            return None
        if window.count == limit:
            return " (More like this are not written for up to a minute.)"
        return f" ({held_back} more like this were not written before.)" if held_back else ""
