from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from random import Random

import pytest

from ibkr_connector.errors import ConnectorClosed, NotConnected, PacingTimeout
from ibkr_connector.resilience import Grant, Lane, Pacer, SlotRule, WindowRule
from ibkr_connector.resilience.rules import history, message
from ibkr_connector.resilience.waiter import AsyncPacer
from support.stepclock import StepClock, settle


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


@pytest.fixture
async def pacer(clock: StepClock) -> AsyncIterator[AsyncPacer]:
    shell = AsyncPacer(Pacer([WindowRule("messages", 2, 1.0), SlotRule("history-open", 1)]), clock)
    yield shell
    await shell.close()


ORDER = message(Lane.ORDERS)
BARS = history(contract="1", exchange="SMART", what_to_show="TRADES", identity="1", bar_seconds=60)


async def spend(pacer: AsyncPacer) -> Grant:
    grant = await pacer.acquire(ORDER)
    pacer.sent(grant)
    return grant


async def test_work_goes_at_once_while_there_is_room_and_then_waits_its_turn(
    pacer: AsyncPacer, clock: StepClock
) -> None:
    served: list[int] = []

    async def work(number: int) -> None:
        await spend(pacer)
        served.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(5)]
    await settle()
    assert served == [0, 1]
    await clock.step(0.999)
    assert served == [0, 1]
    await clock.step(0.001)
    assert served == [0, 1, 2, 3]
    await clock.step(1.0)
    await asyncio.gather(*tasks)
    assert served == [0, 1, 2, 3, 4]


async def test_waiting_does_not_poll(pacer: AsyncPacer, clock: StepClock) -> None:
    await spend(pacer)
    await spend(pacer)
    task = asyncio.create_task(spend(pacer))
    await settle()
    before = clock.naps
    for _ in range(9):
        await clock.step(0.1)
    assert clock.naps == before == 1
    await clock.step(0.2)
    await task


async def test_no_slot_before_the_deadline_fails_at_once_or_at_the_deadline(
    pacer: AsyncPacer, clock: StepClock
) -> None:
    held = await pacer.acquire(ORDER)
    await spend(pacer)
    with pytest.raises(PacingTimeout):
        await asyncio.gather(spend(pacer), pacer.acquire(ORDER, 0.0), pacer.acquire(message(Lane.ORDERS, units=2), 0.5))
    task = asyncio.create_task(pacer.acquire(message(Lane.ACCOUNT, units=2), 5.0))
    await clock.step(4.9)  # `held` is never written: only the deadline can end this
    assert not task.done()
    await clock.step(0.2)
    with pytest.raises(PacingTimeout, match="none came free"):
        await task
    pacer.give_back(held)


async def test_a_cancelled_waiter_leaves_nothing_behind(pacer: AsyncPacer, clock: StepClock) -> None:
    await spend(pacer)
    await spend(pacer)
    first, second = (asyncio.create_task(spend(pacer)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    assert sum(pacer.core.snapshot(clock.monotonic()).pending.values()) == 1
    await clock.step(1.0)
    await second
    assert pacer._waiters == {}


async def test_the_last_waiter_to_leave_calls_the_alarm_off(pacer: AsyncPacer) -> None:
    await spend(pacer)
    await spend(pacer)
    task = asyncio.create_task(spend(pacer))
    await settle()
    alarm = pacer._alarm
    task.cancel()
    await settle()
    assert pacer._alarm is None
    assert alarm is not None
    assert alarm.cancelled()


async def test_a_waiter_cancelled_in_the_iteration_of_its_grant_gives_it_back(
    pacer: AsyncPacer, clock: StepClock
) -> None:
    held = [await pacer.acquire(ORDER) for _ in range(2)]
    task = asyncio.create_task(pacer.acquire(ORDER))
    await settle()
    pacer.give_back(held[0])  # grants to the task, which has not run yet
    assert pacer.core.snapshot(0.0).granted == 3
    task.cancel()
    await settle()
    assert task.cancelled()
    assert pacer.core.snapshot(0.0).held == 1
    await asyncio.wait_for(pacer.acquire(ORDER), 1)


async def test_a_waiter_cancelled_just_before_its_grant_gives_it_back(pacer: AsyncPacer, clock: StepClock) -> None:
    held = [await pacer.acquire(ORDER) for _ in range(2)]
    task = asyncio.create_task(pacer.acquire(ORDER))
    await settle()
    task.cancel()
    pacer.give_back(held[0])  # the core does not know of the cancel yet
    await settle()
    assert task.cancelled()
    assert pacer.core.snapshot(0.0).held == 1


async def test_a_slot_counts_as_written_at_the_end_of_its_block_also_with_an_error(
    pacer: AsyncPacer, clock: StepClock
) -> None:
    async with pacer.slot(ORDER):
        await clock.step(50.0)
    assert pacer.core.snapshot(50.5).used["messages"] == 1
    with pytest.raises(ValueError, match="maybe written"):
        async with pacer.slot(ORDER):
            raise ValueError("maybe written")
    assert pacer.core.snapshot(50.5).used["messages"] == 2
    assert pacer.core.snapshot(50.5).held == 0


async def test_a_slot_can_say_when_it_was_written_and_holds_the_open_request_until_its_end(
    pacer: AsyncPacer, clock: StepClock
) -> None:
    async with pacer.slot(BARS) as slot:
        slot.sent()
        await clock.step(5.0)
        used = pacer.core.snapshot(5.0).used
        assert used == {"messages": 0, "history-open": 1}
        waiting = asyncio.create_task(pacer.acquire(BARS))
        await settle()
        assert not waiting.done()
    await settle()
    grant = await waiting
    pacer.sent(grant)
    pacer.done(grant)
    assert pacer.core.snapshot(5.0).used["history-open"] == 0


async def test_an_unused_slot_costs_nothing(pacer: AsyncPacer) -> None:
    async with pacer.slot(BARS) as slot:
        slot.unused()
    assert set(pacer.core.snapshot(0.0).used.values()) == {0}


async def test_a_slot_has_no_grant_outside_its_block(pacer: AsyncPacer) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        pacer.slot(ORDER).sent()


async def test_a_grant_that_is_written_at_last_starts_the_clock_for_who_waits(
    pacer: AsyncPacer, clock: StepClock
) -> None:
    held = [await pacer.acquire(ORDER) for _ in range(2)]
    task = asyncio.create_task(pacer.acquire(ORDER))
    await clock.step(100.0)
    assert not task.done()
    pacer.sent(held[0])
    await clock.step(1.0)
    assert task.done()


async def test_a_lost_link_fails_everything_that_waits(pacer: AsyncPacer, clock: StepClock) -> None:
    await spend(pacer)
    await spend(pacer)
    tasks = [asyncio.create_task(spend(pacer)) for _ in range(3)]
    await settle()
    tasks[0].cancel()
    assert pacer.fail_pending(lambda work: NotConnected("gone")) == 3
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert all(isinstance(result, NotConnected) for result in results[1:])
    assert pacer.core.next_wake(0.0) == math.inf
    assert pacer._alarm is None
    assert pacer.fail_pending(lambda work: NotConnected("gone")) == 0


async def test_a_grant_on_its_way_is_not_failed_with_the_rest(pacer: AsyncPacer) -> None:
    held = [await pacer.acquire(ORDER) for _ in range(2)]
    task = asyncio.create_task(pacer.acquire(ORDER))
    await settle()
    pacer.give_back(held[0])
    assert pacer.fail_pending(lambda work: NotConnected("gone")) == 0
    assert isinstance(await task, Grant)


async def test_close_fails_waiters_ends_the_alarm_and_refuses_more(clock: StepClock) -> None:
    pacer = AsyncPacer(Pacer([WindowRule("messages", 1, 1.0)]), clock)
    await spend(pacer)
    task = asyncio.create_task(spend(pacer))
    await settle()
    alarm = pacer._alarm
    assert alarm is not None
    await pacer.close()
    await pacer.close()
    assert alarm.done()
    with pytest.raises(ConnectorClosed):
        await task
    with pytest.raises(ConnectorClosed, match="orders"):
        await pacer.acquire(ORDER)


async def test_random_cancellation_loses_no_grant_and_starves_nobody(clock: StepClock) -> None:
    pacer = AsyncPacer(Pacer([WindowRule("messages", 3, 1.0, reserve=1)]), clock)
    rng = Random(7)
    done: list[int] = []

    async def work(number: int) -> None:
        async with pacer.slot(message(rng.choice(list(Lane)), caller=str(number % 3))):
            await asyncio.sleep(0)
        done.append(number)

    tasks: list[asyncio.Task[None]] = []
    for number in range(200):
        tasks.append(asyncio.create_task(work(number)))
        if rng.random() < 0.3:
            rng.choice(tasks).cancel()
        if rng.random() < 0.2:
            await clock.step(rng.random())
    while not all(task.done() for task in tasks):
        await clock.step(1.0)
    shown = pacer.core.snapshot(clock.monotonic())
    assert shown.held == 0
    assert sum(shown.pending.values()) == 0
    assert len(done) == sum(not task.cancelled() for task in tasks)
    assert pacer._waiters == {}
    await pacer.close()


async def test_what_nobody_waits_for_is_written_in_its_turn_before_later_lanes(
    pacer: AsyncPacer, clock: StepClock
) -> None:
    written: list[str] = []

    def write(name: str) -> bool:
        written.append(name)
        return True

    async def quote() -> None:
        async with pacer.slot(message(Lane.MARKET)):
            written.append("quote")

    for name in "abc":
        pacer.write_soon(message(Lane.ACCOUNT), lambda name=name: write(name))  # type: ignore[misc]
    assert written == ["a", "b"], "at once while there is room"
    waiting = asyncio.create_task(quote())
    await clock.step(0.999)
    assert written == ["a", "b"]
    await clock.step(0.001)
    await waiting
    assert written == ["a", "b", "c", "quote"]


async def test_what_turns_out_to_be_needless_costs_nothing(pacer: AsyncPacer, clock: StepClock) -> None:
    for _ in range(5):
        pacer.write_soon(ORDER, lambda: False)
    assert pacer.core.snapshot(clock.monotonic()).used["messages"] == 0
    await spend(pacer)
    await spend(pacer)
    pacer.write_soon(ORDER, lambda: False)
    last = asyncio.create_task(spend(pacer))
    await clock.step(1.0)
    await last
    assert pacer.core.snapshot(clock.monotonic()).used["messages"] == 1


async def test_close_writes_nothing_that_still_waited(clock: StepClock) -> None:
    shell = AsyncPacer(Pacer([WindowRule("messages", 1, 1.0)]), clock)
    await spend(shell)
    shell.write_soon(ORDER, lambda: pytest.fail("written after the close"))
    await shell.close()
    shell.write_soon(ORDER, lambda: pytest.fail("written after the close"))
    await settle()
    assert shell.core.snapshot(clock.monotonic()).pending["orders"] == 0
