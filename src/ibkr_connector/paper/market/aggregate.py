"""Turning pieces of market history into bars, the same way for every source.

A source cuts time into *parts* (a tick, a minute, a whole session: whatever it has ready) and this module lays IBKR's
grid of bars over them. Intraday bars align to the clock of New York and to the session's start: the first hourly bar
of a regular session runs 09:30 to 10:00. Daily bars are one session, weeks and months group sessions by date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from .. import sessions
from ..instruments import Instrument
from .base import Bar, BarSize, MarketEvent, Quote, Trade, What

MAX_INTRADAY_SECONDS = 8 * 3600


class Part(Struct, gc=False):
    """What happened in one stretch of time, for one kind of data.

    TRADES: `weight` is the volume and `turnover` its sum of price x size. BID, ASK, MIDPOINT: `weight` is the time in
    seconds and `turnover` the price integrated over it, so that turnover / weight is the time-weighted average.
    """

    open: float
    high: float
    low: float
    close: float
    weight: float
    turnover: float
    count: int

    def absorb(self, later: Part) -> None:
        """Extend this part by one that follows it."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.weight += later.weight
        self.turnover += later.turnover
        self.count += later.count


PartsOf = Callable[[What, datetime, datetime], Iterable[Part]]
"""Parts of one instrument for TRADES, BID, ASK or MIDPOINT, in time order, covering exactly `[start, end)`."""


class Period(Struct, frozen=True):
    """The time one bar covers: a stretch of a session, or the trading hours of several sessions."""

    start: datetime
    session: date
    ranges: tuple[tuple[datetime, datetime], ...]


def periods(instrument: Instrument, start: datetime, end: datetime, size: BarSize, use_rth: bool) -> Iterator[Period]:
    """The grid of bars over `[start, end)`, oldest first."""
    if isinstance(size, int):
        if not 0 < size <= MAX_INTRADAY_SECONDS:
            raise ValueError(f"bar size of {size} s: intraday bars last 1 to {MAX_INTRADAY_SECONDS} s")
        yield from _intraday(instrument, start, end, size, use_rth)
        return
    if size not in {"day", "week", "month"}:
        raise ValueError(f"bar size {size!r}: give seconds, 'day', 'week' or 'month'")
    group: list[sessions.Session] = []
    for session in sessions.sessions_between(instrument, _group_start(instrument, start, size), end):
        opens, closes = session.bounds(use_rth)
        if opens >= end or (size == "day" and closes <= start):
            continue
        if group and _group_key(group[-1].day, size) != _group_key(session.day, size):
            yield _grouped(group, use_rth)
            group = []
        group.append(session)
    if group:
        yield _grouped(group, use_rth)


def _intraday(instrument: Instrument, start: datetime, end: datetime, size: int, use_rth: bool) -> Iterator[Period]:
    for session in sessions.sessions_between(instrument, start, end):
        low, high = session.bounds(use_rth)
        local = low.astimezone(sessions.NEW_YORK)
        into_day = local.hour * 3600 + local.minute * 60 + local.second
        step = timedelta(seconds=size)
        boundary = low + timedelta(seconds=size - into_day % size)
        if start > boundary:
            boundary += step * ((start - boundary) // step)
            low = boundary
            boundary += step
        while low < min(high, end):
            upto = min(boundary, high)
            if low >= start:
                yield Period(low, session.day, ((low, upto),))
            low, boundary = boundary, boundary + step


def _group_start(instrument: Instrument, start: datetime, size: BarSize) -> datetime:
    """The beginning of the week or month `start` lies in: a bar that is asked for is whole."""
    if size == "day":
        return start
    day = sessions.last_session(instrument, start).day
    first = day - timedelta(days=day.weekday()) if size == "week" else day.replace(day=1)
    session = sessions.calendar_session(
        sessions.calendar_of(instrument),
        sessions.next_session_on_or_after(sessions.calendar_of(instrument), first),
    )
    return min(start, session.start) if session is not None else start


def _group_key(day: date, size: BarSize) -> tuple[int, int]:
    if size == "week":
        year, week, _ = day.isocalendar()
        return year, week
    if size == "month":
        return day.year, day.month
    return day.toordinal(), 0


def _grouped(group: list[sessions.Session], use_rth: bool) -> Period:
    ranges = tuple(session.bounds(use_rth) for session in group)
    return Period(ranges[0][0], group[-1].day, ranges)


def build_bars(
    parts: PartsOf,
    instrument: Instrument,
    start: datetime,
    end: datetime,
    size: BarSize,
    what: What,
    use_rth: bool,
) -> list[Bar]:
    """Lay the grid over a source's parts; see MarketSource.bars for what is promised.

    BID_ASK follows IBKR's definition: open = average bid, high = highest ask, low = lowest bid, close = average ask.
    """
    kind: What = "TRADES" if what == "ADJUSTED_LAST" else what
    decimals = wap_decimals(instrument)
    bars: list[Bar] = []
    for period in periods(instrument, start, end, size, use_rth):
        if kind == "BID_ASK":
            bid, ask = _merged(parts, "BID", period, end), _merged(parts, "ASK", period, end)
            if bid is not None and ask is not None:
                mean_bid = round(bid.turnover / bid.weight, decimals) if bid.weight else bid.open
                mean_ask = round(ask.turnover / ask.weight, decimals) if ask.weight else ask.close
                both = Part(mean_bid, ask.high, bid.low, mean_ask, 0, 0, 0)
                bars.append(_bar(period, both, kind, decimals))
            continue
        whole = _merged(parts, kind, period, end)
        if whole is not None:
            bars.append(_bar(period, whole, kind, decimals))
    return bars


def _merged(parts: PartsOf, kind: What, period: Period, end: datetime) -> Part | None:
    whole: Part | None = None
    for low, high in period.ranges:
        if low >= end:
            break
        for part in parts(kind, low, min(high, end)):
            if whole is None:
                whole = Part(part.open, part.high, part.low, part.close, part.weight, part.turnover, part.count)
            else:
                whole.absorb(part)
    return whole


def _bar(period: Period, part: Part, kind: What, decimals: int) -> Bar:
    if kind != "TRADES":
        volume, wap, count = -1.0, -1.0, -1
    elif part.weight > 0:
        volume, wap, count = part.weight, round(part.turnover / part.weight, decimals), part.count
    else:
        volume, wap, count = 0.0, 0.0, 0
    return Bar(
        start=period.start,
        session=period.session,
        open=part.open,
        high=part.high,
        low=part.low,
        close=part.close,
        volume=volume,
        wap=wap,
        count=count,
    )


def wap_decimals(instrument: Instrument) -> int:
    """Decimals of a volume-weighted price: one more than the price increment has, as IBKR prints it."""
    exponent = instrument.min_tick.normalize().as_tuple().exponent
    return 1 - exponent if isinstance(exponent, int) else 3


def parts_of_events(
    events: Iterable[MarketEvent],
    kind: What,
    start: datetime,
    end: datetime,
    in_force: Quote | None,
) -> Iterator[Part]:
    """The parts of `[start, end)` from its own ticks. `in_force` is the quote that held when it began, if any."""
    if kind == "TRADES":
        for event in events:
            if isinstance(event, Trade):
                price, size = float(event.price), float(event.size)
                yield Part(price, price, price, price, size, price * size, 1 if size else 0)
        return
    since, price_now = start, _side(in_force, kind)
    for event in events:
        if not isinstance(event, Quote):
            continue
        if price_now is not None and event.at > since:
            seconds = (event.at - since).total_seconds()
            yield Part(price_now, price_now, price_now, price_now, seconds, price_now * seconds, 0)
        since, price_now = event.at, _side(event, kind)
    if price_now is not None and end > since:
        seconds = (end - since).total_seconds()
        yield Part(price_now, price_now, price_now, price_now, seconds, price_now * seconds, 0)


def _side(quote: Quote | None, kind: What) -> float | None:
    if quote is None:
        return None
    if kind == "BID":
        return None if quote.bid is None else float(quote.bid)
    if kind == "ASK":
        return None if quote.ask is None else float(quote.ask)
    return midpoint(quote.bid, quote.ask)


def midpoint(bid: Decimal | None, ask: Decimal | None) -> float | None:
    """The middle of a quote, exact before it becomes a float; None for a one-sided quote."""
    return None if bid is None or ask is None else float((bid + ask) / 2)
