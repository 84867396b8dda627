from __future__ import annotations

import itertools
import math
import pickle
import sys
import threading
from collections.abc import Iterator
from random import Random

import pytest

from ibkr_connector.errors import CircuitOpen
from ibkr_connector.resilience import (
    AttemptPlan,
    AttemptPolicy,
    Breaker,
    BreakerChange,
    BreakerPolicy,
    BreakerState,
    CallOutcome,
    Permit,
    Rejected,
)
from ibkr_connector.resilience.breaker import IllegalMove
from ibkr_connector.resilience.breaker_types import LEGAL
from unit.resilience.breaker_kit import CANCELLED, FAIL, IGNORED, OK, WALL, make, permit, rejected, run, state_of, trip


def test_the_third_failure_in_a_row_opens_for_exactly_30_seconds() -> None:
    breaker = make()
    run(breaker, 0.0, FAIL)
    run(breaker, 1.0, FAIL)
    assert state_of(breaker) is BreakerState.CLOSED
    run(breaker, 2.0, FAIL)
    assert rejected(breaker, 2.0) == Rejected(30.0, BreakerState.OPEN, "3 failures in a row")
    assert rejected(breaker, 31.9).retry_after == pytest.approx(0.1)
    assert permit(breaker, 32.0).trial


def test_a_success_between_failures_starts_the_count_again() -> None:
    breaker = make()
    for outcome in (FAIL, FAIL, OK, FAIL, FAIL):
        run(breaker, 0.0, outcome)
    assert state_of(breaker) is BreakerState.CLOSED
    assert breaker.failures_in_a_row == 2


def test_ignored_and_cancelled_calls_neither_trip_nor_heal() -> None:
    breaker = make()
    for outcome in (FAIL, IGNORED, FAIL, CANCELLED):
        run(breaker, 0.0, outcome)
    assert breaker.failures_in_a_row == 2
    run(breaker, 0.0, FAIL)
    assert state_of(breaker) is BreakerState.OPEN


def test_acquire_raises_circuit_open_that_survives_pickle() -> None:
    breaker = make()
    assert isinstance(breaker.acquire(0.0), Permit)
    breaker = make()
    trip(breaker)
    with pytest.raises(CircuitOpen, match=r"connect refuses calls for 30\.0 s: 3 failures in a row") as caught:
        breaker.acquire(0.0)
    assert pickle.loads(pickle.dumps(caught.value)).retry_after == 30.0
    assert caught.value.retryable
    breaker.force_open(1.0, "maintenance")
    with pytest.raises(CircuitOpen, match="until an operator resets it: maintenance") as caught:
        breaker.acquire(1.0)
    assert "`ibkr-connector breaker reset connect`" in caught.value.remedy
    assert not caught.value.retryable, "trying again changes nothing: somebody has to reset it"
    assert not pickle.loads(pickle.dumps(caught.value)).retryable
    assert caught.value.to_dict()["retryable"] is False


def test_a_permit_given_back_twice_is_a_bug_that_shows() -> None:
    breaker = make()
    got = permit(breaker, 0.0)
    breaker.record(got, OK, 0.0)
    with pytest.raises(RuntimeError, match="given back before"):
        breaker.record(got, FAIL, 0.0)
    assert breaker.failures_in_a_row == 0


@pytest.mark.parametrize("late", [OK, FAIL])
def test_a_late_result_of_an_older_generation_never_moves_the_state(late: CallOutcome) -> None:
    breaker = make()
    old = [permit(breaker, 0.0) for _ in range(5)]
    trip(breaker)
    breaker.record(old[0], late, 1.0)
    assert state_of(breaker) is BreakerState.OPEN
    assert rejected(breaker, 1.0).retry_after == 29.0  # not extended, not shortened
    trial = permit(breaker, 30.0)
    breaker.record(old[1], late, 30.0)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    breaker.record(trial, OK, 30.0)
    for _ in range(3):
        run(breaker, 31.0, OK)
    for permit_ in old[2:]:
        breaker.record(permit_, late, 31.0)
    assert state_of(breaker) is BreakerState.CLOSED
    assert breaker.failures_in_a_row == 0
    assert breaker.snapshot(31.0).late == 5


def test_half_open_bounds_the_trials_and_a_cancelled_one_frees_its_slot() -> None:
    breaker = make(half_open_trials=2)
    trip(breaker)
    first, second = permit(breaker, 30.0), permit(breaker, 30.0)
    assert first.trial
    assert rejected(breaker, 31.0).reason == "a trial is under way"
    assert rejected(breaker, 31.0).retry_after == 59.0
    breaker.record(first, CANCELLED, 31.0)
    third = permit(breaker, 31.0)
    assert isinstance(breaker.try_acquire(31.0), Rejected)
    breaker.record(third, IGNORED, 31.0)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    breaker.record(second, OK, 31.0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_closing_takes_as_many_successes_as_the_policy_says() -> None:
    breaker = make(successes_to_close=2)
    trip(breaker)
    run(breaker, 30.0, OK)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    run(breaker, 30.0, OK)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_failed_trial_opens_again_for_longer() -> None:
    breaker = make()
    trip(breaker)
    run(breaker, 30.0, FAIL)
    again = rejected(breaker, 30.0)
    assert again.reason == "a trial failed"
    assert 45.0 <= again.retry_after <= 60.0


def test_a_trial_that_never_comes_back_does_not_wedge_the_breaker() -> None:
    breaker = make(trial_deadline=10.0)
    trip(breaker)
    lost = permit(breaker, 30.0)
    assert rejected(breaker, 39.0).state is BreakerState.HALF_OPEN
    after = rejected(breaker, 40.0)
    assert after.state is BreakerState.OPEN
    assert after.reason == "a trial was not answered in time"
    assert breaker.failures_in_a_row == 4
    trial = permit(breaker, 40.0 + after.retry_after)
    breaker.record(lost, FAIL, 200.0)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    breaker.record(trial, OK, 200.0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_the_cool_down_grows_to_its_cap_and_a_healthy_spell_takes_steps_back() -> None:
    breaker = make(max_cooldown=100.0, healthy_after=50.0)
    now, seen = 0.0, []
    trip(breaker, now)
    for _ in range(8):
        wait = breaker.snapshot(now).retry_after
        seen.append(wait)
        now += wait
        run(breaker, now, FAIL)
    assert seen[0] == 30.0
    assert all(30.0 <= wait <= 100.0 for wait in seen)
    assert max(seen[3:]) > 65.0
    now += breaker.snapshot(now).retry_after
    run(breaker, now, OK)
    now += 50.0 * 20
    trip(breaker, now)
    assert breaker.snapshot(now).retry_after == 30.0


def test_time_spent_open_is_no_healthy_spell() -> None:
    breaker = make(healthy_after=20.0)
    trip(breaker)
    run(breaker, 30.0, FAIL)
    assert breaker.snapshot(30.0).retry_after > 30.0


def test_growth_of_a_thousand_trips_does_not_overflow() -> None:
    breaker = make(max_cooldown=31.0, growth=10.0)
    now = 0.0
    trip(breaker)
    for _ in range(1_000):
        now += breaker.snapshot(now).retry_after
        run(breaker, now, FAIL)
    assert 30.0 <= breaker.snapshot(now).retry_after <= 31.0


def test_a_failure_rate_trips_only_with_the_minimum_sample() -> None:
    breaker = make(failures=100, minimum_sample=10, failure_rate=0.5)
    for index in range(9):
        run(breaker, index, FAIL if index % 2 else OK)
    assert state_of(breaker) is BreakerState.CLOSED
    run(breaker, 9.0, FAIL)
    assert state_of(breaker) is BreakerState.OPEN
    assert breaker.snapshot(9.0).reason == "5 of 10 calls failed"


def test_a_rate_just_below_the_limit_does_not_trip() -> None:
    breaker = make(failures=100, minimum_sample=10, failure_rate=0.5)
    for index in range(20):
        run(breaker, float(index), FAIL if index in {1, 5, 9, 13} else OK)
    assert state_of(breaker) is BreakerState.CLOSED


def test_calls_older_than_the_window_do_not_count() -> None:
    breaker = make(failures=100, minimum_sample=4, failure_rate=0.5, window=10.0)
    for now in (0.0, 0.1):
        run(breaker, now, FAIL)
    for now in (9.0, 10.0, 10.0):
        run(breaker, now, OK)
    assert state_of(breaker) is BreakerState.CLOSED  # 1 of 4: the failure at 0.0 left the window at 10.0


def test_the_window_is_bounded_in_number_too() -> None:
    breaker = make(failures=10_000, minimum_sample=5, failure_rate=1.0, window=1e9)
    for _ in range(3_000):
        run(breaker, 0.0, OK)
    assert len(breaker._window) == 1_000


def test_slow_answers_trip_when_the_policy_says_so() -> None:
    breaker = make(minimum_sample=4, slow_after=1.0, slow_rate=0.5)
    for index in range(4):
        got = permit(breaker, 10.0 * index)
        breaker.record(got, OK, 10.0 * index + (2.0 if index < 2 else 0.1))
    assert state_of(breaker) is BreakerState.OPEN
    assert breaker.snapshot(31.0).reason == "2 of 4 calls were slow"


def test_few_slow_answers_do_not_trip() -> None:
    breaker = make(minimum_sample=4, slow_after=1.0, slow_rate=0.5)
    for index in range(8):
        got = permit(breaker, 10.0 * index)
        breaker.record(got, OK, 10.0 * index + (2.0 if index == 0 else 0.1))
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_broker_hint_lengthens_the_cool_down_up_to_its_bound() -> None:
    breaker = make(max_hint=600.0)
    run(breaker, 0.0, FAIL, hint=120.0)
    run(breaker, 1.0, FAIL, hint=-5.0)
    run(breaker, 2.0, FAIL)
    assert rejected(breaker, 2.0).retry_after == 118.0
    breaker = make(max_hint=600.0)
    run(breaker, 0.0, FAIL)
    run(breaker, 0.0, FAIL)
    run(breaker, 0.0, FAIL, hint=1e9)
    assert rejected(breaker, 0.0).retry_after == 600.0


def test_a_hint_is_forgotten_when_the_breaker_has_closed_since() -> None:
    breaker = make(max_hint=1_000.0)
    run(breaker, 0.0, FAIL, hint=900.0)
    breaker.force_open(1.0, "wait")
    breaker.reset(2.0)
    trip(breaker, 3.0)
    assert rejected(breaker, 3.0).retry_after == 30.0


class Longest(Random):
    """Jitter at its upper end, so that growth shows exactly."""

    def random(self) -> float:
        return 1.0


def test_one_healthy_spell_takes_back_one_step_and_only_time_closed_counts() -> None:
    breaker = Breaker("x", BreakerPolicy(max_cooldown=1_000.0, healthy_after=100.0), rng=Longest())
    trip(breaker, 0.0)
    now = 0.0
    for wait in (30.0, 60.0):
        now += wait
        run(breaker, now, FAIL)
    assert rejected(breaker, now).retry_after == 120.0
    trial = permit(breaker, now + 120.0)
    now += 170.0  # half-open for 50 seconds more
    breaker.record(trial, OK, now)
    now += 99.0
    trip(breaker, now)
    assert rejected(breaker, now).retry_after == 240.0
    now += 240.0
    run(breaker, now, OK)
    now += 100.0
    trip(breaker, now)
    assert rejected(breaker, now).retry_after == 240.0
    now += 240.0
    run(breaker, now, OK)
    now += 300.0
    trip(breaker, now)
    assert rejected(breaker, now).retry_after == 60.0
    assert breaker.snapshot(now).trips == 6


def test_calls_of_an_earlier_generation_are_out_of_the_window() -> None:
    for results, expected in (
        ((FAIL, OK, FAIL, OK), BreakerState.OPEN),
        ((FAIL, OK, OK, OK), BreakerState.CLOSED),
    ):
        breaker = make(failures=100, minimum_sample=4, failure_rate=0.5, window=1e9)
        for _ in range(4):
            run(breaker, 0.0, FAIL)
        run(breaker, 30.0, OK)
        for outcome in results:
            run(breaker, 31.0, outcome)
        assert state_of(breaker) is expected


def test_slow_calls_leave_the_window_too_and_exactly_on_time_is_not_slow() -> None:
    breaker = make(minimum_sample=4, slow_after=1.0, slow_rate=0.5, window=10.0)
    for start, took in ((0.0, 2.0), (0.0, 2.0), (11.0, 1.0), (11.5, 0.1), (12.0, 0.5), (12.0, 0.5)):
        breaker.record(permit(breaker, start), OK, start + took)
    assert state_of(breaker) is BreakerState.CLOSED
    assert breaker._window_slow == 0
    assert len(breaker._window) == 4


def test_retry_after_is_zero_whenever_a_call_would_go() -> None:
    breaker = make(half_open_trials=2, trial_deadline=10.0)
    assert breaker.snapshot(0.0).retry_after == 0.0
    trip(breaker)
    first = permit(breaker, 30.0)
    assert breaker.snapshot(30.0).retry_after == 0.0
    permit(breaker, 35.0)
    assert breaker.snapshot(36.0).retry_after == 4.0  # the first trial's deadline
    assert breaker.snapshot(50.0).retry_after == 0.0
    breaker.record(first, IGNORED, 36.0)
    assert breaker.snapshot(36.0).retry_after == 0.0


def test_listeners_are_told_before_the_call_that_moved_the_state_returns() -> None:
    breaker = make()
    seen: list[BreakerState] = []
    breaker.subscribe(lambda change: seen.append(change.state))
    trip(breaker)
    assert seen == [BreakerState.OPEN]
    trial = permit(breaker, 30.0)
    assert trial.trial
    assert seen[-1:] == [BreakerState.HALF_OPEN]
    breaker.record(trial, OK, 30.0)
    assert seen[-1:] == [BreakerState.CLOSED]
    breaker.force_open(31.0, "no")
    assert seen[-1:] == [BreakerState.FORCED_OPEN]
    breaker.reset(32.0)
    assert seen[-1:] == [BreakerState.CLOSED]
    assert len(seen) == 5


def test_forced_open_survives_a_restart_and_nothing_else_does() -> None:
    breaker = make()
    trip(breaker)
    assert breaker.export(WALL) == {"version": 1, "forced_open": False, "reason": "", "at": WALL.isoformat()}
    breaker.force_open(1.0, "gateway update")
    breaker.force_open(2.0, "gateway update, take two")
    stored = breaker.export(WALL)
    fresh = make()
    fresh.restore(stored, 0.0)
    assert rejected(fresh, 1e9) == Rejected(math.inf, BreakerState.FORCED_OPEN, "gateway update, take two")
    fresh.reset(1e9)
    assert isinstance(fresh.try_acquire(1e9), Permit)
    fresh.restore({"version": 1, "forced_open": False, "reason": ""}, 1e9)
    assert state_of(fresh) is BreakerState.CLOSED
    fresh.restore({"version": 1, "forced_open": True, "reason": ""}, 1e9)
    assert fresh.snapshot(1e9).reason == "forced open before the restart"


@pytest.mark.parametrize(
    "state",
    [
        {"version": 2, "forced_open": True},
        {},
        {"version": 1, "forced_open": "yes"},
        {"version": 1, "forced_open": True, "reason": 3},
    ],
)
def test_a_stored_state_of_another_shape_or_the_future_is_refused(state: dict[str, object]) -> None:
    breaker = make()
    with pytest.raises(ValueError, match="use the version that wrote it"):
        breaker.restore(state, 0.0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_reset_forgets_failures_growth_and_window() -> None:
    breaker = make(minimum_sample=4)
    trip(breaker)
    run(breaker, 30.0, FAIL)
    breaker.reset(31.0)
    trip(breaker, 31.0)
    assert rejected(breaker, 31.0).retry_after == 30.0
    other = make(minimum_sample=4)
    for outcome in (FAIL, OK, FAIL):
        run(other, 0.0, outcome)
    other.reset(0.0)
    run(other, 0.0, FAIL)
    assert state_of(other) is BreakerState.CLOSED
    assert other.failures_in_a_row == 1


def resting(state: BreakerState) -> Breaker:
    return Breaker("test", rng=Random(7), resting=state)


def test_a_breaker_that_is_off_counts_nothing_and_one_that_watches_refuses_nothing() -> None:
    off, watching = resting(BreakerState.DISABLED), resting(BreakerState.METRICS_ONLY)
    for breaker, counted in ((off, 0), (watching, 10)):
        before = state_of(breaker)
        for _ in range(10):
            run(breaker, 0.0, FAIL)
        shown = breaker.snapshot(0.0)
        assert (shown.state, shown.failures, shown.failures_in_a_row) == (before, counted, counted)
        breaker.reset(0.0)
        assert (breaker.failures_in_a_row, state_of(breaker)) == (0, before)
        breaker.force_open(1.0, "operator")
        assert rejected(breaker, 2.0).reason == "operator"
        breaker.reset(3.0)
        assert state_of(breaker) is before
    with pytest.raises(ValueError, match="cannot rest"):
        resting(BreakerState.OPEN)


def test_a_check_refuses_what_a_permit_would_be_refused_and_takes_none() -> None:
    breaker = make()
    breaker.check(0.0)
    for _ in range(3):
        run(breaker, 0.0, FAIL)
    with pytest.raises(CircuitOpen) as caught:
        breaker.check(29.9)
    assert caught.value.context["retry_after"] == pytest.approx(0.1)
    breaker.check(30.0)
    assert state_of(breaker) is BreakerState.OPEN, "looking moves nothing"
    trial = breaker.acquire(30.0)
    with pytest.raises(CircuitOpen, match="a trial is under way"):
        breaker.check(31.0)
    breaker.record(trial, CANCELLED, 31.0)
    breaker.check(31.0)
    breaker.force_open(32.0, "no")
    with pytest.raises(CircuitOpen, match="until an operator resets it"):
        breaker.check(33.0)
    assert breaker.snapshot(33.0).refused == 3


def test_slow_is_what_the_other_side_took_and_not_what_waited_here() -> None:
    breaker = Breaker("test", BreakerPolicy(slow_after=1.0, slow_rate=0.5, minimum_sample=4), rng=Random(7))
    for at in range(8):
        breaker.record(breaker.acquire(at * 10.0), CallOutcome.SUCCESS, at * 10.0 + 9.0, took=0.5)
    assert state_of(breaker) is BreakerState.CLOSED
    for at in range(8, 16):
        if state_of(breaker) is BreakerState.CLOSED:
            breaker.record(breaker.acquire(at * 10.0), CallOutcome.SUCCESS, at * 10.0 + 0.1, took=1.5)
    assert state_of(breaker) is BreakerState.OPEN


def test_a_move_that_the_table_does_not_know_is_a_bug_that_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = make()
    monkeypatch.setitem(LEGAL, BreakerState.CLOSED, frozenset())
    with pytest.raises(IllegalMove, match="closed -> forced_open"):
        breaker.force_open(0.0, "test")
    assert state_of(breaker) is BreakerState.CLOSED


def test_the_status_has_the_keys_callers_read() -> None:
    breaker = make()
    fresh = breaker.snapshot(0.0).to_dict(WALL)
    assert (fresh["last_attempt"], fresh["seconds_since_last_attempt"]) == (None, None)
    trip(breaker, 100.0)
    status = breaker.snapshot(112.5).to_dict(WALL)
    assert status["connection_failures"] == 3
    assert status["circuit_breaker_active"] is True
    assert status["circuit_breaker_remaining"] == 17.5
    assert status["last_attempt"] == "2026-11-20T14:59:47.500000+00:00"
    assert status["seconds_since_last_attempt"] == 12.5
    assert status["cooldown_period"] == 30.0
    assert breaker.snapshot(112.5).to_dict()["last_attempt"] is None
    breaker.force_open(113.0, "x")
    assert breaker.snapshot(113.0).to_dict()["circuit_breaker_remaining"] is None


def test_listeners_get_every_change_in_order_and_a_raising_one_stays_subscribed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    breaker = make()
    seen: list[BreakerChange] = []

    def broken(change: BreakerChange) -> None:
        raise ValueError("listener")

    breaker.subscribe(broken)
    breaker.subscribe(seen.append)
    trip(breaker)
    run(breaker, 30.0, OK)
    assert [(c.previous, c.state, c.generation) for c in seen] == [
        (BreakerState.CLOSED, BreakerState.OPEN, 1),
        (BreakerState.OPEN, BreakerState.HALF_OPEN, 2),
        (BreakerState.HALF_OPEN, BreakerState.CLOSED, 3),
    ]
    assert seen[0].cooldown == 30.0
    assert seen[1].cooldown == 0.0
    assert len(caplog.records) == 3


def test_a_listener_may_use_the_breaker_and_changes_it_causes_come_after() -> None:
    breaker = make()
    seen: list[BreakerState] = []

    def listener(change: BreakerChange) -> None:
        if change.state is BreakerState.OPEN:
            breaker.force_open(1.0, "by listener")
        seen.append(change.state)

    breaker.subscribe(listener)
    trip_count = 3
    for _ in range(trip_count):
        run(breaker, 0.0, FAIL)
    assert seen == [BreakerState.OPEN, BreakerState.FORCED_OPEN]


@pytest.fixture
def eager_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_32_threads_never_exceed_the_trials_and_lose_no_permit() -> None:
    breaker = Breaker("reads", BreakerPolicy(half_open_trials=3, trial_deadline=1e9, failures=3), rng=Random(3))
    changes: list[BreakerChange] = []
    breaker.subscribe(changes.append)
    most_trials = threading.local()
    worst: list[int] = []
    start = threading.Barrier(32)

    def work(seed: int) -> None:
        rng = Random(seed)
        most_trials.value = 0
        now = 0.0
        start.wait()
        for _ in range(300):
            now += rng.random() * 20
            answer = breaker.try_acquire(now)
            most_trials.value = max(most_trials.value, breaker.snapshot(now).trials)
            if isinstance(answer, Permit):
                breaker.record(answer, rng.choice((OK, FAIL, FAIL, CANCELLED)), now)
        worst.append(most_trials.value)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    shown = breaker.snapshot(1e6)
    assert max(worst) <= 3
    assert shown.outstanding == 0
    assert shown.admitted + shown.refused == 32 * 300
    assert shown.successes + shown.failures + shown.ignored == shown.admitted
    assert [change.generation for change in changes] == list(range(1, shown.generation + 1))
    assert all(a.state is b.previous for a, b in itertools.pairwise(changes))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("failures", 0),
        ("cooldown", 0.0),
        ("max_cooldown", 29.0),
        ("growth", 0.5),
        ("healthy_after", 0.0),
        ("half_open_trials", 0),
        ("successes_to_close", 0),
        ("trial_deadline", 0.0),
        ("failure_rate", 1.1),
        ("minimum_sample", 0),
        ("window", 0.0),
        ("slow_after", 0.0),
        ("slow_rate", 0.0),
        ("max_hint", -1.0),
    ],
)
def test_a_policy_out_of_range_names_its_field(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"BreakerPolicy\.{field}="):
        BreakerPolicy(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("failures", "plan"),
    [
        (0, AttemptPlan(3, 3.0, 8.0)),
        (1, AttemptPlan(3, 3.0, 8.0)),
        (2, AttemptPlan(2, 2.0, 5.0)),
        (4, AttemptPlan(2, 2.0, 5.0)),
        (5, AttemptPlan(1, 1.0, 3.0)),
        (50, AttemptPlan(1, 1.0, 3.0)),
    ],
)
def test_the_attempt_plan_is_the_guides(failures: int, plan: AttemptPlan) -> None:
    assert AttemptPolicy().plan(failures) == plan
    assert AttemptPolicy.from_tiers((3, 2, 1), (3.0, 2.0, 1.0), (8.0, 5.0, 3.0)).plan(failures) == plan


def test_attempt_plans_out_of_range_are_refused() -> None:
    for bad in ((0, 1.0, 1.0), (1, -1.0, 1.0), (1, 1.0, 0.0)):
        with pytest.raises(ValueError, match="tries >= 1"):
            AttemptPlan(*bad)
    with pytest.raises(ValueError, match="three values each"):
        AttemptPolicy.from_tiers((3, 2), (3.0, 2.0, 1.0), (8.0, 5.0, 3.0))
