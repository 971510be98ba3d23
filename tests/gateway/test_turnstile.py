"""A crowd that connects passes a few at a time, in the order in which it came, and others have their turns between."""

import asyncio

import pytest

from gateway.turnstile import PER_TURN, Turnstile

pytestmark = pytest.mark.asyncio


async def turns_of(count: int, *, cancelled: int = 0) -> list[int]:
    """In which turn of the loop each of ``count`` passed; the first ``cancelled`` of those in line went away."""
    turnstile, turn, passed = Turnstile(), 0, dict[int, int]()

    async def visit(number: int) -> None:
        await turnstile.enter()
        passed[number] = turn

    visits = [asyncio.create_task(visit(number)) for number in range(count)]
    await asyncio.sleep(0)
    for task in visits[PER_TURN : PER_TURN + cancelled]:
        task.cancel()
    while not all(task.done() for task in visits):
        turn += 1
        await asyncio.sleep(0)
    assert list(passed) == sorted(passed)
    return list(passed.values())


async def test_few_wait_for_nothing() -> None:
    assert await turns_of(PER_TURN) == [0] * PER_TURN


async def test_of_many_so_many_pass_in_a_turn() -> None:
    turns = await turns_of(PER_TURN * 10 + 1)
    assert len(turns) == PER_TURN * 10 + 1
    assert max(turns.count(turn) for turn in set(turns)) == PER_TURN


async def test_who_went_away_takes_no_turn() -> None:
    assert len(await turns_of(PER_TURN * 3, cancelled=PER_TURN)) == PER_TURN * 2
