"""A historical query at work. Long ones are made piece by piece between other things, so that nobody else waits.

A piece is an hour of bars below a minute, a session of other intraday bars, or some years of daily ones: bars never
reach over these borders, so the pieces put together are what one big question would have given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from .. import sessions
from ..instruments import Instrument
from ..market.base import Bar, BarSize, What

if TYPE_CHECKING:
    from .hub import Hub

SLICE: Final = 0.02
"""Wire seconds a job may work before the others get their turn."""
_HOUR: Final = timedelta(hours=1)
_SESSIONS_OF_DAYS: Final = 250


class HistoryJob:
    """Collects the bars of one query and hands them to `done`."""

    def __init__(
        self,
        hub: Hub,
        item: Instrument,
        span: tuple[datetime, datetime],
        size: BarSize,
        what: What,
        *,
        use_rth: bool,
        done: Callable[[list[Bar]], None],
    ) -> None:
        self._hub = hub
        self._item = item
        self._size = size
        self._what = what
        self._use_rth = use_rth
        self._done = done
        self._pieces = pieces(item, span[0], span[1], size)
        self._bars: list[Bar] = []
        self._handle: asyncio.TimerHandle | None = None

    def run(self) -> None:
        """Work for a slice of time; the rest follows by itself."""
        self._handle = None
        began = self._hub.loop.time()
        for start, end in self._pieces:
            self._bars += self._hub.market.bars(self._item, start, end, self._size, self._what, self._use_rth)
            if self._hub.loop.time() - began >= SLICE:
                self._handle = self._hub.loop.call_later(0, self.run)
                return
        self._done(self._bars)

    def cancel(self) -> None:
        """Stop; `done` is never called."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


def pieces(item: Instrument, start: datetime, end: datetime, size: BarSize) -> Iterator[tuple[datetime, datetime]]:
    """Cut `[start, end)` where no bar of this size reaches over."""
    if size in {"week", "month"}:
        yield start, end
        return
    if size == "day":
        yield from _groups(item, start, end)
        return
    for session in sessions.sessions_between(item, start, end):
        low, high = max(start, session.start), min(end, session.end)
        if isinstance(size, int) and size < 60:
            yield from _hours(low, high)
        else:
            yield low, high


def _groups(item: Instrument, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    count, low = 0, start
    for session in sessions.sessions_between(item, start, end):
        count += 1
        if count == _SESSIONS_OF_DAYS:
            yield low, min(session.end, end)
            count, low = 0, min(session.end, end)
    if low < end:
        yield low, end


def _hours(low: datetime, high: datetime) -> Iterator[tuple[datetime, datetime]]:
    # Whole hours in UTC are whole hours on every exchange's clock here.
    border = low.replace(minute=0, second=0, microsecond=0) + _HOUR
    while low < high:
        yield low, min(border, high)
        low, border = border, border + _HOUR
