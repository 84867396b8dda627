from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from ibkr_connector.clock import ManualClock, SystemClock
from ibkr_connector.errors import (
    CancelInDoubt,
    CircuitOpen,
    ConnectionLost,
    ContractNotFound,
    OrderInDoubt,
    OrderNotSent,
    PacingError,
    RequestTimeout,
)
from ibkr_connector.resilience import RetryNote, RetryPolicy, idempotent, retry_read, retryable
from ibkr_connector.resilience.retry import is_idempotent


class Flaky:
    """Fails with `errors` one after the other, then answers."""

    def __init__(self, *errors: BaseException, clock: ManualClock | None = None, takes: float = 0.0) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.clock = clock
        self.takes = takes

    @idempotent
    async def read(self, answer: str = "answer") -> str:
        self.calls += 1
        if self.clock is not None:
            self.clock.advance(self.takes)
        if self.errors:
            raise self.errors.pop(0)
        return answer


def wrapped(
    flaky: Flaky, clock: ManualClock, notes: list[RetryNote] | None = None, **policy: float
) -> Callable[..., Awaitable[str]]:
    decorate = retry_read(
        RetryPolicy(**policy),  # type: ignore[arg-type]
        clock=clock,
        rng=Random(1),
        on_retry=None if notes is None else notes.append,
    )
    return decorate(flaky.read)


async def test_a_read_is_repeated_until_it_succeeds_with_growing_jittered_pauses() -> None:
    clock, notes = ManualClock(), list[RetryNote]()
    flaky = Flaky(ConnectionLost("a"), RequestTimeout("b"))
    assert await wrapped(flaky, clock, notes, base=1.0)(answer="yes") == "yes"
    assert flaky.calls == 3
    assert [(note.name, note.try_number, str(note.error)[:1]) for note in notes] == [
        ("Flaky.read", 1, "a"),
        ("Flaky.read", 2, "b"),
    ]
    assert 0 < notes[0].pause <= 1.0
    assert 0 < notes[1].pause <= 2.0
    assert clock.monotonic() == pytest.approx(1_000.0 + notes[0].pause + notes[1].pause)


async def test_the_last_error_is_raised_as_it_is() -> None:
    errors = [ConnectionLost(str(number)) for number in range(5)]
    flaky = Flaky(*errors)
    with pytest.raises(ConnectionLost) as caught:
        await wrapped(flaky, ManualClock())()
    assert caught.value is errors[2]
    assert flaky.calls == 3


@pytest.mark.parametrize(
    "error",
    [
        ContractNotFound("x"),
        OrderInDoubt("x"),
        OrderNotSent("x"),
        CancelInDoubt("x"),
        ValueError("x"),
        ConnectionError("x"),
        KeyError("x"),
    ],
)
async def test_only_typed_retryable_errors_are_retried_and_never_an_orders(error: Exception) -> None:
    flaky = Flaky(error)
    with pytest.raises(type(error)):
        await wrapped(flaky, ManualClock())()
    assert flaky.calls == 1
    assert not retryable(error)


async def test_another_judgement_can_be_given() -> None:
    flaky = Flaky(KeyError("x"))
    decorate = retry_read(RetryPolicy(), lambda error: isinstance(error, KeyError), clock=ManualClock(), rng=Random(1))
    assert await decorate(flaky.read)() == "answer"


async def test_the_brokers_wish_for_a_pause_is_honoured() -> None:
    clock, notes = ManualClock(), list[RetryNote]()
    await wrapped(Flaky(PacingError("x", retry_after=12.0)), clock, notes)()
    assert notes[0].pause == 12.0


async def test_a_pause_that_would_outlive_the_total_is_not_begun() -> None:
    clock = ManualClock()
    flaky = Flaky(CircuitOpen("x", retry_after=30.0))
    with pytest.raises(CircuitOpen):
        await wrapped(flaky, clock, total=30.0)()
    assert flaky.calls == 1
    assert clock.monotonic() == 1_000.0


async def test_tries_that_take_long_stop_at_the_total() -> None:
    clock = ManualClock()
    flaky = Flaky(*(ConnectionLost("x") for _ in range(50)), clock=clock, takes=4.0)
    with pytest.raises(ConnectionLost):
        await wrapped(flaky, clock, tries=50, total=10.0, base=0.0, cap=0.0)()
    assert flaky.calls == 3


async def test_a_try_that_hangs_ends_at_the_total() -> None:
    calls = 0

    @retry_read(RetryPolicy(tries=5, total=0.05), clock=SystemClock(), rng=Random(1))
    @idempotent
    async def hang() -> None:
        nonlocal calls
        calls += 1
        await asyncio.Event().wait()

    with pytest.raises(RequestTimeout, match=r"No answer from .*hang within 0.05 s"):
        await asyncio.wait_for(hang(), 10)
    assert calls == 1


async def test_cancellation_passes_straight_through() -> None:
    clock = SystemClock()
    flaky = Flaky(asyncio.CancelledError())
    decorate = retry_read(RetryPolicy(), clock=clock, rng=Random(1))
    with pytest.raises(asyncio.CancelledError):
        await decorate(flaky.read)()
    assert flaky.calls == 1


def test_what_is_not_marked_idempotent_is_refused_when_it_is_wrapped() -> None:
    async def place_order() -> None:
        raise AssertionError("never called")

    decorate: Any = retry_read(RetryPolicy(), clock=ManualClock(), rng=Random(1))
    with pytest.raises(TypeError, match="place_order is not marked @idempotent"):
        decorate(place_order)
    with pytest.raises(TypeError, match="not marked @idempotent"):
        decorate(functools.partial(place_order))
    with pytest.raises(TypeError, match="no coroutine function"):
        decorate(idempotent(lambda: 1))


async def test_marks_are_seen_through_methods_and_partials_and_names_are_kept() -> None:
    flaky = Flaky(ConnectionLost("x"))
    assert is_idempotent(functools.partial(functools.partial(flaky.read), "deep"))
    decorate = retry_read(RetryPolicy(base=0.0), clock=ManualClock(), rng=Random(1))
    assert await decorate(functools.partial(flaky.read, "deep"))() == "deep"
    assert decorate(flaky.read).__name__ == "read"


@pytest.mark.parametrize(
    "bad", [{"tries": 0}, {"total": 0.0}, {"total": float("inf")}, {"base": -1.0}, {"base": 6.0}, {"cap": 0.1}]
)
def test_a_policy_without_bounds_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="finite total"):
        RetryPolicy(**bad)  # type: ignore[arg-type]


def test_importing_the_room_does_not_load_tenacity() -> None:
    script = "import sys, ibkr_connector.resilience; print('tenacity' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["False", "False"]
