"""Facts, in the past tense, told after they are committed, to whoever subscribed at start (the gateway does).

Law: a fact may get lost (the process dies between commit and telling); nothing but speed may depend on it.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

MAX_NAMED_SESSIONS = 100
"""How many sessions a joined or left notice to the other members names at most."""


@dataclass(frozen=True, slots=True)
class ConversationChanged:
    """Members joined or left, or the state changed; ``event`` is the notice's name, ``version`` the new
    member_version, ``at`` its time in microseconds. ``sessions`` holds all who joined or left."""

    number: int
    conversation_id: str
    conversation_type: int
    event: str
    version: int
    at: int
    member_count: int
    sessions: tuple[str, ...] = ()


Listener = Callable[[Any], None]
_listeners: list[Listener] = []


def subscribe(listener: Listener) -> None:
    """Call ``listener`` with every later fact, on the thread that committed it; it must return at once."""
    if listener not in _listeners:
        _listeners.append(listener)


def announce(fact: Any) -> None:
    """Tell ``fact``, which is committed; a listener's failure is logged and concerns nobody else."""
    for listener in _listeners:
        try:
            listener(fact)
        except Exception:
            logger.exception(
                "A fact could not be passed on; the sweep will find it. Report this as a bug, with its lines."
            )
