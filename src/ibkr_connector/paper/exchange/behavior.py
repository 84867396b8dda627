"""How quick and how tidy the exchange is: latencies in wire seconds, and the irregularities of a real gateway."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

Latency = tuple[float, float]
"""Shortest and longest, wire seconds; drawn uniformly for each message."""

ZERO_LATENCY: Latency = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeBehavior:
    """Latencies are wire time: a fast market clock does not shorten them, it moves the market further meanwhile.

    Raises ValueError when a latency or a probability is out of range.
    """

    ack_latency: Latency = (0.001, 0.005)
    """From a request (order, change, cancel) to its first echo."""
    fill_latency: Latency = (0.001, 0.004)
    """From the first echo to the order's arrival at the venue, where it starts to match."""
    cancel_latency: Latency = (0.001, 0.004)
    """From PendingCancel to Cancelled: a fill can still win the race."""
    commission_latency: Latency = (0.001, 0.005)
    """From an execution to its commission report."""
    late_execution_latency: Latency = (0.005, 0.05)
    """From an early `Filled` status to the execution it announced."""
    duplicate_status_probability: float = 0.1
    """Real gateways repeat orderStatus messages; this is the chance for each."""
    filled_before_exec_probability: float = 0.05
    """The chance that the final `Filled` status comes before its execution and commission."""
    execution_days: int = 1
    """How many days executions() and completed_orders() reach back, today included. Real gateways: the current day."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name.endswith("_latency"):
                low, high = value
                if not (0 <= low <= high and math.isfinite(high)):
                    raise ValueError(f"{item.name} must be (low, high) with 0 <= low <= high seconds, not {value!r}")
            elif item.name.endswith("_probability") and not 0 <= value <= 1:
                raise ValueError(f"{item.name} must lie between 0 and 1, not {value!r}")
        if self.execution_days < 1:
            raise ValueError(f"execution_days must be at least 1, not {self.execution_days}")

    @classmethod
    def instant(cls) -> ExchangeBehavior:
        """No latencies and no irregularities: for benchmarks and for tests of other things."""
        return cls(
            ack_latency=ZERO_LATENCY,
            fill_latency=ZERO_LATENCY,
            cancel_latency=ZERO_LATENCY,
            commission_latency=ZERO_LATENCY,
            late_execution_latency=ZERO_LATENCY,
            duplicate_status_probability=0.0,
            filled_before_exec_probability=0.0,
        )
