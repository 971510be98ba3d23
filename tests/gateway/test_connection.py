"""One connection's rules: Seq order, waiting for a replay, ending once, and what becomes of a slow reader."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.connection import GRACE_SECONDS, HARD_FACTOR, Outbox
from gateway.wire import REPLACED, TOKEN_EXPIRED, TOO_SLOW, Bundle, Frame
from tests.gateway.in_process import Reader


def frame(number: int, seq: int) -> Frame:
    """A live message."""
    return Frame(b'{"MsgId":"%d.%d","Content":""}' % (number, seq), "message", number=number, seq=seq)


def given_messages(reader: Reader) -> list[str]:
    """What it was given, as ``number.seq``."""
    return [message["MsgId"] for message in reader.messages]


class Timer:
    """A call in the future that the test makes come."""

    def __init__(self, delay: float, call: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.delay, self.call, self.arguments = delay, call, arguments
        self.cancelled = False

    def cancel(self) -> None:
        """It will not come."""
        self.cancelled = True


class ManualLoop:
    """A loop's clock and timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        """The loop's clock."""
        return self.now

    def call_later(self, delay: float, call: Callable[..., None], *arguments: Any) -> Timer:
        """Remembers the call."""
        self.timers.append(Timer(delay, call, arguments))
        return self.timers[-1]

    def elapse(self, seconds: float) -> None:
        """What is due comes."""
        self.now += seconds
        due = [timer for timer in self.timers if timer.delay <= seconds]
        self.timers = [timer for timer in self.timers if timer.delay > seconds]
        for timer in due:
            if not timer.cancelled:
                timer.call(*timer.arguments)


class Congested(Reader):
    """A reader whose socket takes nothing until it is told to."""

    def __init__(self, outbox_bytes: int) -> None:
        super().__init__("alice")
        self.outbox_bytes = outbox_bytes
        self.waiting = 0
        self.clock = ManualLoop()
        self.loop = self.clock  # type: ignore[assignment]  # only its clock and timers are asked for

    @property
    def pending(self) -> int:
        """See Connection."""
        return self.waiting

    def fill(self, pending: int) -> None:
        """So much waits after a push."""
        self.waiting = pending
        self.watch_outbox()


async def test_live_messages_are_pushed_as_they_come() -> None:
    reader = Reader("alice")
    for item in (frame(1, 1), frame(2, 1), frame(1, 2)):
        reader.deliver(item)
    assert given_messages(reader) == ["1.1", "2.1", "1.2"]


async def test_what_the_client_has_already_is_not_pushed_again() -> None:
    reader = Reader("alice")
    reader.floors[1] = 2
    for seq in (1, 2, 3, 4):
        reader.deliver(frame(1, seq))
    assert given_messages(reader) == ["1.3", "1.4"]
    assert reader.floors == {}


async def test_while_it_replays_live_messages_of_all_conversations_wait_as_numbers() -> None:
    reader = Reader("alice")
    reader.behind[1] = 3
    for item in (frame(1, 9), frame(2, 5), frame(2, 6)):
        reader.deliver(item)
    assert reader.messages == []
    assert reader.behind == {1: 3, 2: 4}


async def test_after_the_replay_it_is_live_again() -> None:
    reader = Reader("alice")
    reader.behind[1] = 3
    reader.deliver(frame(2, 5))
    reader.behind.clear()
    reader.deliver(frame(2, 6))
    assert given_messages(reader) == ["2.6"]


async def test_a_conversation_that_was_left_is_neither_awaited_nor_held_back() -> None:
    reader = Reader("alice")
    reader.behind[1], reader.floors[1] = 3, 7
    reader.forget(1)
    reader.forget(2)
    reader.deliver(frame(2, 1))
    assert given_messages(reader) == ["2.1"]
    assert (reader.behind, reader.floors) == ({}, {})


@pytest.mark.parametrize("floor", [None, 1, 2, 9])
@pytest.mark.parametrize("behind", [None, 1, 2])
@pytest.mark.parametrize("ended", [False, True])
async def test_many_at_once_are_what_they_are_one_by_one(floor: int | None, behind: int | None, ended: bool) -> None:
    one_by_one, at_once = Reader("alice"), Reader("alice")
    for reader in (one_by_one, at_once):
        if floor is not None:
            reader.floors[1] = floor
        if behind is not None:
            reader.behind[behind] = 0
        reader.ended = ended
    frames = [frame(1, seq) for seq in (2, 3, 4)]
    for item in frames:
        one_by_one.deliver(item)
    at_once.deliver_all(Bundle(frames))
    assert at_once.received == one_by_one.received
    assert (at_once.behind, at_once.floors) == (one_by_one.behind, one_by_one.floors)


async def test_it_ends_once_and_for_the_first_reason() -> None:
    reader = Reader("alice")
    reader.end(REPLACED)
    reader.end(TOO_SLOW)
    assert reader.farewell is REPLACED
    reader.deliver(frame(1, 1))
    assert reader.received == []


async def test_it_ends_with_its_token() -> None:
    reader = Congested(1_000)
    reader.expire_at(1_060.0, 1_000.0, TOKEN_EXPIRED)
    assert [timer.delay for timer in reader.clock.timers] == [60.0]
    reader.clock.elapse(60)
    assert reader.farewell is TOKEN_EXPIRED


async def test_a_new_token_moves_its_end() -> None:
    reader = Congested(1_000)
    reader.expire_at(1_060.0, 1_000.0, TOKEN_EXPIRED)
    reader.expire_at(1_090.0, 1_000.0, TOKEN_EXPIRED)
    reader.clock.elapse(60)
    assert reader.farewell is None
    reader.clock.elapse(90)
    assert reader.farewell is TOKEN_EXPIRED


@pytest.mark.parametrize("when", [-5.0, 0.0, 1e18])
async def test_any_expiry_is_a_timer_that_a_loop_can_hold(when: float) -> None:
    reader = Reader("alice")
    reader.expire_at(when, 1_000.0, TOKEN_EXPIRED)
    reader.release()


async def test_a_released_connection_has_no_timers_left() -> None:
    reader = Congested(1_000)
    reader.expire_at(1_060.0, 1_000.0, TOKEN_EXPIRED)
    reader.release()
    reader.clock.elapse(100)
    assert reader.farewell is None
    assert reader.ended


async def test_a_burst_that_is_read_in_time_cuts_nobody() -> None:
    reader = Congested(1_000)
    reader.fill(1_500)
    reader.waiting = 400
    reader.clock.elapse(GRACE_SECONDS)
    assert reader.farewell is None
    reader.fill(1_500)
    assert len(reader.clock.timers) == 1, "it is looked at again"


async def test_who_stays_over_the_bound_is_cut() -> None:
    reader = Congested(1_000)
    reader.fill(1_000)
    assert reader.clock.timers == []
    reader.fill(1_001)
    reader.fill(1_500)
    assert len(reader.clock.timers) == 1
    reader.clock.elapse(GRACE_SECONDS)
    assert reader.farewell is TOO_SLOW


async def test_who_is_far_over_the_bound_is_cut_at_once() -> None:
    reader = Congested(1_000)
    reader.fill(1_000 * HARD_FACTOR)
    assert reader.farewell is None
    reader.fill(1_000 * HARD_FACTOR + 1)
    assert reader.farewell is TOO_SLOW


async def test_who_has_ended_is_not_cut_again() -> None:
    reader = Congested(1_000)
    reader.fill(1_500)
    reader.end(REPLACED)
    reader.clock.elapse(GRACE_SECONDS)
    reader.fill(1_000_000)
    assert reader.farewell is REPLACED


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=20), st.integers(1, 50)), max_size=40))
def test_an_outbox_gives_everything_once_in_order_and_knows_its_size(steps: list[bytes | int]) -> None:
    outbox, put, taken = Outbox(), b"", b""
    for step in steps:
        if isinstance(step, bytes):
            outbox.put(step)
            put += step
        else:
            chunk = outbox.take(step)
            assert bool(chunk) == (len(put) > len(taken))
            assert len(chunk) < step + 20
            taken += chunk
        assert outbox.size == len(put) - len(taken)
    assert taken + outbox.take(10_000) == put


async def test_a_waiting_reader_wakes_when_something_comes() -> None:
    outbox = Outbox()
    waiting = asyncio.create_task(outbox.wait(20))
    await asyncio.sleep(0)
    outbox.put(b"x")
    assert await waiting
    assert await outbox.wait(0)
    assert outbox.take(10) == b"x"


async def test_a_reader_that_waits_in_vain_is_told_so() -> None:
    assert not await Outbox().wait(0.01)


async def test_an_outbox_ends_after_its_last_chunk_and_takes_nothing_more() -> None:
    outbox = Outbox()
    outbox.put(b"one ")
    outbox.close(b"bye", drop=False)
    outbox.put(b"too late")
    outbox.close(b"twice", drop=False)
    assert outbox.closed
    assert await outbox.wait(0)
    assert outbox.take(100) == b"one bye"
    assert outbox.size == 0
    assert await outbox.wait(0)


async def test_who_is_cut_is_told_only_why() -> None:
    outbox = Outbox()
    outbox.put(b"what was not taken comes again by the cursor")
    waiting = asyncio.create_task(outbox.wait(20))
    outbox.close(b"bye", drop=True)
    assert await waiting
    assert (outbox.size, outbox.take(100)) == (3, b"bye")


async def test_a_writer_can_wait_until_all_was_taken() -> None:
    outbox = Outbox()
    assert await outbox.emptied(0)
    outbox.put(b"one")
    outbox.put(b"two")
    waiting = asyncio.create_task(outbox.emptied(20))
    await asyncio.sleep(0)
    assert outbox.take(1) == b"one"
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.take(1)
    assert await waiting


async def test_a_writer_does_not_wait_for_ever_nor_for_a_closed_outbox() -> None:
    outbox = Outbox()
    outbox.put(b"one")
    assert not await outbox.emptied(0.01)
    waiting = asyncio.create_task(outbox.emptied(20))
    await asyncio.sleep(0)
    outbox.close(b"bye", drop=True)
    outbox.take(100)
    assert not await waiting
