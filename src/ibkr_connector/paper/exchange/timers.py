"""Things that will happen at a market time: a heap, processed by `Exchange.advance`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from itertools import count


@dataclass(slots=True, eq=False)
class Timer:
    """One action due at a market time. `cancel` makes it never happen."""

    at: datetime
    action: Callable[[], None] | None

    def cancel(self) -> None:
        """Forget the action; harmless when it already happened."""
        self.action = None


class Timeline:
    """Timers in order of their time; equal times in the order they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Timer]] = []
        self._order = count()

    def at(self, when: datetime, action: Callable[[], None]) -> Timer:
        """Set a timer."""
        timer = Timer(when, action)
        heappush(self._heap, (when, next(self._order), timer))
        return timer

    def next_at(self) -> datetime | None:
        """When the first live timer is due, or None."""
        heap = self._heap
        while heap and heap[0][2].action is None:
            heappop(heap)
        return heap[0][0] if heap else None

    def run_next(self) -> None:
        """Take the first timer off and run it. Call after `next_at` returned a time."""
        timer = heappop(self._heap)[2]
        action, timer.action = timer.action, None
        if action is not None:
            action()
