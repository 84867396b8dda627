"""How much a client may ask for: requests per second, requests per endpoint, and the penalty box. Wire time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from .calls import WebError
from .options import Limits

TOO_MANY: Final = 429
WINDOW: Final = 1.0


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests in so many wire seconds."""

    count: int
    seconds: float


QUARTER: Final = Rate(1, 900.0)
RATES: Final[dict[str, Rate]] = {
    "snapshot": Rate(10, 1.0),
    "scanner_params": QUARTER,
    "scanner_run": Rate(1, 1.0),
    "executions": Rate(1, 5.0),
    "open_orders": Rate(1, 5.0),
    "pnl": Rate(1, 5.0),
    "portfolio_accounts": Rate(1, 5.0),
    "portfolio_subaccounts": Rate(1, 5.0),
    "pa_performance": QUARTER,
    "pa_summary": QUARTER,
    "pa_allperiods": QUARTER,
    "pa_transactions": QUARTER,
    "fyi": Rate(1, 1.0),
    "tickle": Rate(1, 1.0),
    "validate": Rate(1, 60.0),
}
"""Endpoints with a limit of their own (IBKR's pacing table); all others have the global one only."""


class SlidingLog:
    """The times of the last requests. Refused ones do not count."""

    __slots__ = ("_rate", "_times")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._times: deque[float] = deque()

    def admits(self, now: float) -> bool:
        """Whether one more fits at `now`; if so it is counted."""
        times = self._times
        while times and now - times[0] >= self._rate.seconds:
            times.popleft()
        if len(times) >= self._rate.count:
            return False
        times.append(now)
        return True


class Limiter:
    """Admits requests, or answers 429. Passing the global limit means the penalty box for the address."""

    def __init__(self, limits: Limits | None, loop: asyncio.AbstractEventLoop, *, oauth: bool) -> None:
        self._limits = limits
        self._loop = loop
        per_second = 0 if limits is None else limits.oauth_per_second if oauth else limits.gateway_per_second
        self._global = SlidingLog(Rate(per_second, WINDOW))
        self._endpoints = {name: SlidingLog(rate) for name, rate in RATES.items()}
        self._boxed: dict[str, float] = {}
        self._histories = 0

    @contextmanager
    def admit(self, name: str, remote: str) -> Iterator[None]:
        """Let a request in for as long as it takes, or WebError 429."""
        if self._limits is None:
            yield
            return
        self._check(name, remote)
        is_history = name == "history"
        if is_history and self._histories >= self._limits.concurrent_history:
            raise WebError(TOO_MANY, "Too many requests", {"error": "Too many requests", "statusCode": TOO_MANY})
        self._histories += is_history
        try:
            yield
        finally:
            self._histories -= is_history

    def _check(self, name: str, remote: str) -> None:
        assert self._limits is not None  # noqa: S101 - admit() has looked
        now = self._loop.time()
        if now < self._boxed.get(remote, now):
            raise _too_many()
        self._boxed.pop(remote, None)
        if not self._global.admits(now):
            if self._limits.penalty:
                self._boxed[remote] = now + self._limits.penalty
            raise _too_many()
        rate = self._endpoints.get(name) if self._limits.endpoints else None
        if rate is not None and not rate.admits(now):
            raise _too_many()


def _too_many() -> WebError:
    return WebError(TOO_MANY, "Too Many Requests")
