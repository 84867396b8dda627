"""The gateway's own pacing rules, as IBKR documents them. Pure: time (wire seconds) is passed in."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from operator import itemgetter
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
        self._log: list[tuple[float, int, HistoryKey]] = []
        """When what arrived, with its weight; by time."""
        self._newest = float("-inf")

    def admits(self, key: HistoryKey, arrived: float) -> bool:
        """Whether the request keeps all rules by the time it arrived at; if so it is counted.

        Requests may be judged in another order than they came in: a fault can hold some of them.
        """
        self._newest = max(self._newest, arrived)
        # Twice the window: a request that was held may have arrived long before the newest one.
        del self._log[: bisect_right(self._log, self._newest - 2 * self.LONG_WINDOW, key=itemgetter(0))]
        weight = _weight(key)
        everything = [(at, units) for at, units, _ in self._log]
        if _heaviest(everything, arrived, self.LONG_WINDOW) + weight > self.LONG_LIMIT:
            return False
        if any(other == key for at, _, other in self._log if abs(arrived - at) < self.IDENTICAL_WINDOW):
            return False
        place = (key.con_id, key.exchange, key.what)
        alike = [(at, units) for at, units, other in self._log if (other.con_id, other.exchange, other.what) == place]
        if _heaviest(alike, arrived, self.BURST_WINDOW) + weight > self.BURST_LIMIT:
            return False
        insort(self._log, (arrived, weight, key), key=itemgetter(0))
        return True


def _heaviest(log: list[tuple[float, int]], arrived: float, window: float) -> int:
    """The most that was counted in any window of this length that `arrived` lies in."""
    near = [(at, units) for at, units in log if abs(arrived - at) < window]
    starts = {arrived, *(at for at, _ in near if at < arrived)}
    return max(sum(units for at, units in near if start <= at < start + window) for start in starts)


def _weight(key: HistoryKey) -> int:
    return 2 if key.what == "BID_ASK" else 1
