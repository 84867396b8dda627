"""Cancels and the rests after a 429: one is tried, the others wait, and none is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import pytest

from ibkr_connector.errors import PacingError
from ibkr_connector.resilience import Pacer
from ibkr_connector.resilience.waiter import AsyncPacer
from ibkr_connector.resilience.web_rules import SHORT_S, web_rules
from ibkr_connector.session.webpace import WebPace
from support.stepclock import StepClock, settle

_T = TypeVar("_T")
TOO_MANY = PacingError("too many requests.")


class TimedClock(StepClock):
    """A stepped clock whose limits on waiting pass as well."""

    async def wait_for(self, awaitable: Awaitable[_T], seconds: float | None) -> _T:
        work = asyncio.ensure_future(awaitable)
        if seconds is None:
            return await work
        alarm = asyncio.ensure_future(self.sleep(seconds))
        try:
            await asyncio.wait([work, alarm], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise TimeoutError
            return work.result()
        finally:
            work.cancel()
            alarm.cancel()


class Exits:
    """Cancels that ask for leave, and the times at which they got it."""

    def __init__(self, pace: WebPace, clock: TimedClock) -> None:
        self.pace = pace
        self._clock = clock
        self.gone: list[tuple[str, float]] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.gone]

    async def ask(self, *names: str, again: bool = False, use: bool = True) -> None:
        async def one(name: str) -> None:
            async with self.pace.exit(again=again) as leave:
                self.gone.append((name, self._clock.monotonic()))
                if not use:
                    leave.unused()

        self._tasks += [asyncio.create_task(one(name)) for name in names]
        await settle()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def clock() -> TimedClock:
    return TimedClock()


@pytest.fixture
async def exits(clock: TimedClock) -> AsyncIterator[Exits]:
    core = Pacer(web_rules(oauth=False, messages_per_second=50, cancel_reserve=2))
    pacer = AsyncPacer(core, clock)
    made = Exits(WebPace(lambda: pacer, core, clock), clock)
    yield made
    await made.close()
    await pacer.close()


async def test_cancels_go_at_the_pace_of_the_rule_however_many_and_each_once(exits: Exits, clock: TimedClock) -> None:
    names = [str(number) for number in range(601)]
    await exits.ask(*names)
    for _ in range(70):
        await clock.step(1.05)
    assert sorted(exits.names) == sorted(names)


async def test_in_a_rest_one_cancel_is_tried_and_the_others_wait_for_its_end(exits: Exits, clock: TimedClock) -> None:
    exits.pace.limited(TOO_MANY)
    await exits.ask("a", "b", "c")
    assert exits.names == ["a"]
    exits.pace.limited(TOO_MANY)  # its answer
    await exits.ask("d")
    await clock.step(SHORT_S - 0.1)
    assert exits.names == ["a"]
    await clock.step(0.2)
    assert exits.names == ["a", "b"]  # tried after the rest
    exits.pace.exit_answered()
    await settle()
    assert sorted(exits.names) == ["a", "b", "c", "d"]


async def test_cancels_follow_the_one_that_was_tried_and_answered(exits: Exits) -> None:
    exits.pace.limited(TOO_MANY)
    await exits.ask("a", "b", "c")
    exits.pace.exit_answered()
    await settle()
    assert exits.names == ["a", "b", "c"]


async def test_what_was_written_before_waits_for_the_end_of_the_rest(exits: Exits, clock: TimedClock) -> None:
    exits.pace.limited(TOO_MANY)
    await exits.ask("again", again=True)
    await clock.step(SHORT_S - 0.1)
    assert exits.names == []
    await clock.step(0.2)
    assert exits.names == ["again"]


async def test_a_try_that_was_not_used_leaves_the_turn_to_the_next(exits: Exits) -> None:
    exits.pace.limited(TOO_MANY)
    await exits.ask("unused", use=False)
    await exits.ask("a", "b")
    assert exits.names == ["unused", "a"]


async def test_cancels_do_not_wait_for_ever_for_the_answer_of_the_one_that_is_tried(
    exits: Exits, clock: TimedClock
) -> None:
    exits.pace.limited(TOO_MANY)
    await clock.step(SHORT_S + 0.1)
    await exits.ask("a", "b", "c")
    assert exits.names == ["a"]
    await clock.step(5.1)
    assert exits.names == ["a", "b"]


async def test_a_rest_that_begins_while_cancels_wait_for_their_turn_holds_them(exits: Exits, clock: TimedClock) -> None:
    await exits.ask(*[str(number) for number in range(30)])
    before = len(exits.gone)
    assert 0 < before < 30
    exits.pace.limited(TOO_MANY)
    await clock.step(SHORT_S - 0.1)
    assert len(exits.gone) == before + 1
