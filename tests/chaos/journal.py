"""A history as a file of JSON lines, in the order in which things happened, and back."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.chaos import history as kinds
from tests.chaos.history import History

_KIND_OF: Final[dict[str, type[Any]]] = {
    "sends": kinds.Send,
    "attempts": kinds.Attempt,
    "deliveries": kinds.Delivery,
    "connections": kinds.Connection,
    "pages": kinds.Page,
    "memberships": kinds.Membership,
    "rows": kinds.Row,
    "histories": kinds.Histories,
    "faults": kinds.Fault,
    "censuses": kinds.Census,
    "samples": kinds.Sample,
    "stalls": kinds.Stall,
    "complaints": kinds.Complaint,
}
_BEGINS: Final = ("at", "invoked", "began", "opened")


def write(history: History, path: Path) -> None:
    """A line for each event; what has no time of the harness's comes last, with marks and counts."""
    lines = sorted(_lines(history), key=itemgetter(0))
    with path.open("wb") as file:
        for _, line in lines:
            file.write(msgspec.json.encode(line) + b"\n")


def read(path: Path) -> History:
    """The history that was written."""
    found: dict[str, Any] = defaultdict(list)
    with path.open("rb") as file:
        for text in file:
            line = msgspec.json.decode(text)
            name = line.pop("event")
            if name in _KIND_OF:
                # JSON knows no infinity: a connection that never closed.
                line = {
                    key: float("inf") if key == "closed" and value is None else value for key, value in line.items()
                }
                found[name].append(msgspec.convert(line, _KIND_OF[name]))
            else:
                found[name] = line
    return History(**found)


def _lines(history: History) -> Iterator[tuple[float, dict[str, Any]]]:
    for field in fields(history):
        value = getattr(history, field.name)
        if field.name not in _KIND_OF:
            yield float("inf"), {"event": field.name, **value}
            continue
        for event in value:
            line = msgspec.to_builtins(event)
            begin = next((line[name] for name in _BEGINS if name in line), float("inf"))
            yield begin, {"event": field.name, **line}
