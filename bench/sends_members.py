"""End to end: sends over WebSocket into conversations of ten members, all connected, until the last of them has the
message. Senders have one call in flight each; a round ends when every member has every message.
"""

from bench.plan import Case, Plan
from bench.sends_stage import BACK_ENDS, MEMBERS, Rooms, stage_on
from bench.stage import WARM_UP_SECONDS, send_figures

QUESTION = "How many durable sends a second into conversations of 10 members (300 bytes), and how soon has the last it?"

_SENDERS = (16, 64, 128)


async def run(plan: Plan) -> list[Case]:
    """One case for each back end and number of senders."""
    return [case for back_end in BACK_ENDS for case in await _on(back_end, plan)]


async def _on(back_end: str, plan: Plan) -> list[Case]:
    cases = {count: Case(f"{back_end}, {count} senders") for count in _SENDERS}
    async with stage_on(back_end, plan) as on:
        rooms = Rooms(on)
        await rooms.open()
        await on.send(rooms.senders[: max(_SENDERS)], WARM_UP_SECONDS, rooms.tally, MEMBERS)
        for _ in range(plan.rounds):
            for count, case in cases.items():
                rooms.clock.restart()
                figures = send_figures(*await on.send(rooms.senders[:count], plan.seconds, rooms.tally, MEMBERS))
                case.rounds.append(figures | rooms.clock.figures())
        await rooms.close()
    return list(cases.values())
