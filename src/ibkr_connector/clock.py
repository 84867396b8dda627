"""The only place in the connector that asks for the time, sleeps, or sets a timeout.

Two kinds of time, never mixed:

* *monotonic* seconds measure durations (deadlines, pacing, heartbeats); they never jump;
* *wall* time is an aware UTC datetime, used for stamps and for comparing with the broker's clock.

Everything that needs time takes a `Clock`; tests and proofs inject their own.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

_T = TypeVar("_T")

__all__ = ["Clock", "ManualClock", "SystemClock", "system_clock"]


class Clock(Protocol):
    """Where time comes from."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes backwards."""
        ...

    def now(self) -> datetime:
        """The wall clock: an aware UTC datetime."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspend the caller for `seconds` (0 yields to the loop once)."""
        ...

    async def wait_for(self, awaitable: Awaitable[_T], seconds: float | None) -> _T:
        """Await with a limit in seconds (None = no limit); raises the builtin `TimeoutError`."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(seconds)

    async def wait_for(self, awaitable: Awaitable[_T], seconds: float | None) -> _T:
        """See `Clock.wait_for`."""
        async with asyncio.timeout(seconds):
            return await awaitable


class ManualClock:
    """A clock that moves only when told to, for pure cores and their tests."""

    def __init__(self, start: datetime | None = None, monotonic: float = 1_000.0) -> None:
        self._now = start or datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
        self._monotonic = monotonic

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._monotonic

    def now(self) -> datetime:
        """See `Clock.now`."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds` (>= 0)."""
        if seconds < 0:
            msg = f"a clock cannot go back: advance({seconds})"
            raise ValueError(msg)
        self._monotonic += seconds
        self._now += timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        """Move on at once: nobody else drives this clock."""
        self.advance(max(seconds, 0.0))
        await asyncio.sleep(0)

    async def wait_for(self, awaitable: Awaitable[_T], seconds: float | None) -> _T:
        """Await without a limit: manual time does not pass while waiting."""
        del seconds
        return await awaitable


system_clock = SystemClock()
