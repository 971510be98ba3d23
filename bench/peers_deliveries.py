"""Deliveries to 500 connections, beside other systems: each row's peer started by us on the server's core.

One sender, or eight, with one message in flight each; the next one goes out when the last was acknowledged and the
listeners are at most eight messages behind, so no peer is driven into overflow. quickim commits every message before
the first listener has it, as Channels with the ORM and django-eventstream do; Nchan and Socket.IO store nothing.
"""

from bench.peers import nchan, plain_django, quickim, socketio
from bench.peers.measuring import Opening, beside_quickim
from bench.plan import Case, Plan

QUESTION = "How many deliveries a second to 500 connections, beside other systems (300 bytes)?"

_PEERS: dict[str, tuple[Opening, dict[str, Opening]]] = {
    "WebSocket": (
        quickim.deliveries_over_websocket,
        {
            "Nchan": nchan.deliveries(nchan.websocket),
            "Socket.IO": socketio.deliveries,
            "Channels + ORM": plain_django.channels_deliveries,
        },
    ),
    "SSE": (
        quickim.deliveries_over_sse,
        {"Nchan": nchan.deliveries(nchan.sse), "django-eventstream": plain_django.eventstream_deliveries},
    ),
    "long poll": (quickim.deliveries_over_poll, {"Nchan": nchan.deliveries(nchan.poll)}),
}


async def run(plan: Plan) -> list[Case]:
    """For each protocol quickim, and the peers that speak it."""
    return await beside_quickim(_PEERS, plan)
