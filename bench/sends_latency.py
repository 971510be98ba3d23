"""How soon a message arrives at a moderate pace: sends over WebSocket into conversations of ten members, at a fixed
number a second whatever the server does, until the last of the ten has it.
"""

import asyncio
from itertools import cycle

from bench.alarm import BenchmarkError
from bench.load.senders import Round, Sender
from bench.meter import Meter
from bench.plan import Case, Plan
from bench.sends_stage import BACK_ENDS, MEMBERS, Rooms, stage_on
from bench.stage import WARM_UP_SECONDS

QUESTION = "How long from a send to the last of 10 members (300 bytes), at a fixed number of sends a second?"

_PACES = (100, 1_000)


async def run(plan: Plan) -> list[Case]:
    """One case for each back end and pace."""
    return [case for back_end in BACK_ENDS for case in await _on(back_end, plan)]


async def _on(back_end: str, plan: Plan) -> list[Case]:
    cases = {pace: Case(f"{back_end}, {pace:,} sends/s") for pace in _PACES}
    async with stage_on(back_end, plan) as on:
        rooms = Rooms(on)
        await rooms.open()
        await _paced(rooms, max(_PACES), WARM_UP_SECONDS)
        for _ in range(plan.rounds):
            for pace, case in cases.items():
                case.rounds.append(await _paced(rooms, pace, plan.seconds))
        await rooms.close()
    return list(cases.values())


async def _paced(rooms: Rooms, pace: int, seconds: float) -> dict[str, float]:
    on, loop = rooms.on, asyncio.get_running_loop()
    rooms.clock.restart()
    meter, due = Meter(on.server, on.backing), rooms.tally.received
    rounds: list[Round] = []
    latest: dict[Sender, Round] = {}
    turns = cycle(rooms.senders)
    begin = loop.time()
    for number in range(int(pace * seconds)):
        # As many as are due: a timer that comes late must not lower the pace.
        if (pause := begin + number / pace - loop.time()) > 0:
            await asyncio.sleep(pause)
        sender = next(turns)
        if sender in latest and not latest[sender].latencies:
            raise BenchmarkError("the pace is too fast: a sender still waits for his answer when his next turn comes")
        latest[sender] = round_ = Round(0)
        rounds.append(round_)
        sender.start(round_)
    for round_ in rounds:
        await on.guard(round_.finished(), "waiting for the answers")
    await on.guard(rooms.tally.reaching(due + MEMBERS * len(rounds)), "waiting for the deliveries")
    return rooms.clock.figures() | meter.cost().rates(len(rounds), "sends")
