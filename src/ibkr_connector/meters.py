"""Counting what happens, for whoever looks later: plain numbers in memory, no metrics library, no I/O.

The rooms count as they work; `watch` reads a copy when it is asked for metrics. Names and labels are Prometheus's, with
few values each: never a symbol, an account or an order id. Safe from any thread; one short lock, a microsecond.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of every histogram, in seconds."""

Labels = tuple[str, ...]
_MOST_LABELS = 500
"""Label values per name, beyond which everything new counts as `other`: a name with an id in it must not eat memory."""


@dataclass(slots=True)
class Histogram:
    """Observed durations: how many fell into each bucket, and their sum in seconds."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.buckets[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    def copy(self) -> Histogram:
        """Another one with the same figures."""
        return Histogram(list(self.buckets), self.total)


@dataclass(frozen=True, slots=True)
class Counted:
    """A copy of everything counted so far."""

    counts: Mapping[str, Mapping[Labels, int]]
    seconds: Mapping[str, Mapping[Labels, Histogram]]


class Meters:
    """Counters and histograms by name and labels."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Labels, int]] = {}
        self._seconds: dict[str, dict[Labels, Histogram]] = {}

    def count(self, name: str, *labels: str, by: int = 1) -> None:
        """Add `by` to a counter."""
        with self._lock:
            family = self._counts.setdefault(name, {})
            known = _known(family, labels)
            family[known] = family.get(known, 0) + by

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Count a duration in a histogram."""
        with self._lock:
            family = self._seconds.setdefault(name, {})
            known = _known(family, labels)
            found = family.get(known)
            if found is None:
                found = family[known] = Histogram()
            found.observe(seconds)

    def read(self) -> Counted:
        """Everything so far."""
        with self._lock:
            return Counted(
                {name: dict(family) for name, family in self._counts.items()},
                {
                    name: {labels: one.copy() for labels, one in family.items()}
                    for name, family in self._seconds.items()
                },
            )


def _known(family: Mapping[Labels, object], labels: Labels) -> Labels:
    return labels if labels in family or len(family) < _MOST_LABELS else ("other",) * len(labels)
