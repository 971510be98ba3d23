"""How large a peer's play is; the same for all of them."""

SENDERS = 64
"""Of durable sends, each with one call in flight."""
ROOMS = 8
"""Conversations that senders over HTTP share."""
LISTENERS = 500
TALKERS = 8
"""Who sends to the listeners."""
