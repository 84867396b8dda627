"""A moment by which something must be done, passed down instead of a fresh timeout at every step."""

from __future__ import annotations

import math

from ibkr_connector.clock import Clock
from ibkr_connector.errors import RequestTimeout


class Deadline:
    """`seconds` from now on `clock`'s monotonic time. Shared by all steps of one call, so that they cannot add up."""

    __slots__ = ("_clock", "at")

    def __init__(self, clock: Clock, seconds: float) -> None:
        if math.isnan(seconds):
            raise ValueError("a deadline needs a number of seconds, not NaN")
        self._clock = clock
        self.at = clock.monotonic() + seconds
        """Monotonic seconds; infinite for `never`."""

    @classmethod
    def never(cls, clock: Clock) -> Deadline:
        """One that does not pass."""
        return cls(clock, math.inf)

    def remaining(self) -> float:
        """Seconds left, 0 when passed."""
        return max(0.0, self.at - self._clock.monotonic())

    @property
    def expired(self) -> bool:
        """Whether it has passed."""
        return self._clock.monotonic() >= self.at

    def check(self, what: str) -> None:
        """Raise `RequestTimeout` naming `what` when it has passed."""
        if self.expired:
            raise RequestTimeout(f"The deadline passed before {what}.", step=what)

    def sub(self, fraction: float) -> Deadline:
        """A nearer one: `fraction` (0 to 1] of what is left, for a step that must leave time for the next."""
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction={fraction!r} should lie between 0 and 1")
        return Deadline(self._clock, self.remaining() * fraction)

    def within(self, seconds: float) -> Deadline:
        """The nearer of this one and `seconds` from now."""
        return Deadline(self._clock, min(seconds, self.remaining()))

    def __repr__(self) -> str:
        return f"Deadline({self.remaining():.3f} s left)"
