"""A read shared by all who ask before it is written, and by nobody who asks after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from ibkr_connector.clock import ManualClock
from ibkr_connector.errors import ConnectionLost, PacingTimeout, RequestTimeout
from ibkr_connector.session.shared import SharedRead
from unit.orders.kit import NOW

_T = TypeVar("_T")


class Road:
    """Slots and answers, given by hand."""

    def __init__(self) -> None:
        self.slots = 0
        self.timeouts: list[float] = []
        self.leave, self.answer = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None
        self.written = 0

    async def read(self, what: str, call: Callable[[float], Awaitable[_T]], *, timeout: float) -> _T:
        assert what == "time"
        self.slots += 1
        self.timeouts.append(timeout)
        await self.leave.wait()
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return await call(timeout)

    async def call(self, left: float) -> int:
        assert left > 0
        self.written += 1
        number = self.written
        await self.answer.wait()
        return number


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
async def road() -> Road:
    return Road()


@pytest.fixture
async def shared(road: Road, clock: ManualClock) -> SharedRead[int]:
    return SharedRead(road, clock, "time", road.call)


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_fifty_callers_take_one_slot_and_write_once(road: Road, shared: SharedRead[int]) -> None:
    callers = [asyncio.create_task(shared.read(5)) for _ in range(50)]
    await turns()
    road.leave.set()
    road.answer.set()
    assert set(await asyncio.gather(*callers)) == {1}
    assert (road.slots, road.written) == (1, 1)


async def test_who_asks_after_the_write_gets_a_later_answer(road: Road, shared: SharedRead[int]) -> None:
    road.leave.set()
    first = asyncio.create_task(shared.read(5))
    await turns()
    assert road.written == 1
    second, third = (asyncio.create_task(shared.read(5)) for _ in range(2))
    await turns()
    road.answer.set()
    assert list(await asyncio.gather(first, second, third)) == [1, 2, 2]
    assert road.slots == 2


async def test_a_caller_that_leaves_takes_nobody_with_it_and_the_last_one_ends_the_read(
    road: Road, shared: SharedRead[int]
) -> None:
    one, two = (asyncio.create_task(shared.read(5)) for _ in range(2))
    await turns()
    one.cancel()
    await turns()
    assert not two.done()
    two.cancel()
    await asyncio.wait([one, two])
    await turns()
    road.leave.set()
    await turns()
    assert road.written == 0
    road.answer.set()
    assert await shared.read(5) == 1  # a read that was given up is not joined


@pytest.mark.parametrize("error", [PacingTimeout("no slot"), RequestTimeout("no answer")], ids=["slot", "answer"])
async def test_a_late_joiner_has_its_own_time_and_no_more(
    road: Road, shared: SharedRead[int], clock: ManualClock, error: Exception
) -> None:
    first = asyncio.create_task(shared.read(5))
    await turns()
    clock.advance(4)
    late = asyncio.create_task(shared.read(5))
    await turns()
    clock.advance(1)
    road.error = error
    road.leave.set()
    road.answer.set()
    with pytest.raises(type(error)):
        await first
    assert await late == 1
    assert road.timeouts == [5, 4]


async def test_an_error_is_everybodys(road: Road, shared: SharedRead[int]) -> None:
    callers = [asyncio.create_task(shared.read(5)) for _ in range(3)]
    await turns()
    road.error = ConnectionLost("gone")
    road.leave.set()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(one) for one in found] == [ConnectionLost] * 3
    assert road.slots == 1
