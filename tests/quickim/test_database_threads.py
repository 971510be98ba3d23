"""Work beside the event loop: each piece is done once and answered; what takes long holds up nothing for long."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from quickim import database
from quickim.database import THREADS, in_database, workload
from quickim.errors import Unavailable

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db]


@asynccontextmanager
async def stuck(count: int) -> AsyncIterator[None]:
    """So many threads are busy until the block ends."""
    begun, release = threading.Semaphore(0), threading.Event()

    def wait() -> None:
        begun.release()
        assert release.wait(30)

    tasks = [asyncio.create_task(in_database(wait)) for _ in range(count)]
    try:
        for _ in range(count):
            assert await asyncio.get_running_loop().run_in_executor(None, partial(begun.acquire, timeout=30))
        yield
    finally:
        release.set()
        await asyncio.gather(*tasks)


async def test_everybody_gets_his_own_answer() -> None:
    answers = await asyncio.gather(*(in_database(pow, number, 2) for number in range(500)))
    assert answers == [number * number for number in range(500)]


async def test_a_failure_is_only_its_own() -> None:
    answers = await asyncio.gather(*(in_database(divmod, 7, number % 2) for number in range(6)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ZeroDivisionError, tuple] * 3


async def test_what_takes_long_holds_up_nobody_while_there_are_threads() -> None:
    async with stuck(THREADS - 1):
        assert await in_database(str, "passes") == "passes"


async def test_all_threads_may_be_busy_and_what_waits_is_done_then() -> None:
    async with stuck(THREADS):
        waiting = asyncio.create_task(in_database(str, "at last"))
        await asyncio.sleep(0)
        assert workload() == (THREADS, 1)
    assert await waiting == "at last"


async def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    begun = list[int]()
    async with stuck(THREADS):
        waiting = asyncio.create_task(in_database(begun.append, 1))
        await asyncio.sleep(0)
        waiting.cancel()
    await in_database(str, "after it")
    assert begun == []


async def test_too_long_a_line_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stuck(THREADS):
        monkeypatch.setattr(database, "MAX_WAITING", 2)
        waiting = [asyncio.create_task(in_database(str, number)) for number in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await in_database(str, "one too many")
    assert await asyncio.gather(*waiting) == ["0", "1"]
