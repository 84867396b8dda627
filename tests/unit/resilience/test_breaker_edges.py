"""The edges of the breaker: found by changing it line by line and looking what no test noticed."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest

from ibkr_connector.errors import CircuitOpen
from ibkr_connector.resilience import (
    Breaker,
    BreakerChange,
    BreakerPolicy,
    BreakerState,
    Permit,
)
from support.guarded import guard
from unit.resilience.breaker_kit import FAIL, OK, WALL, make, rejected, run, state_of, trip


def test_reset_forgets_the_hint_and_the_cool_down_of_before() -> None:
    breaker = make()
    run(breaker, 0.0, FAIL, hint=600.0)
    breaker.reset(1.0)
    trip(breaker, 2.0)
    assert rejected(breaker, 2.0).retry_after == 30.0
    run(breaker, 32.0, FAIL)
    assert breaker.snapshot(32.0).cooldown > 30.0
    breaker.reset(33.0)
    assert breaker.snapshot(33.0).cooldown == 30.0


def test_a_hint_counts_with_a_failure_only_and_however_short_it_is() -> None:
    breaker = make()
    run(breaker, 0.0, OK, hint=600.0)
    trip(breaker, 1.0)
    assert rejected(breaker, 1.0).retry_after == 30.0
    quick = make(cooldown=0.25, failures=1)
    run(quick, 0.0, FAIL, hint=0.5)
    assert rejected(quick, 0.0).retry_after == 0.5


def test_the_cool_down_that_is_shown_and_told_is_the_one_that_runs() -> None:
    breaker = make()
    told: list[BreakerChange] = []
    breaker.subscribe(told.append)
    run(breaker, 0.0, FAIL, hint=90.0)
    run(breaker, 0.0, FAIL)
    run(breaker, 0.0, FAIL)
    assert rejected(breaker, 0.0).retry_after == breaker.snapshot(0.0).cooldown == told[-1].cooldown == 90.0


def test_successes_of_an_earlier_half_open_do_not_help_to_close() -> None:
    breaker = make(successes_to_close=2, half_open_trials=2)
    trip(breaker)
    run(breaker, 30.0, OK)
    run(breaker, 30.0, FAIL)
    later = 30.0 + rejected(breaker, 30.0).retry_after
    run(breaker, later, OK)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    run(breaker, later, OK)
    assert state_of(breaker) is BreakerState.CLOSED


def test_without_a_policy_the_guides_one_counts() -> None:
    assert Breaker("connect", rng=Random(1)).policy == BreakerPolicy()


def test_nothing_is_touched_without_the_lock() -> None:
    breaker = make(failures=1)
    inside = (
        "_generation", "_reason", "_open_until", "_cooldown", "_level", "_closed_at", "_hint_until", "_numbers",
        "_outstanding", "_trials", "_trial_successes", "_window", "_window_failures", "_window_slow", "_last_attempt",
        "_counts",
    )  # fmt: skip
    guard(breaker, breaker._lock, inside, written=("_state", "_in_a_row", "_listeners"))
    breaker.subscribe(lambda change: None)
    run(breaker, 0.0, OK)
    run(breaker, 0.0, FAIL)
    with pytest.raises(CircuitOpen):
        breaker.check(0.0)
    assert not isinstance(breaker.try_acquire(0.0), Permit)
    run(breaker, 30.0, OK)
    breaker.force_open(2.0, "operator")
    breaker.restore(breaker.export(WALL), 3.0)
    breaker.force_open(3.0, "again")
    breaker.reset(3.0)
    breaker.reset(4.0)
    assert breaker.snapshot(5.0).trips == 1


def test_the_status_rounds_to_milliseconds_and_a_way_into_closed_has_no_cool_down() -> None:
    breaker = make(cooldown=30.12345)
    told: list[BreakerChange] = []
    breaker.subscribe(told.append)
    trip(breaker, 1.0)
    shown = breaker.snapshot(2.23456).to_dict()
    assert shown["seconds_since_last_attempt"] == 1.235
    assert shown["cooldown_period"] == 30.123
    assert shown["circuit_breaker_remaining"] == 28.889
    breaker.reset(3.0)
    assert [change.cooldown for change in told] == [pytest.approx(30.12345), 0.0]


def test_the_default_policy_is_the_one_the_documents_tell() -> None:
    assert BreakerPolicy() == BreakerPolicy(
        failures=3,
        cooldown=30.0,
        max_cooldown=300.0,
        growth=2.0,
        healthy_after=300.0,
        half_open_trials=1,
        successes_to_close=1,
        trial_deadline=60.0,
        failure_rate=0.5,
        minimum_sample=20,
        window=60.0,
        slow_after=math.inf,
        slow_rate=1.0,
        max_hint=3_600.0,
    )


@pytest.mark.parametrize(
    "policy",
    [
        {"failures": 1},
        {"cooldown": 0.5},
        {"cooldown": 30.0, "max_cooldown": 30.0},
        {"growth": 1.0},
        {"growth": 1.5},
        {"healthy_after": 0.5},
        {"half_open_trials": 1},
        {"successes_to_close": 1},
        {"trial_deadline": 0.5},
        {"failure_rate": 1.0},
        {"failure_rate": 0.01},
        {"minimum_sample": 1},
        {"window": 0.5},
        {"slow_after": 0.5},
        {"slow_rate": 1.0},
        {"slow_rate": 0.01},
        {"max_hint": 0.0},
        {"max_hint": 0.5},
    ],
)
def test_a_policy_at_the_edge_of_its_range_is_taken(policy: dict[str, Any]) -> None:
    for field, value in policy.items():
        assert getattr(BreakerPolicy(**policy), field) == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cooldown", math.inf),
        ("max_cooldown", math.inf),
        ("growth", math.inf),
        ("failure_rate", 0.0),
        ("slow_rate", 1.5),
    ],
)
def test_a_policy_beyond_the_edge_of_its_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"BreakerPolicy\.{field}="):
        BreakerPolicy(**{field: value})  # type: ignore[arg-type]
