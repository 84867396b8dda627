"""An invented market: seeded, endless in both directions of time, and consistent at every scale.

The same seed gives the same ticks, whenever and in whatever order they are asked for. A bar always equals what its own
ticks add up to; daily bars of many years are answered without making their ticks (see `days` and `minutes`). Two
figures of bars are estimates: the average price (`wap`) of a bar that spans a whole session, and the time-weighted
averages of BID_ASK.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial

from .. import sessions
from ..instruments import Instrument
from .aggregate import Part, build_bars, parts_of_events
from .base import Bar, BarSize, MarketEvent, Quote, Trade, What
from .days import Segment, Walk, expiry_of, first_listed
from .minutes import Minute, minutes_of, ticks_of

ZERO = Decimal(0)
MINUTE = timedelta(minutes=1)
_SEGMENTS_KEPT = 96
_TICKS_KEPT = 256
_SHARE_OF_SPREAD: dict[What, int] = {"TRADES": 0, "BID": 0, "MIDPOINT": 1, "ASK": 2}
"""Halves of the spread by which each kind of price stands above the bid."""


class SyntheticMarket:
    """The default market source. Covers every instrument; indices print without quotes, currency pairs quote only."""

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed
        self._walks: dict[int, Walk] = {}
        self._minutes: OrderedDict[tuple[int, datetime], list[Minute]] = OrderedDict()
        self._ticks: OrderedDict[tuple[int, datetime], list[MarketEvent]] = OrderedDict()

    @property
    def name(self) -> str:
        """`synthetic`."""
        return "synthetic"

    @property
    def suggested_start(self) -> datetime | None:
        """None: there is a market at any time."""
        return None

    def covers(self, instrument: Instrument) -> bool:
        """Always."""
        return True

    def is_data_day(self, instrument: Instrument, day: date) -> bool:
        """Every session; of a future, while it is listed."""
        return sessions.session_of(instrument, day) is not None and bool(self._segments(instrument, day))

    def events(self, instrument: Instrument, start: datetime) -> Iterator[MarketEvent]:
        """Ticks from `start` on: without end, or until a future's last trading day."""
        session = sessions.next_session(instrument, start)
        while True:
            segments = self._segments(instrument, session.day)
            expiry = expiry_of(instrument)
            if expiry is not None and session.day > expiry:
                return
            for segment in segments:
                if segment.end <= start:
                    continue
                for index in range(_index_at(segment, start), segment.minutes):
                    ticks = self._ticks_of(instrument, segment, index)
                    yield from ticks if ticks[0].at >= start else ticks[bisect_left(ticks, start, key=_at) :]
            if segments and instrument.sec_type != "IND":
                yield Quote(session.end, None, None, ZERO, ZERO)
            session = sessions.following_session(instrument, session.day)

    def quote_at(self, instrument: Instrument, at: datetime) -> Quote | None:
        """The quote in force; without bid and ask while closed; None for an index."""
        if instrument.sec_type == "IND":
            return None
        session = sessions.last_session(instrument, at)
        if at >= session.end:
            return Quote(session.end, None, None, ZERO, ZERO)
        for segment in self._segments(instrument, session.day):
            if segment.start <= at < segment.end:
                return self._quote_in(instrument, segment, at)
        return Quote(session.start, None, None, ZERO, ZERO)

    def last_trade_at(self, instrument: Instrument, at: datetime) -> Trade | None:
        """The most recent print; None for a currency pair, which has none."""
        if instrument.sec_type == "CASH":
            return None
        session = sessions.last_session(instrument, at)
        while session.day >= first_listed(instrument):
            for segment in reversed(self._segments(instrument, session.day)):
                if segment.start <= at:
                    trade = self._trade_in(instrument, segment, at)
                    if trade is not None:
                        return trade
            session = sessions.previous_session(instrument, session.day)
        return None

    def bars(
        self,
        instrument: Instrument,
        start: datetime,
        end: datetime,
        size: BarSize,
        what: What,
        use_rth: bool,
    ) -> list[Bar]:
        """Bars of the invented market; see MarketSource.bars. Currency pairs have no TRADES, indices nothing else."""
        return build_bars(partial(self._parts, instrument), instrument, start, end, size, what, use_rth)

    def head(self, instrument: Instrument, what: What) -> datetime | None:
        """The open of the first session of history; for a future, two years before it expires."""
        if instrument.sec_type == "CASH" and what in {"TRADES", "ADJUSTED_LAST"}:
            return None
        if instrument.sec_type == "IND" and what not in {"TRADES", "ADJUSTED_LAST"}:
            return None
        calendar = sessions.calendar_of(instrument)
        first = sessions.next_session_on_or_after(calendar, first_listed(instrument))
        session = sessions.session_of(instrument, first)
        return session.start if session is not None else None

    # --- inside ---

    def _segments(self, instrument: Instrument, day: date) -> list[Segment]:
        walk = self._walks.get(instrument.con_id)
        if walk is None:
            walk = self._walks[instrument.con_id] = Walk(instrument, self._seed)
        return walk.segments(day)

    def _minutes_of(self, instrument: Instrument, segment: Segment) -> list[Minute]:
        key = (instrument.con_id, segment.start)
        minutes = self._minutes.get(key)
        if minutes is None:
            minutes = self._minutes[key] = minutes_of(segment)
            if len(self._minutes) > _SEGMENTS_KEPT:
                self._minutes.popitem(last=False)
        else:
            self._minutes.move_to_end(key)
        return minutes

    def _ticks_of(self, instrument: Instrument, segment: Segment, index: int) -> list[MarketEvent]:
        key = (instrument.con_id, segment.start + index * MINUTE)
        ticks = self._ticks.get(key)
        if ticks is None:
            minute = self._minutes_of(instrument, segment)[index]
            ticks = self._ticks[key] = ticks_of(instrument, segment, index, minute)
            if len(self._ticks) > _TICKS_KEPT:
                self._ticks.popitem(last=False)
        else:
            self._ticks.move_to_end(key)
        return ticks

    def _quote_in(self, instrument: Instrument, segment: Segment, at: datetime) -> Quote | None:
        """The quote in force at a moment of a segment: every minute begins with one."""
        ticks = self._ticks_of(instrument, segment, _index_at(segment, at))
        for event in reversed(ticks[: bisect_right(ticks, at, key=_at)]):
            if isinstance(event, Quote):
                return event
        return None

    def _trade_in(self, instrument: Instrument, segment: Segment, at: datetime) -> Trade | None:
        minutes = self._minutes_of(instrument, segment)
        for index in range(min(segment.minutes - 1, _index_at(segment, at)), -1, -1):
            if not minutes[index].prints and instrument.sec_type != "IND":
                continue
            ticks = self._ticks_of(instrument, segment, index)
            for event in reversed(ticks[: bisect_right(ticks, at, key=_at)]):
                if isinstance(event, Trade):
                    return event
        return None

    def _parts(self, instrument: Instrument, kind: What, low: datetime, high: datetime) -> Iterator[Part]:
        """Parts of `[low, high)`: whole segments, whole minutes inside them, ticks inside those."""
        if not _has(instrument, kind):
            return
        session = sessions.session_at(instrument, low)
        if session is None:
            return
        for segment in self._segments(instrument, session.day):
            first, last = max(low, segment.start), min(high, segment.end)
            if first >= last:
                continue
            if first == segment.start and last == segment.end:
                yield _whole_segment(instrument, segment, kind)
                continue
            yield from self._inside(instrument, segment, kind, first, last)

    def _inside(
        self, instrument: Instrument, segment: Segment, kind: What, low: datetime, high: datetime
    ) -> Iterator[Part]:
        cut = _index_at(segment, low)
        if segment.start + cut * MINUTE < low:
            edge = min(high, segment.start + (cut + 1) * MINUTE)
            yield from self._within_minute(instrument, segment, cut, kind, low, edge)
            cut += 1
        until = (high - segment.start) // MINUTE
        if until > cut:
            part = _whole_minutes(instrument, self._minutes_of(instrument, segment)[cut:until], kind)
            if part is not None:
                yield part
        rest = segment.start + until * MINUTE
        if until >= cut and rest < high:
            yield from self._within_minute(instrument, segment, until, kind, rest, high)

    def _within_minute(
        self, instrument: Instrument, segment: Segment, index: int, kind: What, low: datetime, high: datetime
    ) -> Iterator[Part]:
        ticks = self._ticks_of(instrument, segment, index)
        inside = ticks[bisect_left(ticks, low, key=_at) : bisect_left(ticks, high, key=_at)]
        quote = None if kind == "TRADES" else self._quote_in(instrument, segment, low)
        yield from parts_of_events(inside, kind, low, high, quote)


def _at(event: MarketEvent) -> datetime:
    return event.at


def _index_at(segment: Segment, at: datetime) -> int:
    """The minute of a segment that a moment lies in; 0 before the segment."""
    return max(0, (at - segment.start) // MINUTE)


def _has(instrument: Instrument, kind: What) -> bool:
    if instrument.sec_type == "CASH":
        return kind != "TRADES"
    return kind == "TRADES" or instrument.sec_type != "IND"


def _scaled(instrument: Instrument, doubled_ticks: int) -> float:
    """Twice a number of ticks as the float nearest to the exact price."""
    numerator, denominator = instrument.min_tick.as_integer_ratio()
    return doubled_ticks * numerator / (2 * denominator)


def _whole_minutes(instrument: Instrument, minutes: list[Minute], kind: What) -> Part | None:
    """Consecutive whole minutes as one part: whole numbers of (half) ticks until the very end."""
    if kind == "TRADES" and instrument.sec_type != "IND":
        return _traded(instrument, minutes)
    share = _SHARE_OF_SPREAD[kind]
    first, last = minutes[0], minutes[-1]
    high = max([2 * minute.high + share * minute.spread for minute in minutes])
    low = min([2 * minute.low + share * minute.spread for minute in minutes])
    part = Part(
        _scaled(instrument, 2 * first.open + share * first.spread),
        _scaled(instrument, high),
        _scaled(instrument, low),
        _scaled(instrument, 2 * last.close + share * last.spread),
        0.0,
        0.0,
        0,
    )
    if kind != "TRADES":
        integral = sum([2 * (m.open + m.high + m.low + m.close) + 4 * share * m.spread for m in minutes])
        part.weight, part.turnover = 60.0 * len(minutes), _scaled(instrument, 15 * integral)
    return part


def _traded(instrument: Instrument, minutes: list[Minute]) -> Part | None:
    traded = [minute for minute in minutes if minute.prints]
    if not traded:
        return None
    prices = [price for minute in traded for _, price in minute.prints]
    return Part(
        _scaled(instrument, 2 * prices[0]),
        _scaled(instrument, 2 * max(prices)),
        _scaled(instrument, 2 * min(prices)),
        _scaled(instrument, 2 * prices[-1]),
        float(sum([minute.volume for minute in traded])),
        _scaled(instrument, 2 * sum([minute.turnover for minute in traded])),
        sum([minute.trades for minute in traded]),
    )


def _whole_segment(instrument: Instrument, segment: Segment, kind: What) -> Part:
    spread = segment.spread
    levels = (segment.first, segment.high, segment.low, segment.last)
    if kind == "TRADES" and instrument.sec_type != "IND":
        part = _levels(instrument, levels, (0, 2 * spread, 0, 0), "MIDPOINT", float(segment.volume))
        part.count = segment.trades
        return part
    spreads = (segment.first_spread, spread, spread, spread)
    return _levels(instrument, levels, spreads, kind, 60.0 * segment.minutes)


def _levels(
    instrument: Instrument,
    levels: tuple[int, int, int, int],
    spreads: tuple[int, int, int, int],
    kind: What,
    weight: float,
) -> Part:
    """A part from its bid levels and the spreads above them; the average is the mean of the four."""
    share = _SHARE_OF_SPREAD[kind]
    opening, high, low, close = (
        _scaled(instrument, 2 * level + share * spread) for level, spread in zip(levels, spreads, strict=True)
    )
    if kind == "TRADES":
        return Part(opening, high, low, close, 0.0, 0.0, 0)
    return Part(opening, high, low, close, weight, weight * (opening + high + low + close) / 4, 0)
