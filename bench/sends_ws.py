"""Durable sends over WebSocket: 1 to 256 connections, each with one ``send_msg`` call in flight.

Every session is alone in a conversation of its own, so a send costs one answer and one push, of the message
to its sender's own connection, and no fan-out. All connections stay open in every round; only some of them
send.
"""

from bench.load.senders import websocket_call, websocket_sender
from bench.load.streams import MemberStream, Tally, connect
from bench.plan import Case, Plan
from bench.sends_stage import BACK_ENDS, stage_on
from bench.stage import WARM_UP_SECONDS, send_figures

QUESTION = "How many durable sends a second over WebSocket (send_msg calls, 300 bytes, a conversation each)?"

_CONNECTIONS = (1, 8, 64, 256)


async def run(plan: Plan) -> list[Case]:
    """One case for each back end and number of senders; their rounds take turns, so a drift meets all."""
    return [case for back_end in BACK_ENDS for case in await _on(back_end, plan)]


async def _on(back_end: str, plan: Plan) -> list[Case]:
    cases = {count: Case(f"{back_end}, {count} connection{'s' * (count > 1)}") for count in _CONNECTIONS}
    async with stage_on(back_end, plan) as on:
        sessions = [f"sender-{number}" for number in range(max(_CONNECTIONS))]
        tokens = await on.population.tokens(sessions)
        conversations = [await on.population.conversation([session]) for session in sessions]
        tally = Tally()
        streams = [MemberStream(on.alarm, token, tally) for token in tokens]
        for stream in streams:
            await on.guard(connect(on.server.port, stream), "connecting")
        senders = [
            websocket_sender(stream, [websocket_call(conversation)], on.receipts)
            for stream, conversation in zip(streams, conversations, strict=True)
        ]
        for count in _CONNECTIONS:
            await on.send(senders[:count], WARM_UP_SECONDS, tally, deliveries_per_send=1)
        for _ in range(plan.rounds):
            for count, case in cases.items():
                sent = await on.send(senders[:count], plan.seconds, tally, deliveries_per_send=1)
                case.rounds.append(send_figures(*sent))
        await on.population.compare(dict(zip(conversations, tokens, strict=True)), on.receipts)
        for stream in streams:
            stream.close()
    return list(cases.values())
