"""Pace and breakers around orders: what counts is when messages were written, however long the disk takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from ibkr_connector.config.settings import BreakerSettings, ConnectionSettings, PacingSettings
from ibkr_connector.errors import JournalUnwritable, NotConnected, OrderNotSent
from ibkr_connector.resilience import Lane
from ibkr_connector.session.guard import Guard, HeldSlot
from ibkr_connector.session.lane import OrderLane, Written
from support.stepclock import StepClock, settle

PER_SECOND = 50


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


@pytest.fixture
async def guard(clock: StepClock) -> AsyncIterator[Guard]:
    made = Guard(
        connection=ConnectionSettings(),
        pacing=PacingSettings(messages_per_second=PER_SECOND, cancel_reserve=10),
        breaker=BreakerSettings(),
        clock=clock,
        rng=Random(7),
    )
    yield made
    await made.close()


async def no_probe() -> None:
    raise AssertionError("the breaker is closed: nothing is to be probed")


async def hold(guard: Guard, units: int = 1) -> HeldSlot:
    return await guard.order_slot(units=units, timeout=600.0, probe=no_probe)


def most_in_a_second(times: list[float]) -> int:
    return max(sum(1 for other in times if at <= other < at + 1.0) for at in times)


class Wire:
    """Orders through one lane; each commit takes what the test says, and each write is stamped."""

    def __init__(self, guard: Guard, clock: StepClock, commits: list[float]) -> None:
        self.guard, self.clock, self.commits = guard, clock, commits
        self.lane = OrderLane(clock)
        self.written: list[float] = []

    async def send(self, *, why: str = "", fail: Exception | None = None, frames: int = 1) -> Written:
        async def commit() -> None:
            await self.clock.sleep(self.commits.pop(0) if self.commits else 0.001)

        def write() -> None:
            if fail is not None:
                raise fail
            self.written.append(self.clock.monotonic())

        with await hold(self.guard, frames) as slot:
            outcome = await self.lane.write(
                prepare=lambda: None,
                commit=commit,
                recheck=lambda: why,
                frames=lambda: [write] * frames,
                timeout=600.0,
                written=slot.sent,
            )
        return outcome.written


async def test_disk_that_stalls_bunches_no_orders_beyond_the_rule(guard: Guard, clock: StepClock) -> None:
    """INV-09: leave given long ago must not add to leave given now."""
    wire = Wire(guard, clock, [3.0, 0.001, 0.001, 2.0])
    orders = [asyncio.create_task(wire.send()) for _ in range(150)]
    while not all(order.done() for order in orders):
        await clock.step(0.05)
        assert clock.monotonic() < 60
    assert {order.result() for order in orders} == {Written.YES}
    assert len(wire.written) == 150
    assert most_in_a_second(wire.written) <= PER_SECOND - 10
    assert wire.written[-1] < 12  # and the stall costs no more than itself


async def test_order_that_was_not_written_costs_nothing(guard: Guard, clock: StepClock) -> None:
    wire = Wire(guard, clock, [])

    async def used() -> int:
        await settle()
        return guard.pacer.core.snapshot(clock.monotonic()).used["messages"]

    refused = asyncio.create_task(wire.send(why="killed"))
    await clock.step(0.01)
    assert await refused is Written.NO
    assert await used() == 0
    certain = asyncio.create_task(wire.send(fail=NotConnected("nothing was written")))
    await clock.step(0.01)
    assert await certain is Written.NO
    assert await used() == 0
    maybe = asyncio.create_task(wire.send(fail=OSError("in the middle"), frames=3))
    await clock.step(0.01)
    assert await maybe is Written.MAYBE
    assert await used() == 3
    assert guard.pacer.core.snapshot(clock.monotonic()).held == 0


async def test_failed_commit_gives_its_leave_back(guard: Guard, clock: StepClock) -> None:
    async def fails() -> None:
        raise JournalUnwritable("disk full")

    with pytest.raises(JournalUnwritable), await hold(guard) as slot:
        await OrderLane(clock).write(
            prepare=lambda: None,
            commit=fails,
            recheck=lambda: "",
            frames=list,
            timeout=1.0,
            written=slot.sent,
        )
    snapshot = guard.pacer.core.snapshot(clock.monotonic())
    assert (snapshot.held, snapshot.used["messages"]) == (0, 0)


async def test_hundred_lines_that_end_at_once_do_not_burst(guard: Guard, clock: StepClock) -> None:
    written: list[float] = []

    def write() -> bool:
        written.append(clock.monotonic())
        return True

    for _ in range(100):
        guard.write_soon(write)
    await clock.step(5.0)
    assert len(written) == 100
    assert most_in_a_second(written) == PER_SECOND - 10


async def test_what_was_written_without_asking_counts(guard: Guard, clock: StepClock) -> None:
    for _ in range(PER_SECOND - 10):
        guard.wrote(Lane.MARKET)
    waiting = asyncio.create_task(hold(guard))
    await settle()
    assert not waiting.done()
    await clock.step(1.1)
    with await waiting as slot:
        slot.sent()
        slot.sent()
    assert guard.pacer.core.snapshot(clock.monotonic()).used["messages"] == 1


async def test_no_leave_in_time_is_an_order_not_sent(guard: Guard, clock: StepClock) -> None:
    slots = [await hold(guard) for _ in range(PER_SECOND - 10)]
    with pytest.raises(OrderNotSent, match="no slot"):
        waiting = asyncio.create_task(guard.order_slot(units=1, timeout=1.0, probe=no_probe))
        await clock.step(1.5)
        await waiting
    for slot in slots:
        with slot:
            pass
    (await hold(guard)).sent()
