"""Deliveries to 500 WebSockets: the members of one conversation, some of whom send over their connection.

Each sender has one call in flight. With one sender every message is a commit and a write to each socket of
its own; with eight, messages that wait together may be committed and written together.
"""

from bench.load.senders import websocket_call, websocket_sender
from bench.load.streams import Chunks, CrowdStream, Tally, connect
from bench.plan import Case, Plan
from bench.stage import WARM_UP_SECONDS, stage

QUESTION = "How many deliveries a second to the 500 WebSockets of a conversation's members (300 bytes)?"

_MEMBERS = 500
_SENDERS = (1, 8)


async def run(plan: Plan) -> list[Case]:
    """One case for each number of senders."""
    cases = {count: Case(f"{count} sender{'s' * (count > 1)}") for count in _SENDERS}
    async with stage(plan) as on:
        sessions = [f"member-{number}" for number in range(_MEMBERS)]
        tokens = await on.population.tokens(sessions)
        conversation = await on.population.conversation(sessions)
        tally, chunks = Tally(), Chunks()
        streams = [CrowdStream(on.alarm, token, tally, chunks) for token in tokens]
        for stream in streams:
            await on.guard(connect(on.server.port, stream), "connecting")
        # The last ones: a hub that goes through its members in order has then served the others before.
        senders = [
            websocket_sender(stream, [websocket_call(conversation)], on.receipts)
            for stream in streams[-max(_SENDERS) :]
        ]
        for count in _SENDERS:
            await on.send(senders[:count], WARM_UP_SECONDS, tally, _MEMBERS)
        for _ in range(plan.rounds):
            for count, case in cases.items():
                cost, round_ = await on.send(senders[:count], plan.seconds, tally, _MEMBERS)
                sends = {"sends/s": len(round_.latencies) / cost.wall}
                case.rounds.append(cost.rates(_MEMBERS * len(round_.latencies), "deliveries") | sends)
        await on.population.compare({conversation: tokens[0]}, on.receipts)
        for stream in streams:
            stream.close()
    return list(cases.values())
