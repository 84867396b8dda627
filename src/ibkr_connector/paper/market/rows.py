"""What recorded bars become: a path of quotes and trades that never tells what was not known yet.

A recorded row covers some time (a minute, a day) with the open, high, low and close of its trades, its bids, its asks.
Its path has four steps: the open at the row's start, one extreme after a third of it, the other after two thirds, and
the close a millisecond before its end. Which extreme comes first is decided by what was known at the open (an open
above the previous close visits the high first), never by the row's own close. Quote sizes and the split of the volume
follow the same rule: until its last step a row shows the sizes the previous row ended with. The one thing a row tells
early is how much traded in it: a quarter of its volume prints at each step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from functools import partial
from typing import TypeAlias

from msgspec import Struct

from .. import sessions
from ..instruments import Instrument
from .aggregate import Part, build_bars, midpoint, parts_of_events
from .base import Bar, BarSize, MarketEvent, Quote, Trade, What

Ohlc: TypeAlias = tuple[Decimal, Decimal, Decimal, Decimal]
"""Open, high, low, close."""

CLOSE_BEFORE_END = timedelta(milliseconds=1)
ZERO = Decimal(0)
_TAPES_KEPT = 64


class Row(Struct, frozen=True, gc=False, kw_only=True):
    """One recorded bar of one instrument: `[start, end)` in UTC. Sides that were not recorded are None."""

    start: datetime
    end: datetime
    trade: Ohlc | None = None
    volume: Decimal = ZERO
    bid: Ohlc | None = None
    ask: Ohlc | None = None
    bid_size: Decimal = ZERO
    ask_size: Decimal = ZERO


class Tape:
    """The quotes and trades of one session, in order, ready to be searched by time."""

    def __init__(self, session: sessions.Session, rows: Sequence[Row], default_size: Decimal) -> None:
        self.session = session
        self.rows = rows
        self.events: list[MarketEvent] = []
        for index, row in enumerate(rows):
            previous = rows[index - 1] if index else None
            self.events.extend(_path(row, previous, default_size))
        if rows:
            self.events.append(Quote(session.end, None, None, ZERO, ZERO))
        self._drop_repeated_quotes()
        self.times = [event.at for event in self.events]
        self.quotes = [event for event in self.events if isinstance(event, Quote)]
        self.quote_times = [quote.at for quote in self.quotes]
        self.trades = [event for event in self.events if isinstance(event, Trade)]
        self.trade_times = [trade.at for trade in self.trades]

    def _drop_repeated_quotes(self) -> None:
        kept: list[MarketEvent] = []
        last: Quote | None = None
        for event in self.events:
            if isinstance(event, Quote):
                if last is not None and _same_quote(last, event):
                    continue
                last = event
            kept.append(event)
        self.events = kept

    def since(self, start: datetime) -> Iterable[MarketEvent]:
        """Events with `at >= start`."""
        return self.events[bisect_left(self.times, start) :]

    def between(self, start: datetime, end: datetime) -> Iterable[MarketEvent]:
        """Events with `start <= at < end`."""
        return self.events[bisect_left(self.times, start) : bisect_left(self.times, end)]

    def quote_at(self, at: datetime) -> Quote:
        """The quote in force at `at`; empty before the first one of the session."""
        index = bisect_right(self.quote_times, at)
        return self.quotes[index - 1] if index else Quote(self.session.start, None, None, ZERO, ZERO)

    def trade_at(self, at: datetime) -> Trade | None:
        """The last print up to `at` in this session."""
        index = bisect_right(self.trade_times, at)
        return self.trades[index - 1] if index else None


class RowMarket(ABC):
    """A market source made of recorded rows. Subclasses load them; everything else happens here."""

    def __init__(self) -> None:
        self._tapes: OrderedDict[tuple[int, date], Tape] = OrderedDict()

    # --- what a subclass supplies ---

    @property
    @abstractmethod
    def name(self) -> str:
        """The specification this source was made from."""

    @property
    @abstractmethod
    def suggested_start(self) -> datetime | None:
        """10:00 New York of a day with data."""

    @abstractmethod
    def data_days(self, instrument: Instrument) -> Sequence[date]:
        """The session dates with rows to trade on, ascending."""

    @abstractmethod
    def load_rows(self, instrument: Instrument, session: sessions.Session) -> list[Row]:
        """The rows inside a session, ascending; none when the source has no data for it."""

    @abstractmethod
    def daily_row(self, instrument: Instrument, session: sessions.Session) -> Row | None:
        """The recorded daily bar of a session, if there is one."""

    @abstractmethod
    def first_daily(self, instrument: Instrument) -> date | None:
        """The first session date with a recorded daily bar."""

    # --- the protocol of a market source ---

    def covers(self, instrument: Instrument) -> bool:
        """Whether there are rows or daily bars for the instrument."""
        return bool(self.data_days(instrument)) or self.first_daily(instrument) is not None

    def is_data_day(self, instrument: Instrument, day: date) -> bool:
        """Whether the session `day` was recorded."""
        days = self.data_days(instrument)
        index = bisect_left(days, day)
        return index < len(days) and days[index] == day

    def events(self, instrument: Instrument, start: datetime) -> Iterator[MarketEvent]:
        """Everything recorded with `at >= start`, until the data ends."""
        days = self.data_days(instrument)
        first = sessions.last_session(instrument, start).day
        for day in days[bisect_left(days, first) :]:
            tape = self._tape(instrument, day)
            if tape is not None:
                yield from tape.since(start)

    def quote_at(self, instrument: Instrument, at: datetime) -> Quote | None:
        """The quote in force at `at`: empty while closed or not recorded, None before the data begins."""
        days = self.data_days(instrument)
        session = sessions.last_session(instrument, at)
        if not days or session.day < days[0]:
            return None
        tape = self._tape(instrument, session.day)
        if tape is None:
            return Quote(session.start, None, None, ZERO, ZERO)
        return tape.quote_at(at)

    def last_trade_at(self, instrument: Instrument, at: datetime) -> Trade | None:
        """The last recorded print up to `at`, across sessions."""
        days = self.data_days(instrument)
        index = bisect_right(days, sessions.last_session(instrument, at).day)
        for day in reversed(days[:index]):
            tape = self._tape(instrument, day)
            trade = tape.trade_at(at) if tape is not None else None
            if trade is not None:
                return trade
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
        """Bars from the recorded rows; see MarketSource.bars. Whole rows come back exactly as recorded."""
        return build_bars(partial(self._parts, instrument), instrument, start, end, size, what, use_rth)

    def head(self, instrument: Instrument, what: What) -> datetime | None:
        """The start of the first session with a row of this kind."""
        for day in self._all_days(instrument):
            session = sessions.session_of(instrument, day)
            if session is None:
                continue
            for part in self._parts(
                instrument, "TRADES" if what == "ADJUSTED_LAST" else what, session.start, session.end
            ):
                if part is not None:
                    return session.start
        return None

    # --- inside ---

    def _all_days(self, instrument: Instrument) -> list[date]:
        first_daily = self.first_daily(instrument)
        days = list(self.data_days(instrument))
        return days if first_daily is None else sorted({first_daily, *days})

    def _tape(self, instrument: Instrument, day: date) -> Tape | None:
        key = (instrument.con_id, day)
        tape = self._tapes.get(key)
        if tape is not None:
            self._tapes.move_to_end(key)
            return tape
        session = sessions.session_of(instrument, day)
        if session is None or not self.is_data_day(instrument, day):
            return None
        tape = Tape(session, self.load_rows(instrument, session), default_size(instrument))
        self._tapes[key] = tape
        while len(self._tapes) > _TAPES_KEPT:
            self._tapes.popitem(last=False)
        return tape

    def _parts(self, instrument: Instrument, kind: What, low: datetime, high: datetime) -> Iterator[Part]:
        """Parts of `[low, high)`, which lies inside one session."""
        session = sessions.session_at(instrument, low)
        if session is None:
            return
        recorded = self.is_data_day(instrument, session.day)
        if low <= session.rth_start and high >= session.rth_end:
            regular_only = low == session.rth_start and high == session.rth_end
            daily = self.daily_row(instrument, session) if regular_only or not recorded else None
            part = _row_part(daily, None, kind) if daily is not None else None
            if part is not None:
                yield part
                return
        tape = self._tape(instrument, session.day)
        if tape is None:
            return
        for index in range(max(0, bisect_right(tape.rows, low, key=_start_of) - 1), len(tape.rows)):
            row = tape.rows[index]
            if row.start >= high:
                return
            if low <= row.start and row.end <= high:
                part = _row_part(row, tape.rows[index - 1] if index else None, kind)
                if part is not None:
                    yield part
                continue
            first, last = max(low, row.start), min(high, row.end)
            if last > first and _records(row, kind):
                yield from parts_of_events(tape.between(first, last), kind, first, last, tape.quote_at(first))


def default_size(instrument: Instrument) -> Decimal:
    """What stands at a quote whose size was not recorded: a round lot."""
    return {"STK": Decimal(100), "CASH": Decimal(1_000_000)}.get(instrument.sec_type, Decimal(10))


def _start_of(row: Row) -> datetime:
    return row.start


def _records(row: Row, kind: What) -> bool:
    if kind == "TRADES":
        return row.trade is not None
    if kind == "BID":
        return row.bid is not None
    if kind == "ASK":
        return row.ask is not None
    return row.bid is not None and row.ask is not None


def _steps(row: Row) -> tuple[datetime, datetime, datetime, datetime]:
    third = (row.end - row.start) / 3
    return row.start, row.start + third, row.start + 2 * third, row.end - CLOSE_BEFORE_END


def _high_first(row: Row, previous: Row | None) -> bool:
    """Known at the open: did the market open above where it last was?"""
    if previous is None:
        return False
    for mine, before in ((row.bid, previous.bid), (row.trade, previous.trade)):
        if mine is not None and before is not None:
            return mine[0] > before[3]
    return False


def _ordered(ohlc: Ohlc, high_first: bool) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    opening, high, low, close = ohlc
    return (opening, high, low, close) if high_first else (opening, low, high, close)


def _split(volume: Decimal) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    quarter = (volume / 4).to_integral_value(rounding=ROUND_FLOOR)
    return quarter, quarter, quarter, volume - 3 * quarter


def _path(row: Row, previous: Row | None, default: Decimal) -> Iterator[MarketEvent]:
    high_first = _high_first(row, previous)
    times = _steps(row)
    bids = _ordered(row.bid, high_first) if row.bid is not None else (None,) * 4
    asks = _ordered(row.ask, high_first) if row.ask is not None else (None,) * 4
    quoted = row.bid is not None or row.ask is not None
    before = (previous.bid_size or default, previous.ask_size or default) if previous else (default, default)
    after = (row.bid_size or default, row.ask_size or default)
    prints = _prints(row, high_first)
    for step, at in enumerate(times):
        if quoted:
            bid, ask = bids[step], asks[step]
            bid_size, ask_size = after if step == 3 else before
            yield Quote(at, bid, ask, ZERO if bid is None else bid_size, ZERO if ask is None else ask_size)
        printed = prints[step]
        if printed is not None:
            yield Trade(at, *printed)


def _prints(row: Row, high_first: bool) -> list[tuple[Decimal, Decimal] | None]:
    """Price and size of the print at each step. A print of nothing at an unchanged price is left out."""
    if row.trade is None:
        return [None] * 4
    prints: list[tuple[Decimal, Decimal] | None] = []
    last: Decimal | None = None
    for price, size in zip(_ordered(row.trade, high_first), _split(row.volume), strict=True):
        prints.append(None if size == 0 and price == last else (price, size))
        last = price
    return prints


def _row_part(row: Row, previous: Row | None, kind: What) -> Part | None:
    """The whole row as one part: exactly what its own path adds up to."""
    high_first = _high_first(row, previous)
    if kind == "TRADES":
        if row.trade is None:
            return None
        prints = [p for p in _prints(row, high_first) if p is not None]
        opening, high, low, close = (float(price) for price in row.trade)
        turnover = float(sum((price * size for price, size in prints), ZERO))
        counted = sum(1 for _, size in prints if size)
        return Part(opening, high, low, close, float(row.volume), turnover, counted)
    path = _side_path(row, kind, high_first)
    if path is None:
        return None
    times = (*_steps(row), row.end)
    turnover = sum(
        price * (until - since).total_seconds() for price, since, until in zip(path, times[:-1], times[1:], strict=True)
    )
    weight = (row.end - row.start).total_seconds()
    return Part(path[0], max(path), min(path), path[3], weight, turnover, 0)


def _side_path(row: Row, kind: What, high_first: bool) -> tuple[float, float, float, float] | None:
    sides: list[Ohlc] = [
        _ordered(side, high_first)
        for side, wanted in ((row.bid, kind != "ASK"), (row.ask, kind != "BID"))
        if wanted and side is not None
    ]
    if len(sides) != (2 if kind == "MIDPOINT" else 1):
        return None
    if kind != "MIDPOINT":
        opening, first, second, close = (float(price) for price in sides[0])
        return opening, first, second, close
    opening, first, second, close = (midpoint(bid, ask) or 0.0 for bid, ask in zip(sides[0], sides[1], strict=True))
    return opening, first, second, close


def _same_quote(one: Quote, other: Quote) -> bool:
    return (one.bid, one.ask, one.bid_size, one.ask_size) == (
        other.bid,
        other.ask,
        other.bid_size,
        other.ask_size,
    )
