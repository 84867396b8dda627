"""Pace and breakers around orders: what counts is when messages were written, however long the disk takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import pytest

from ibkr_connector.config.settings import BreakerSettings, ConnectionSettings, PacingSettings
from ibkr_connector.errors import (
    CircuitOpen,
    ConnectionLost,
    JournalUnwritable,
    NotConnected,
    OrderNotSent,
    PacingTimeout,
    RequestTimeout,
)
from ibkr_connector.resilience import BreakerState, Grant, Lane
from ibkr_connector.resilience.rules import history
from ibkr_connector.session.guard import Guard
from ibkr_connector.session.lane import OrderLane, Written
from ibkr_connector.session.permits import HeldSlot
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


# --- the orders breaker -----------------------------------------------------------------------------------------------


async def silence(guard: Guard, times: int) -> None:
    for _ in range(times):
        with await hold(guard) as slot:
            slot.sent()
        slot.answered(in_doubt=True)


async def test_orders_without_answers_trip_and_a_read_and_no_order_finds_out_when_it_is_over(
    guard: Guard, clock: StepClock
) -> None:
    await silence(guard, 3)
    with pytest.raises(OrderNotSent, match="held back for 30 s"):
        await hold(guard)
    clock.advance(30.0)
    probes: list[float] = []

    async def in_vain() -> None:
        probes.append(clock.monotonic())
        raise RequestTimeout("no answer")

    with pytest.raises(OrderNotSent, match="the broker does not answer"):
        await guard.order_slot(units=1, timeout=1.0, probe=in_vain)
    with pytest.raises(OrderNotSent, match="held back"):
        await guard.order_slot(units=1, timeout=1.0, probe=in_vain)
    assert len(probes) == 1
    clock.advance(120.0)

    async def fine() -> None:
        probes.append(clock.monotonic())

    slot = await guard.order_slot(units=1, timeout=1.0, probe=fine)
    assert (len(probes), guard.orders.state) == (2, BreakerState.CLOSED)
    with slot:
        slot.sent()
    slot.answered(in_doubt=False)


async def test_orders_held_by_hand_are_not_worth_a_retry_and_name_the_command_that_lets_them(
    guard: Guard, clock: StepClock
) -> None:
    guard.orders.force_open(clock.monotonic(), "maintenance")
    with pytest.raises(OrderNotSent, match="until an operator resets the breaker: maintenance") as caught:
        await hold(guard)
    assert "`ibkr-connector breaker reset orders`" in caught.value.remedy
    assert not caught.value.retryable


async def test_what_only_reduces_passes_an_open_orders_breaker_and_asks_for_no_trial(
    guard: Guard, clock: StepClock
) -> None:
    async def reduce() -> HeldSlot:
        return await guard.order_slot(units=1, timeout=1.0, probe=no_probe, reduces=lambda: True)

    async def passes() -> None:
        with await reduce() as slot:
            assert slot.past_breaker
            slot.sent()
        slot.answered(in_doubt=True)

    await silence(guard, 3)
    await passes()
    assert guard.orders.snapshot(clock.monotonic()).outstanding == 0
    clock.advance(30.0)
    await passes()  # the trial is left to a read, for whom adds
    assert guard.orders.state is BreakerState.HALF_OPEN
    guard.orders.force_open(clock.monotonic(), "maintenance")
    await passes()
    with pytest.raises(OrderNotSent, match="maintenance"):
        await guard.order_slot(units=1, timeout=1.0, probe=no_probe, reduces=lambda: False)
    guard.orders.reset(clock.monotonic())
    with await reduce() as slot:
        assert not slot.past_breaker, "closed, it counts like any other order"
        slot.sent()
    slot.answered(in_doubt=True)
    assert guard.orders.snapshot(clock.monotonic()).failures_in_a_row == 1


async def test_a_late_answer_closes_nothing(guard: Guard, clock: StepClock) -> None:
    """An order sent before the trip says nothing about now, however well it ended."""
    with await hold(guard) as old:
        old.sent()
    await silence(guard, 3)
    clock.advance(31.0)
    guard.orders.check(clock.monotonic())  # a trial would be let through
    old.answered(in_doubt=False)
    assert guard.orders.state is BreakerState.OPEN
    assert guard.orders.snapshot(clock.monotonic()).late == 1


async def test_an_order_that_was_not_sent_or_not_waited_for_says_nothing(guard: Guard, clock: StepClock) -> None:
    for _ in range(5):
        with await hold(guard):
            pass
        with await hold(guard) as slot:
            slot.sent()
        slot.unanswered()
        slot.answered(in_doubt=True)
    shown = guard.orders.snapshot(clock.monotonic())
    assert (shown.state, shown.outstanding, shown.failures, shown.ignored) == (BreakerState.CLOSED, 0, 0, 10)


async def test_a_caller_that_leaves_the_queue_gives_its_permit_back(guard: Guard, clock: StepClock) -> None:
    slots = [await hold(guard) for _ in range(PER_SECOND - 10)]
    waiting = asyncio.create_task(hold(guard))
    await settle()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    for slot in slots:
        with slot:
            pass
    assert guard.orders.snapshot(clock.monotonic()).outstanding == 0


# --- the reads breaker ------------------------------------------------------------------------------------------------


async def read(guard: Guard, answer: Callable[[float], Awaitable[int]], timeout: float = 60.0, **more: Any) -> int:
    given: dict[str, Any] = {"lane": Lane.ACCOUNT, "retry": False, "usable": lambda: None, **more}
    return await guard.read("a thing", answer, timeout=timeout, **given)


async def one(_: float) -> int:
    return 1


async def lost(_: float) -> int:
    raise ConnectionLost("gone")


async def test_reads_trip_fail_at_once_and_cost_no_message_meanwhile(guard: Guard, clock: StepClock) -> None:
    for _ in range(3):
        with pytest.raises(ConnectionLost):
            await read(guard, lost)
    used = guard.pacing().used["messages"]
    with pytest.raises(CircuitOpen) as caught:
        await read(guard, one)
    assert caught.value.context["retry_after"] == pytest.approx(30.0)
    assert guard.pacing().used["messages"] == used
    clock.advance(30.0)
    assert await read(guard, one) == 1
    assert guard.reads.state is BreakerState.CLOSED


async def test_a_read_that_waits_for_its_slot_is_no_trial_that_others_wait_for(guard: Guard, clock: StepClock) -> None:
    for _ in range(3):
        with pytest.raises(ConnectionLost):
            await read(guard, lost)
    clock.advance(30.0)
    bars = history(contract="1", exchange="S", what_to_show="TRADES", identity="1", bar_seconds=5)
    assert isinstance(guard.pacer.core.spend(clock.monotonic(), bars), Grant)
    waiting = asyncio.create_task(read(guard, one, work=bars, lane=Lane.HISTORY))
    await settle()
    assert not waiting.done()
    assert await read(guard, one) == 1, "the way is free while history waits for its own rule"
    await clock.step(16.0)
    assert await waiting == 1


async def test_a_read_whose_connection_is_gone_when_its_turn_comes_costs_nothing(
    guard: Guard, clock: StepClock
) -> None:
    asked: list[int] = []

    def usable() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise NotConnected("gone")

    with pytest.raises(NotConnected):
        await read(guard, one, usable=usable)
    assert guard.pacing().used["messages"] == 0
    assert guard.reads.snapshot(clock.monotonic()).outstanding == 0


async def test_history_that_cannot_start_before_its_deadline_fails_at_once(guard: Guard, clock: StepClock) -> None:
    bars = history(contract="1", exchange="S", what_to_show="TRADES", identity="1", bar_seconds=5)
    assert await read(guard, one, work=bars, lane=Lane.HISTORY) == 1
    before = clock.monotonic()
    with pytest.raises(PacingTimeout) as caught:
        await read(guard, one, timeout=10.0, work=bars, lane=Lane.HISTORY)
    assert clock.monotonic() == before
    assert caught.value.context["retry_after"] == pytest.approx(15.1)


@pytest.mark.parametrize(
    ("action", "refuses", "counted"), [("protect", True, 3), ("watch", False, 9), ("off", False, 0)]
)
async def test_what_the_breakers_do_is_a_setting(clock: StepClock, action: str, refuses: bool, counted: int) -> None:
    made = Guard(
        connection=ConnectionSettings(),
        pacing=PacingSettings(),
        breaker=BreakerSettings.model_validate({"action": action}),
        clock=clock,
        rng=Random(7),
    )
    refused = 0
    for _ in range(9):
        with pytest.raises((ConnectionLost, CircuitOpen)) as caught:
            await read(made, lost)
        refused += isinstance(caught.value, CircuitOpen)
    assert bool(refused) is refuses
    assert made.reads.snapshot(clock.monotonic()).failures == counted
    await made.close()


async def test_slow_answers_open_the_breaker_where_that_is_configured(clock: StepClock) -> None:
    made = Guard(
        connection=ConnectionSettings(),
        pacing=PacingSettings(),
        breaker=BreakerSettings(slow_after=1.0, minimum_sample=5),
        clock=clock,
        rng=Random(7),
    )

    async def slow(_: float) -> int:
        clock.advance(1.5)
        return 1

    for _ in range(5):
        assert await read(made, slow) == 1
    with pytest.raises(CircuitOpen, match="5 of 5 calls were slow"):
        await read(made, slow)
    await made.close()
