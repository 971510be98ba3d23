"""A client of quickim for Python: ``async with Client(url, token) as client``, or ``SyncClient`` in scripts.

It knows the wire and nothing of the server's code: it needs no settings and no database, and may be used anywhere.
"""

from gateway.client.client import Client
from gateway.client.errors import CallFailed, ClientError, Closed, ConnectionEnded, QueueFull, UnexpectedAnswer
from gateway.client.events import (
    Event,
    Message,
    MessageCame,
    Notice,
    NoticeCame,
    Protocol,
    Reset,
    State,
    StateChanged,
    Trouble,
)
from gateway.client.options import Options
from gateway.client.sync import SyncClient

__all__ = [
    "CallFailed",
    "Client",
    "ClientError",
    "Closed",
    "ConnectionEnded",
    "Event",
    "Message",
    "MessageCame",
    "Notice",
    "NoticeCame",
    "Options",
    "Protocol",
    "QueueFull",
    "Reset",
    "State",
    "StateChanged",
    "SyncClient",
    "Trouble",
    "UnexpectedAnswer",
]
