"""What time it is at the broker: the last answer plus what has passed since on our monotonic clock. Pure.

A paper gateway may run its market at another date and speed (`time_scale`); against IBKR the scale is 1. IBKR answers
in whole seconds, so half a second is the best there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(slots=True)
class BrokerTime:
    """Broker time as last told, carried on."""

    time_scale: float = 1.0
    _told: datetime | None = None
    _at: float = 0.0

    def told(self, broker: datetime, now: float) -> None:
        """The broker said it is `broker` (aware); `now` is monotonic seconds."""
        self._told = broker
        self._at = now

    @property
    def known(self) -> bool:
        """Whether the broker was ever asked."""
        return self._told is not None

    def now(self, monotonic: float, fallback: datetime) -> datetime:
        """Broker time, or `fallback` (our wall clock) when it was never told."""
        if self._told is None:
            return fallback
        return self._told + timedelta(seconds=(monotonic - self._at) * self.time_scale)

    def skew(self, monotonic: float, wall: datetime) -> float | None:
        """Seconds the broker is ahead of our wall clock; None when unknown."""
        return None if self._told is None else (self.now(monotonic, wall) - wall).total_seconds()
