"""The values a breaker deals in: its states, its policy, permits, changes, snapshots."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


class BreakerState(StrEnum):
    """Where the breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    """Opened by an operator: refuses everything until `reset`, across restarts."""
    METRICS_ONLY = "metrics_only"
    """Lets everything through and counts: for watching what the limits would do."""
    DISABLED = "disabled"
    """Lets everything through and counts nothing."""


_B = BreakerState
LEGAL: dict[BreakerState, frozenset[BreakerState]] = {
    _B.CLOSED: frozenset({_B.OPEN, _B.FORCED_OPEN}),
    _B.OPEN: frozenset({_B.HALF_OPEN, _B.CLOSED, _B.FORCED_OPEN}),
    _B.HALF_OPEN: frozenset({_B.CLOSED, _B.OPEN, _B.FORCED_OPEN}),
    _B.FORCED_OPEN: frozenset({_B.CLOSED, _B.METRICS_ONLY, _B.DISABLED}),
    _B.METRICS_ONLY: frozenset({_B.FORCED_OPEN}),
    _B.DISABLED: frozenset({_B.FORCED_OPEN}),
}
"""Every move there is; docs/IMPLEMENTATION/resilience.md tells when. A breaker that only watches, or is off, can be
opened by an operator; a reset leads back to where it rests."""


def how_to_reset(plane: str) -> str:
    """What to do about a breaker that is held open: trying again is no remedy."""
    return f"It is held open by hand: run `ibkr-connector breaker reset {plane}` when the cause is gone."


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When to open, and for how long. Times in seconds, rates as shares of 1.

    The first cool-down is exactly `cooldown`; each further trip without a healthy spell between doubles it, with
    jitter, within `cooldown` and `max_cooldown`. Only a broker's own hint may go beyond, up to `max_hint`.
    """

    failures: int = 3
    cooldown: float = 30.0
    max_cooldown: float = 300.0
    growth: float = 2.0
    healthy_after: float = 300.0
    """Seconds closed that take one step of growth back."""
    half_open_trials: int = 1
    """Trials under way at the same time."""
    successes_to_close: int = 1
    trial_deadline: float = 60.0
    """A trial not answered by then counts as failed."""
    failure_rate: float = 0.5
    minimum_sample: int = 20
    window: float = 60.0
    """Length of the window over which rates are taken."""
    slow_after: float = math.inf
    """An answer later than this is slow."""
    slow_rate: float = 1.0
    max_hint: float = 3_600.0

    def __post_init__(self) -> None:
        checks = {
            "failures": self.failures >= 1,
            "cooldown": 0 < self.cooldown < math.inf,
            "max_cooldown": self.cooldown <= self.max_cooldown < math.inf,
            "growth": 1 <= self.growth < math.inf,
            "healthy_after": self.healthy_after > 0,
            "half_open_trials": self.half_open_trials >= 1,
            "successes_to_close": self.successes_to_close >= 1,
            "trial_deadline": self.trial_deadline > 0,
            "failure_rate": 0 < self.failure_rate <= 1,
            "minimum_sample": self.minimum_sample >= 1,
            "window": self.window > 0,
            "slow_after": self.slow_after > 0,
            "slow_rate": 0 < self.slow_rate <= 1,
            "max_hint": self.max_hint >= 0,
        }
        for name, fine in checks.items():
            if not fine:
                raise ValueError(f"BreakerPolicy.{name}={getattr(self, name)!r} is out of range")


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to make one call. Give it back exactly once with `Breaker.record`."""

    number: int
    generation: int
    trial: bool
    issued_at: float
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """No call now. `retry_after` is in seconds: a promise while OPEN, the latest moment while trials are under way."""

    retry_after: float
    state: BreakerState
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """One change of state, as listeners get it."""

    name: str
    previous: BreakerState
    state: BreakerState
    at: float
    """Monotonic seconds."""
    generation: int
    reason: str
    cooldown: float
    """Seconds; 0 unless the new state is OPEN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSnapshot:
    """The breaker at one moment. Times in monotonic seconds, durations in seconds."""

    name: str
    state: BreakerState
    generation: int
    failures_in_a_row: int
    trips: int
    retry_after: float
    cooldown: float
    last_attempt: float | None
    now: float
    admitted: int
    refused: int
    successes: int
    failures: int
    ignored: int
    late: int
    outstanding: int
    trials: int
    reason: str

    def to_dict(self, wall: datetime | None = None) -> dict[str, Any]:
        """The keys of `get_connection_status`, and ours. `wall`: the same moment, aware, for `last_attempt`."""
        ago = None if self.last_attempt is None else self.now - self.last_attempt
        stamp = None if ago is None or wall is None else (wall - timedelta(seconds=ago)).isoformat()
        return {
            "connection_failures": self.failures_in_a_row,
            "circuit_breaker_active": self.state in {BreakerState.OPEN, BreakerState.FORCED_OPEN},
            "circuit_breaker_remaining": None if math.isinf(self.retry_after) else round(self.retry_after, 3),
            "last_attempt": stamp,
            "seconds_since_last_attempt": None if ago is None else round(ago, 3),
            "cooldown_period": round(self.cooldown, 3),
            "circuit_breaker_state": self.state.value,
            "circuit_breaker_trips": self.trips,
            "circuit_breaker_reason": self.reason,
        }
