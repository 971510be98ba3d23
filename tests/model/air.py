"""The channel layer of the model: it carries envelopes between processes, and loses them, holds them back, tells them
late, twice and in any order, as the test says.

Law: what it loses or holds back, its listeners have missed (``Listener.missed``), so that the model knows who can not
be up to date before he sweeps.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from gateway.layer import Layer

Way = Literal["open", "lost", "held"]
"""What becomes of an envelope between two processes."""


class Listener(Protocol):
    """A process that hears others."""

    def hear(self, kind: str, payload: Any) -> None:
        """An envelope arrives."""

    def missed(self) -> None:
        """An envelope does not arrive, or not now."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """An envelope that is still to arrive."""

    listener: Listener
    kind: str
    payload: Any


class Air:
    """See the module."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.held: list[Held] = []
        self._ways: dict[tuple[object, Listener], Way] = {}
        self._usual: Way = "open"
        self._now: Way = "open"

    def leave(self, listener: Listener) -> None:
        """Nothing arrives at ``listener`` any more."""
        self.listeners.remove(listener)
        self.held = [one for one in self.held if one.listener is not listener]

    def set_way(self, speaker: object, listener: Listener, way: Way) -> None:
        """From now on, in this one direction."""
        self._ways[speaker, listener] = way

    def silence(self) -> None:
        """Nobody hears anybody any more."""
        self._usual = "lost"

    def heal(self) -> None:
        """All ways are open; what is held back still is."""
        self._ways.clear()
        self._usual = "open"

    @contextmanager
    def everywhere(self, way: Way) -> Iterator[None]:
        """What is told inside goes this way, unless a longer trouble makes it worse."""
        before, self._now = self._now, way
        try:
            yield
        finally:
            self._now = before

    def carry(self, speaker: object, kind: str, payload: Any) -> None:
        """``speaker`` publishes."""
        text = json.dumps(payload)
        for listener in self.listeners:
            if listener is speaker:
                continue
            way = self._ways.get((speaker, listener), self._usual)
            way = self._now if way == "open" else way
            if way == "open":
                listener.hear(kind, json.loads(text))
                continue
            listener.missed()
            if way == "held":
                self.held.append(Held(listener, kind, json.loads(text)))

    def tell(self, choice: int, *, again: bool) -> None:
        """One of the held envelopes arrives; ``again``: and is kept, to arrive once more."""
        if self.held:
            position = choice % len(self.held)
            held = self.held[position] if again else self.held.pop(position)
            held.listener.hear(held.kind, held.payload)

    def nobody_heard(self) -> None:
        """Something was committed that is never announced."""
        for listener in self.listeners:
            listener.missed()


class AirLayer(Layer):
    """The layer as one process sees it: publishing goes into the air."""

    def __init__(
        self, air: Air, speaker: object, on_envelope: Callable[[str, Any], None], on_loss: Callable[[], None]
    ) -> None:
        super().__init__(on_envelope, on_loss)
        self.is_shared = True
        self._air = air
        self._speaker = speaker

    def publish(self, kind: str, key: int, payload: Any) -> None:
        """See Layer."""
        self._air.carry(self._speaker, kind, payload)

    def publish_batch(
        self, kind: str, items: Iterable[tuple[int, Any]], traces: Iterable[tuple[int, str, str]] = ()
    ) -> None:
        """See Layer."""
        self._air.carry(self._speaker, kind, [item for _, item in items])
