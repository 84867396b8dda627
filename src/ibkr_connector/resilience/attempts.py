"""How patiently to connect, given how often it failed lately: the adaptive plan of the user guide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AttemptPlan:
    """One `connect()`: so many tries, so many seconds between them, so many seconds for each."""

    tries: int
    delay: float
    timeout: float

    def __post_init__(self) -> None:
        if self.tries < 1 or self.delay < 0 or self.timeout <= 0:
            raise ValueError(f"{self} needs tries >= 1, delay >= 0 and timeout > 0")


@dataclass(frozen=True, slots=True)
class AttemptPolicy:
    """Plans by failures in a row: normally, after 2, after 5 (3/3/8, 2/2/5, 1/1/3: tries, delay, timeout)."""

    normal: AttemptPlan = AttemptPlan(3, 3.0, 8.0)
    after_two: AttemptPlan = AttemptPlan(2, 2.0, 5.0)
    after_five: AttemptPlan = AttemptPlan(1, 1.0, 3.0)

    @classmethod
    def from_tiers(cls, tries: Sequence[int], delays: Sequence[float], timeouts: Sequence[float]) -> AttemptPolicy:
        """From the three settings, each with a value per tier. Raises ValueError unless all have three."""
        if not len(tries) == len(delays) == len(timeouts) == 3:
            raise ValueError(
                "attempts, delays and timeouts take three values each: normally, after 2, after 5 failures"
            )
        return cls(*(AttemptPlan(*tier) for tier in zip(tries, delays, timeouts, strict=True)))

    def plan(self, failures: int) -> AttemptPlan:
        """The plan after `failures` failures in a row (`Breaker.failures_in_a_row`)."""
        if failures >= 5:
            return self.after_five
        return self.after_two if failures >= 2 else self.normal
