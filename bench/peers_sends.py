"""Durable sends beside other systems: each row's peer started by us on the server's core, with its database and Redis.

Sixty-four senders (eight for Synapse), each with one call in flight. Peers stand beside quickim on the same protocol,
and on the same database where they have one. What a peer does not do for a send stands in its module: most check no
token or membership, and number nothing.
"""

from bench.peers import nats, plain_django, pocketbase, prosody, quickim, synapse
from bench.peers.measuring import Opening, beside_quickim
from bench.plan import Case, Plan
from bench.sends_stage import POSTGRESQL, SQLITE

QUESTION = "How many durable sends a second, beside other systems (300 bytes, 64 senders)?"


_PEERS: dict[str, tuple[Opening, dict[str, Opening]]] = {
    "socket, own storage": (
        quickim.sends_over_websocket(SQLITE),
        {"NATS JetStream": nats.sends, "Prosody": prosody.sends},
    ),
    "HTTP, SQLite": (
        quickim.sends_over_http(SQLITE),
        {"PocketBase": pocketbase.sends, "Synapse, 8 senders": synapse.sends},
    ),
    "WebSocket, PostgreSQL": (
        quickim.sends_over_websocket(POSTGRESQL),
        {"Channels + ORM": plain_django.channels_sends},
    ),
    "HTTP, PostgreSQL": (
        quickim.sends_over_http(POSTGRESQL),
        {"django-eventstream": plain_django.eventstream_sends},
    ),
}


async def run(plan: Plan) -> list[Case]:
    """For each protocol and database quickim, and the peers beside it."""
    return await beside_quickim(_PEERS, plan)
