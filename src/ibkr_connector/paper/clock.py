"""The gateway's two times: wire time (the event loop's) and market time (anchored, possibly fast).

This is the gateway's only module that asks for time or sleeps. Everything follows `loop.time()`, so a stepped loop
drives the market; the wall clock is read at construction only.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from . import sessions

NEW_YORK = ZoneInfo("America/New_York")
SESSION_START = time(10, 0)
"""New York time at which the `session` clock starts: half an hour of history, a full day ahead."""

ClockMode = Literal["session", "real"]


def wall_now() -> datetime:
    """The machine's clock, aware UTC."""
    return datetime.now(UTC)


def default_session_start(now: datetime) -> datetime:
    """10:00 New York of the last NYSE session for which that moment is not in the future of `now` (UTC)."""
    local_now = now.astimezone(NEW_YORK)
    last = local_now.date() if local_now.time() >= SESSION_START else local_now.date() - timedelta(days=1)
    return _ten_oclock(sessions.last_session_on_or_before("XNYS", last))


def _ten_oclock(day: date) -> datetime:
    return datetime.combine(day, SESSION_START, NEW_YORK).astimezone(UTC)


class MarketClock:
    """Market time = anchor + (loop time since construction) x speed,.

    mode "session": anchored at `start`, by default 10:00 New York of the last NYSE session, so it is always worth
    connecting. mode "real": anchored at the machine's clock; neither `start` nor a speed other than 1 makes sense
    there and both are refused (ValueError). Belongs to one event loop.
    """

    def __init__(
        self,
        mode: ClockMode = "session",
        start: datetime | None = None,
        speed: float = 1.0,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        wall: Callable[[], datetime] = wall_now,
    ) -> None:
        if not (math.isfinite(speed) and speed > 0):
            raise ValueError(f"speed must be a positive number, not {speed!r} (1 = real time, 60 = an hour a minute)")
        machine = wall()
        if mode == "real":
            if start is not None or speed != 1.0:
                raise ValueError(
                    "clock 'real' follows the real market: leave out start and speed, or use clock 'session'"
                )
            anchor = machine
        elif mode == "session":
            if start is not None and start.utcoffset() is None:
                raise ValueError(f"start {start.isoformat()} has no time zone: append one, for instance -05:00 or Z")
            anchor = default_session_start(machine) if start is None else start
        else:
            raise ValueError(f"clock must be 'session' or 'real', not {mode!r}")
        self.mode: ClockMode = mode
        self._loop = loop if loop is not None else asyncio.get_running_loop()
        self._speed = float(speed)
        self._anchor = anchor.astimezone(UTC)
        self._wire_anchor = self._loop.time()
        # Real time, too, follows the loop: one reading of the machine's clock, then the loop's seconds.
        self._wall_anchor, self._wall_wire = machine.astimezone(UTC), self._wire_anchor

    @property
    def anchor(self) -> datetime:
        """The market time this clock began with, or was last moved to (aware UTC)."""
        return self._anchor

    @property
    def speed(self) -> float:
        """Market seconds per second of wire time."""
        return self._speed

    def now(self) -> datetime:
        """Market time, aware UTC."""
        return self._anchor + timedelta(seconds=(self.wire() - self._wire_anchor) * self._speed)

    def wire(self) -> float:
        """Wire time: the event loop's seconds. What pacing, heartbeats and latencies are measured in."""
        return self._loop.time()

    def wall(self) -> datetime:
        """Real time, aware UTC: what heartbeats, tokens and logins are stamped with. It runs as wire time does."""
        return self._wall_anchor + timedelta(seconds=self.wire() - self._wall_wire)

    async def sleep_wire(self, seconds: float) -> None:
        """Sleep for wire seconds."""
        await asyncio.sleep(max(0.0, seconds))

    def wire_at(self, market_time: datetime) -> float:
        """The wire time at which the market time will be reached, if nobody moves the clock."""
        return self._wire_anchor + (market_time - self._anchor).total_seconds() / self._speed

    def jump(self, to: datetime) -> None:
        """Move market time forward to `to` at once. Going back is a ValueError."""
        now = self.now()
        if to < now:
            raise ValueError(f"the market clock only moves forward: it is {now.isoformat()}, not yet {to.isoformat()}")
        self._anchor = to.astimezone(UTC)
        self._wire_anchor = self.wire()
