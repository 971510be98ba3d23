"""Clients of the wire contract as an integrator would write them, for the black-box tests.

Law: they know what the wire contract promises and nothing of the server's code; they check what they read
strictly and never repair it.
"""

from tests.clients.api import CODES, Answer, Api
from tests.clients.listener import Ending, Listener, Message, Notice, RefusedError
from tests.clients.people import LISTENERS, Person, Protoc, fresh
from tests.clients.protocols import PollListener, SseListener, WsListener
from tests.clients.tokens import JWT_KEYS, mint

__all__ = [
    "CODES",
    "JWT_KEYS",
    "LISTENERS",
    "Answer",
    "Api",
    "Ending",
    "Listener",
    "Message",
    "Notice",
    "Person",
    "PollListener",
    "Protoc",
    "RefusedError",
    "SseListener",
    "WsListener",
    "fresh",
    "mint",
]
