"""A breaker with fixed dice, and short words for what is done to one."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

from ibkr_connector.resilience import Breaker, BreakerPolicy, BreakerState, CallOutcome, Permit, Rejected

OK, FAIL, IGNORED, CANCELLED = CallOutcome.SUCCESS, CallOutcome.FAILURE, CallOutcome.IGNORED, CallOutcome.CANCELLED
WALL = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


def make(**policy: float) -> Breaker:
    return Breaker("connect", BreakerPolicy(**policy), rng=Random(1))  # type: ignore[arg-type]


def state_of(breaker: Breaker) -> BreakerState:
    return breaker.state


def permit(breaker: Breaker, now: float) -> Permit:
    answer = breaker.try_acquire(now)
    assert isinstance(answer, Permit), answer
    return answer


def rejected(breaker: Breaker, now: float) -> Rejected:
    answer = breaker.try_acquire(now)
    assert isinstance(answer, Rejected), answer
    return answer


def run(breaker: Breaker, now: float, outcome: CallOutcome, hint: float | None = None) -> None:
    breaker.record(permit(breaker, now), outcome, now, hint=hint)


def trip(breaker: Breaker, now: float = 0.0) -> None:
    for _ in range(breaker.policy.failures):
        run(breaker, now, FAIL)
    assert state_of(breaker) is BreakerState.OPEN
