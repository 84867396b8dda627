"""The gateway's own pacing rules, as IBKR documents them. Pure: time (wire seconds) is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

BREACHES_TO_DISCONNECT: Final = 3
"""IBKR: after three breaches of the message rate the session is terminated."""


class MessageRate:
    """At most `limit` messages in any second, for one connection."""

    __slots__ = ("_breach_until", "_limit", "_times", "breaches", "received")

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"a message rate limit of {limit} would allow nothing: use None for no limit")
        self._limit = limit
        self._times: deque[float] = deque()
        self._breach_until = float("-inf")
        self.breaches = 0
        self.received = 0
        """Messages in the current second, those beyond the limit included."""

    @property
    def limit(self) -> int:
        """Messages per second."""
        return self._limit

    def wait(self, now: float) -> float:
        """Seconds until the next message may be read; 0 = now, and it has been counted."""
        self._forget(now)
        if len(self._times) >= self._limit:
            return max(self._times[0] + 1.0 - now, 1e-6)
        self._times.append(now)
        return 0.0

    def reject(self, now: float) -> bool:
        """Whether a message that arrives now is above the rate. A breach is counted once per second."""
        self._forget(now)
        if len(self._times) < self._limit:
            self._times.append(now)
            self.received = len(self._times)
            return False
        if now >= self._breach_until:
            self.breaches += 1
            self._breach_until = now + 1.0
            self.received = len(self._times)
        self.received += 1
        return True

    def _forget(self, now: float) -> None:
        while self._times and self._times[0] <= now - 1.0:
            self._times.popleft()


@dataclass(frozen=True, slots=True)
class HistoryKey:
    """What makes two historical requests alike."""

    con_id: int
    exchange: str
    what: str
    rest: tuple[Hashable, ...]
    """Everything else that was asked for."""


class HistoryPacing:
    """Pacing of historical requests for bars of 30 seconds and less, over all clients of the gateway.

    No identical request within 15 seconds, no six for the same contract, exchange and tick type within two, no more
    than 60 in ten minutes; BID_ASK counts twice.
    """

    IDENTICAL_WINDOW: Final = 15.0
    BURST_WINDOW: Final = 2.0
    BURST_LIMIT: Final = 5
    LONG_WINDOW: Final = 600.0
    LONG_LIMIT: Final = 60

    def __init__(self) -> None:
        self._log: deque[tuple[float, HistoryKey]] = deque()

    def admits(self, key: HistoryKey, now: float) -> bool:
        """Whether the request keeps all rules; if so it is counted."""
        while self._log and self._log[0][0] <= now - self.LONG_WINDOW:
            self._log.popleft()
        weight = _weight(key)
        if sum(_weight(other) for _, other in self._log) + weight > self.LONG_LIMIT:
            return False
        if any(other == key for at, other in self._log if at > now - self.IDENTICAL_WINDOW):
            return False
        alike = sum(
            _weight(other)
            for at, other in self._log
            if at > now - self.BURST_WINDOW
            and (other.con_id, other.exchange, other.what) == (key.con_id, key.exchange, key.what)
        )
        if alike + weight > self.BURST_LIMIT:
            return False
        self._log.append((now, key))
        return True


def _weight(key: HistoryKey) -> int:
    return 2 if key.what == "BID_ASK" else 1
