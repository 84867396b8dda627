"""The breaker against a naive model that keeps every permit and decides by looking at all of it."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ibkr_connector.errors import CircuitOpen
from ibkr_connector.resilience import Breaker, BreakerChange, BreakerPolicy, BreakerState, CallOutcome, Permit, Rejected
from ibkr_connector.resilience.breaker_types import LEGAL


class Model:
    """What a breaker is, in thirty lines: consecutive failures, trials with deadlines, generations."""

    def __init__(self, failures: int, trials: int, closes: int, trial_deadline: float) -> None:
        self.limits = failures, trials, closes
        self.trial_deadline = trial_deadline
        self.state, self.generation = "closed", 0
        self.row = self.good = 0
        self.trials: dict[int, float] = {}

    def move(self, state: str) -> None:
        self.state, self.generation, self.good, self.trials = state, self.generation + 1, 0, {}

    def admits(self, now: float, open_until: float) -> bool:
        if self.state == "open" and now >= open_until:
            self.move("half_open")
        if self.state == "half_open" and any(deadline <= now for deadline in self.trials.values()):
            self.row += 1
            self.move("open")
        return self.state == "closed" or (self.state == "half_open" and len(self.trials) < self.limits[1])

    def settle(self, permit: Permit, outcome: CallOutcome) -> None:
        if permit.generation != self.generation:
            return
        self.trials.pop(permit.number, None)
        if outcome is CallOutcome.FAILURE:
            self.row += 1
            if self.state == "half_open" or (self.state == "closed" and self.row >= self.limits[0]):
                self.move("open")
        elif outcome is CallOutcome.SUCCESS:
            self.row, self.good = 0, self.good + 1
            if self.state == "half_open" and self.good >= self.limits[2]:
                self.move("closed")


class BreakerMachine(RuleBasedStateMachine):
    @initialize(
        failures=st.integers(1, 4), trials=st.integers(1, 3), closes=st.integers(1, 3), seed=st.integers(0, 1_000)
    )
    def begin(self, failures: int, trials: int, closes: int, seed: int) -> None:
        self.now = 0.0
        # The rate rule is out of the way here: its sample is never reached.
        self.policy = BreakerPolicy(
            failures=failures,
            half_open_trials=trials,
            successes_to_close=closes,
            trial_deadline=20.0,
            minimum_sample=100_000,
            max_cooldown=120.0,
        )
        self.breaker = Breaker("model", self.policy, rng=Random(seed))
        self.model = Model(failures, trials, closes, 20.0)
        self.permits: list[Permit] = []
        self.open_until = 0.0
        self.promised = 0.0
        self.changes: list[BreakerChange] = []
        self.good: list[int] = []
        """The generation of each trial that succeeded in time."""
        self.breaker.subscribe(self.on_change)
        self.counts: dict[str, Any] = {"admitted": 0, "settled": 0}

    def on_change(self, change: BreakerChange) -> None:
        assert change.state in LEGAL[change.previous]
        assert change.previous is (self.changes[-1].state if self.changes else BreakerState.CLOSED)
        assert change.generation == len(self.changes) + 1
        self.changes.append(change)
        if change.state is BreakerState.OPEN:
            assert self.policy.cooldown <= change.cooldown <= self.policy.max_cooldown
            self.open_until = change.at + change.cooldown

    @rule()
    def acquire(self) -> None:
        expected = self.model.admits(self.now, self.open_until)
        forced = self.model.state == "forced_open"
        answer = self.breaker.try_acquire(self.now)
        assert isinstance(answer, Permit) is (expected and not forced)
        if isinstance(answer, Permit):
            assert self.now >= self.promised, "admitted before the promised moment"
            self.counts["admitted"] += 1
            self.permits.append(answer)
            assert answer.generation == self.model.generation
            assert answer.trial is (self.model.state == "half_open")
            if answer.trial:
                self.model.trials[answer.number] = self.now + 20.0
        else:
            assert isinstance(answer, Rejected)
            if answer.state is BreakerState.OPEN:
                assert answer.retry_after > 0
                self.promised = self.now + answer.retry_after - 1e-9

    @rule()
    def look(self) -> None:
        """A check refuses exactly what a permit would be refused, and moves nothing."""
        waiting = self.model.state == "open" and self.now < self.open_until
        hung = any(deadline <= self.now for deadline in self.model.trials.values())
        busy = self.model.state == "half_open" and len(self.model.trials) >= self.model.limits[1] and not hung
        refused = False
        try:
            self.breaker.check(self.now)
        except CircuitOpen:
            refused = True
        assert refused is (waiting or busy or self.model.state == "forced_open")

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), outcome=st.sampled_from(CallOutcome))
    def settle(self, data: st.DataObject, outcome: CallOutcome) -> None:
        permit = self.permits.pop(data.draw(st.integers(0, len(self.permits) - 1)))
        before = self.breaker.snapshot(self.now)
        of_now = permit.generation == before.generation
        if before.state is BreakerState.HALF_OPEN and of_now and outcome is CallOutcome.SUCCESS:
            self.good.append(permit.generation)
        self.model.settle(permit, outcome)
        self.breaker.record(permit, outcome, self.now)
        self.counts["settled"] += 1
        after = self.breaker.state
        if not of_now:
            assert after is before.state, "a late result moved the state"
        if before.state is BreakerState.HALF_OPEN and after is BreakerState.CLOSED:
            assert self.good.count(before.generation) == self.policy.successes_to_close

    @rule(seconds=st.sampled_from((0.0, 0.5, 5.0, 19.5, 20.0, 30.0, 60.0, 121.0)))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def force(self) -> None:
        if self.model.state != "forced_open":
            self.model.move("forced_open")
        self.breaker.force_open(self.now, "operator")

    @rule()
    def reset(self) -> None:
        if self.model.state != "closed":
            self.model.move("closed")
        self.model.row = 0
        self.breaker.reset(self.now)
        self.promised = self.now

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "breaker"):
            return
        shown = self.breaker.snapshot(self.now)
        assert shown.state.value == self.model.state
        assert shown.generation == self.model.generation
        assert shown.failures_in_a_row == self.model.row
        assert shown.trials == len(self.model.trials) <= self.policy.half_open_trials
        assert shown.outstanding == len(self.permits) == self.counts["admitted"] - self.counts["settled"]


TestBreakerModel = BreakerMachine.TestCase
