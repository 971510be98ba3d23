"""Durable sends over HTTP: 1 to 256 keep-alive connections, each with one POST /send_msg in flight.

All sessions are members of all conversations and go through them in turn; nobody listens. Connections are
made anew for each round, because a server closes those that are idle between rounds.
"""

from bench.load.http import connect
from bench.load.senders import Call, http_call, http_sender
from bench.plan import Case, Plan
from bench.sends_stage import BACK_ENDS, stage_on
from bench.stage import WARM_UP_SECONDS, Stage, send_figures

QUESTION = "How many durable sends a second over HTTP (POST /send_msg, 300 bytes, 8 conversations)?"

_CONNECTIONS = (1, 8, 64, 256)
_CONVERSATIONS = 8


async def run(plan: Plan) -> list[Case]:
    """One case for each back end and number of connections; their rounds take turns, so a drift meets all."""
    return [case for back_end in BACK_ENDS for case in await _on(back_end, plan)]


async def _on(back_end: str, plan: Plan) -> list[Case]:
    cases = {count: Case(f"{back_end}, {count} connection{'s' * (count > 1)}") for count in _CONNECTIONS}
    async with stage_on(back_end, plan) as on:
        sessions = [f"sender-{number}" for number in range(max(_CONNECTIONS))]
        tokens = await on.population.tokens(sessions)
        conversations = [await on.population.conversation(sessions) for _ in range(_CONVERSATIONS)]
        calls = [[http_call(conversation, token) for conversation in conversations] for token in tokens]
        for count in _CONNECTIONS:
            await _round(on, calls[:count], WARM_UP_SECONDS)
        for _ in range(plan.rounds):
            for count, case in cases.items():
                case.rounds.append(await _round(on, calls[:count], plan.seconds))
        await on.population.compare(dict.fromkeys(conversations, tokens[0]), on.receipts)
    return list(cases.values())


async def _round(on: Stage, calls: list[list[Call]], seconds: float) -> dict[str, float]:
    connections = [await on.guard(connect(on.server.port, on.alarm), "connecting") for _ in calls]
    senders = [http_sender(*pair, on.receipts) for pair in zip(connections, calls, strict=True)]
    figures = send_figures(*await on.send(senders, seconds))
    for connection in connections:
        connection.close()
    return figures
