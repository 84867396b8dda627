"""Shared work: one caller that leaves takes nothing from the others; the last one ends it."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_connector.errors import ConnectorClosed, NotConnected
from ibkr_connector.session.flight import Flight


class Work:
    """Something that takes until the test says so."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0
        self.cancelled = False
        self.cleaned_up = asyncio.Event()
        self.cleaned_up.set()

    async def run(self) -> str:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            await self.cleaned_up.wait()
            raise
        return "done"

    def flight(self, *, keep: bool = False) -> Flight[str]:
        return Flight(self.run(), name="work", ended=lambda: NotConnected("ended"), keep=lambda: keep)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_of_two_callers_leaves_and_the_other_gets_the_result() -> None:
    work = Work()
    flight = work.flight()
    leaves, stays = asyncio.create_task(flight.join()), asyncio.create_task(flight.join())
    await settle()
    leaves.cancel()
    await settle()
    assert leaves.cancelled()
    assert flight.open
    work.go.set()
    assert await stays == "done"
    assert (work.begun, work.cancelled) == (1, False)


async def test_last_caller_to_leave_ends_the_work() -> None:
    work = Work()
    work.cleaned_up.clear()
    flight = work.flight()
    callers = [asyncio.create_task(flight.join()) for _ in range(3)]
    await settle()
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert flight.ending  # new callers must not board it, and wait before they begin anew
    assert not flight.open
    work.cleaned_up.set()
    await asyncio.wait([flight.task])
    assert work.cancelled
    assert not flight.ending


async def test_work_that_must_be_kept_goes_on_without_callers() -> None:
    work = Work()
    flight = work.flight(keep=True)
    caller = asyncio.create_task(flight.join())
    await settle()
    caller.cancel()
    await settle()
    assert flight.open
    work.go.set()
    assert await flight.join() == "done"


async def test_callers_of_work_that_somebody_else_ended_get_an_error_and_do_not_look_cancelled() -> None:
    work = Work()
    flight = work.flight()
    callers = [asyncio.create_task(flight.join()) for _ in range(2)]
    await settle()
    await flight.stop()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(result) for result in results] == [NotConnected, NotConnected]
    with pytest.raises(NotConnected):
        await flight.join()


async def test_failure_reaches_every_caller_and_leaves_no_warning_when_all_left() -> None:
    async def fails() -> str:
        await asyncio.sleep(0)
        raise ConnectorClosed("no")

    flight = Flight(fails(), name="work", ended=lambda: NotConnected("ended"))
    results = await asyncio.gather(flight.join(), flight.join(), return_exceptions=True)
    assert [type(result) for result in results] == [ConnectorClosed, ConnectorClosed]
    unheard = Flight(fails(), name="work", ended=lambda: NotConnected("ended"), keep=lambda: True)
    await asyncio.wait([unheard.task])  # a warning of asyncio would fail the test
