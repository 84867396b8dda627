"""Which alerts are sent now: nothing twice, not too many, and room kept for the critical ones. Pure: time passed in.

Held back is not lost: the next alert of the same kind says how often it was repeated meanwhile, and the next alert of
all says how many others the rate limit has swallowed.
"""

from __future__ import annotations

from collections import deque

from ibkr_connector.alerts.alert import Alert, reaches, with_counts
from ibkr_connector.events import Severity

_WINDOW_S = 60.0
_REMEMBER = 4_096
"""Kinds with what they are about; a program that trades for months names many orders."""


class AlertPolicy:
    """The gate in front of one target. `now` is monotonic seconds. Belongs to one thread."""

    def __init__(self, *, least: Severity, repeat_after: float, per_minute: int) -> None:
        self._least = least
        self._repeat_after = repeat_after
        self._per_minute = per_minute
        self._sent: dict[tuple[str, str], float] = {}
        self._repeats: dict[tuple[str, str], int] = {}
        self._recent: dict[bool, deque[float]] = {True: deque(), False: deque()}
        self._held_back = 0

    def admit(self, alert: Alert, now: float) -> Alert | None:
        """The alert as it is to be sent, or None when it is held back or below this target's severity."""
        if not reaches(alert.severity, self._least):
            return None
        key = (alert.kind, alert.about)
        last = self._sent.get(key)
        if last is not None and now - last < self._repeat_after:
            self._repeats[key] = self._repeats.get(key, 0) + 1
            return None
        recent = self._recent[alert.severity is Severity.CRITICAL]
        while recent and now - recent[0] >= _WINDOW_S:
            recent.popleft()
        if len(recent) >= self._per_minute:
            self._held_back += 1
            return None
        recent.append(now)
        self._remember(key, now)
        counted = with_counts(alert, repeats=self._repeats.pop(key, 0), held_back=self._held_back)
        self._held_back = 0
        return counted

    def failed(self, alert: Alert) -> None:
        """It did not get through: the next of its kind is no repeat."""
        self._sent.pop((alert.kind, alert.about), None)

    def _remember(self, key: tuple[str, str], now: float) -> None:
        self._sent.pop(key, None)
        self._sent[key] = now
        if len(self._sent) > _REMEMBER:
            oldest = next(iter(self._sent))
            del self._sent[oldest]
            self._repeats.pop(oldest, None)
