"""Bars that keep coming: real-time bars of five seconds, and history kept up to date.

Both ask the market source for the bars of the time that has passed, so that live bars and history agree. They follow
market time; when it runs fast, what has piled up is sent together.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from .. import sessions
from ..instruments import Instrument
from ..market.base import Bar, BarSize, What
from . import layouts_market as layout

if TYPE_CHECKING:
    from .session import Session

SPAN: Final = timedelta(seconds=5)
_MIN_WAIT: Final = 0.02
"""Wire seconds between two looks at the market, however fast its clock runs."""
_MAX_CATCH_UP: Final = 720
"""Five-second bars sent at most after a jump of the market clock: an hour's."""
_LOOK_BACK: Final = timedelta(minutes=10)


class BarStream(ABC):
    """Something that looks at the market every five market seconds until it is closed."""

    def __init__(self, session: Session, request_id: int, item: Instrument) -> None:
        self._session = session
        self._request_id = request_id
        self._item = item
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Send nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def nudge(self) -> None:
        """The market clock has jumped: look again soon."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = self._session.hub.loop.call_later(_MIN_WAIT, self._look)

    def _wait_for(self, moment: datetime) -> None:
        clock, loop = self._session.hub.clock, self._session.hub.loop
        self._timer = loop.call_later(max(_MIN_WAIT, clock.wire_at(moment) - loop.time()), self._look)

    @abstractmethod
    def _look(self) -> None:
        """See what the market did, tell the client, and wait for the next time."""


class RealTimeBars(BarStream):
    """reqRealTimeBars: a bar every five seconds while the market is open, also when nothing was traded."""

    def __init__(self, session: Session, request_id: int, item: Instrument, what: What, *, use_rth: bool) -> None:
        super().__init__(session, request_id, item)
        self._what = what
        self._use_rth = use_rth
        self._next = floor_span(session.hub.clock.now()) + SPAN
        self._price: float | None = None
        self._wait_for(self._next)

    def _look(self) -> None:
        self._timer = None
        hub = self._session.hub
        now = hub.clock.now()
        self._next = max(self._next, floor_span(now) - SPAN * _MAX_CATCH_UP)
        if self._next <= now:
            start = self._next - SPAN
            end = floor_span(now)
            found = {bar.start: bar for bar in hub.market.bars(self._item, start, end, 5, self._what, self._use_rth)}
            while start < end:
                self._show(start, found.get(start))
                start += SPAN
            self._next = end + SPAN
        self._wait_for(self._next)

    def _show(self, start: datetime, bar: Bar | None) -> None:
        session = self._session
        if bar is None:
            if not sessions.is_open(self._item, start, outside_rth=not self._use_rth):
                return
            bar = self._quiet(start)
            if bar is None:
                return
        self._price = bar.close
        session.send(layout.real_time_bar(session.version, self._request_id, bar, self._item))

    def _quiet(self, start: datetime) -> Bar | None:
        """The bar of five seconds in which nothing happened: the last price, no volume."""
        if self._price is None:
            hub = self._session.hub
            before = hub.market.bars(self._item, start - _LOOK_BACK, start, 5, self._what, self._use_rth)
            if not before:
                return None
            self._price = before[-1].close
        price = self._price
        day = sessions.session_date(self._item, start)
        return Bar(
            start=start, session=day, open=price, high=price, low=price, close=price, volume=0, wap=price, count=0
        )


class UpdatedHistory(BarStream):
    """keepUpToDate: the bar in progress every five seconds, and every new one that begins."""

    def __init__(
        self,
        session: Session,
        request_id: int,
        item: Instrument,
        size: BarSize,
        what: What,
        *,
        use_rth: bool,
        format_date: int,
        last: Bar,
    ) -> None:
        super().__init__(session, request_id, item)
        self._size = size
        self._what = what
        self._use_rth = use_rth
        self._format_date = format_date
        self._last = last
        self._next_look()

    def _next_look(self) -> None:
        self._wait_for(floor_span(self._session.hub.clock.now()) + SPAN)

    def _look(self) -> None:
        self._timer = None
        session, hub = self._session, self._session.hub
        bars = hub.market.bars(self._item, self._last.start, hub.clock.now(), self._size, self._what, self._use_rth)
        for bar in bars:
            if bar == self._last or bar.start < self._last.start:
                continue
            self._last = bar
            session.send(
                layout.historical_data_update(
                    session.version,
                    self._request_id,
                    bar,
                    intraday=isinstance(self._size, int),
                    format_date=self._format_date,
                    item=self._item,
                )
            )
        self._next_look()


def floor_span(at: datetime) -> datetime:
    """The last full five seconds of the clock."""
    seconds = int(at.timestamp())
    return datetime.fromtimestamp(seconds - seconds % int(SPAN.total_seconds()), UTC)
