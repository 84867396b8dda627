"""A market from bar files: `DIR/SYMBOL*.csv` with the columns datetime, open, high, low, close, volume.

Files named after a symbol (`SPY.csv`, `SPY_1min.csv`, `SPY_Daily.csv`, `EURUSD.csv`) hold intraday or daily rows; the
kind is read off the rows. Times without a zone are New York's; a time stamps the start of its bar. With both kinds
present the intraday rows make the ticks and the daily rows the daily bars. There are no recorded quotes: bid and ask
stand around the price by the instrument's usual spread. Everything is read and checked when the source is made.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path

from .. import sessions
from ..instruments import Instrument
from .base import MarketDataFileError
from .rows import Ohlc, Row, RowMarket

COLUMNS = ("datetime", "open", "high", "low", "close", "volume")
_TIME_NAMES = ("datetime", "date", "time", "timestamp")
ONE_DAY = timedelta(days=1)


class _File:
    """One parsed file: raw rows with UTC starts (intraday) or dates (daily)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.intraday: list[tuple[datetime, Ohlc, Decimal]] = []
        self.daily: dict[date, tuple[Ohlc, Decimal]] = {}
        self.duration = ONE_DAY
        self._read()

    def _read(self) -> None:
        rows: list[tuple[datetime, Ohlc, Decimal]] = []
        with self.path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            columns = self._columns(next(reader, []))
            for number, fields in enumerate(reader, start=2):
                if not fields:
                    continue
                rows.append(self._row(number, fields, columns))
                if len(rows) > 1 and rows[-1][0] <= rows[-2][0]:
                    raise self._error(
                        number, "is not later than the row before it: sort the file by time, no duplicates"
                    )
        if not rows:
            raise MarketDataFileError(f"{self.path}: no rows. Give bars with the columns {', '.join(COLUMNS)}")
        if all(start.time() == time(0) for start, _, _ in rows):
            self.daily = {start.date(): (ohlc, volume) for start, ohlc, volume in rows}
            return
        self.intraday = [(_as_utc(start), ohlc, volume) for start, ohlc, volume in rows]
        self.duration = self._spacing()

    def _columns(self, header: list[str]) -> list[int]:
        names = [name.strip().lower() for name in header]
        found: list[int] = []
        for column in COLUMNS:
            candidates = _TIME_NAMES if column == "datetime" else (column,)
            index = next((names.index(name) for name in candidates if name in names), None)
            if index is None:
                raise MarketDataFileError(
                    f"{self.path}: row 1 has no column {column!r} (found: {', '.join(header) or 'nothing'}). "
                    f"The first row must name the columns {', '.join(COLUMNS)}"
                )
            found.append(index)
        return found

    def _row(self, number: int, fields: list[str], columns: list[int]) -> tuple[datetime, Ohlc, Decimal]:
        if len(fields) <= max(columns):
            raise self._error(number, f"has {len(fields)} fields, expected {max(columns) + 1}")
        texts = [fields[index].strip() for index in columns]
        try:
            start = datetime.fromisoformat(texts[0])
        except ValueError:
            raise self._error(number, f"has no readable time {texts[0]!r}: write 2026-03-02 09:30:00") from None
        try:
            opening, high, low, close, volume = (Decimal(text or "0") for text in texts[1:])
        except InvalidOperation:
            raise self._error(number, f"has something that is no number in {texts[1:]}") from None
        prices = (opening, high, low, close, volume)
        if not all(price.is_finite() for price in prices) or min(prices[:4]) <= 0 or volume < 0:
            raise self._error(number, "has a price that is not positive, or a negative volume")
        if high < max(opening, close) or low > min(opening, close):
            raise self._error(number, f"is not a bar: high {high} and low {low} do not enclose {opening} and {close}")
        return start, (opening, high, low, close), volume

    def _spacing(self) -> timedelta:
        """The bars' duration: the most common distance between rows, the shorter one on a tie."""
        starts = [start for start, _, _ in self.intraday]
        steps = Counter(after - before for before, after in pairwise(starts))
        if not steps:
            return timedelta(minutes=1)
        duration = min(steps, key=lambda step: (-steps[step], step))
        if min(steps) < duration:
            at = next(a for b, a in pairwise(starts) if a - b < duration)
            raise MarketDataFileError(
                f"{self.path}: the bar at {at.isoformat()} follows the one before sooner than the usual {duration}. "
                "Keep bars of one size in a file"
            )
        return duration

    def _error(self, number: int, problem: str) -> MarketDataFileError:
        return MarketDataFileError(f"{self.path}: row {number} {problem}")


class CsvMarket(RowMarket):
    """The market of a folder of bar files. Raises MarketDataFileError at once for a file it cannot use."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        if not directory.is_dir():
            raise MarketDataFileError(f"{directory} is not a folder. Give csv: a folder with files like SPY.csv")
        self._files = {path.stem.upper(): _File(path) for path in sorted(directory.glob("*.csv"))}
        if not self._files:
            raise MarketDataFileError(
                f"{directory} has no .csv files. Name them after their symbol: SPY.csv, EURUSD.csv"
            )
        self._by_instrument: dict[int, tuple[list[Row], dict[date, Row], list[date]]] = {}

    @property
    def name(self) -> str:
        """`csv:DIR`."""
        return f"csv:{self._directory}"

    @property
    def suggested_start(self) -> datetime | None:
        """10:00 New York of the last day with intraday rows, or else with daily rows."""
        intraday = [file.intraday[-1][0] for file in self._files.values() if file.intraday]
        if intraday:
            last = max(intraday).astimezone(sessions.NEW_YORK).date()
        else:
            last = max(max(file.daily) for file in self._files.values())
        return datetime.combine(last, time(10), sessions.NEW_YORK).astimezone(UTC)

    def data_days(self, instrument: Instrument) -> Sequence[date]:
        """Sessions with intraday rows; without any, those with daily rows."""
        return self._data(instrument)[2]

    def load_rows(self, instrument: Instrument, session: sessions.Session) -> list[Row]:
        """The rows of a session; a daily row spans the regular hours."""
        intraday, daily, _ = self._data(instrument)
        if not intraday:
            return [daily[session.day]]
        first = bisect_left(intraday, session.start, key=_start_of)
        return intraday[first : bisect_left(intraday, session.end, key=_start_of)]

    def daily_row(self, instrument: Instrument, session: sessions.Session) -> Row | None:
        """The daily row of that date."""
        return self._data(instrument)[1].get(session.day)

    def first_daily(self, instrument: Instrument) -> date | None:
        """The first date with a daily row."""
        return min(self._data(instrument)[1], default=None)

    def _data(self, instrument: Instrument) -> tuple[list[Row], dict[date, Row], list[date]]:
        known = self._by_instrument.get(instrument.con_id)
        if known is None:
            known = self._by_instrument[instrument.con_id] = self._assemble(instrument)
        return known

    def _assemble(self, instrument: Instrument) -> tuple[list[Row], dict[date, Row], list[date]]:
        intraday: list[Row] = []
        daily: dict[date, Row] = {}
        for file in self._files_of(instrument):
            if file.intraday and not intraday:
                intraday = [
                    _quoted(instrument, start, start + file.duration, ohlc, volume)
                    for start, ohlc, volume in file.intraday
                ]
            for day, (ohlc, volume) in file.daily.items():
                session = sessions.session_of(instrument, day)
                if session is not None:
                    daily[day] = _quoted(instrument, session.rth_start, session.rth_end, ohlc, volume)
        if not intraday:
            return intraday, daily, sorted(daily)
        days: set[date] = set()
        kept: list[Row] = []
        for row in intraday:
            session = sessions.session_at(instrument, row.start)
            if session is not None and row.start < session.end:
                days.add(session.day)
                kept.append(row if row.end <= session.end else _shortened(row, session.end))
        return kept, daily, sorted(days)

    def _files_of(self, instrument: Instrument) -> list[_File]:
        names = [instrument.local_symbol.replace(" ", "").upper()]
        if instrument.sec_type == "CASH":
            names.append(instrument.symbol + instrument.currency)
        else:
            names.append(instrument.symbol)
        for name in names:
            found = [
                file
                for stem, file in self._files.items()
                if stem == name or (stem.startswith(name) and not stem[len(name)].isalnum())
            ]
            if found:
                return found
        return []


def _start_of(row: Row) -> datetime:
    return row.start


def _as_utc(moment: datetime) -> datetime:
    return (moment if moment.utcoffset() is not None else moment.replace(tzinfo=sessions.NEW_YORK)).astimezone(UTC)


def _quoted(instrument: Instrument, start: datetime, end: datetime, ohlc: Ohlc, volume: Decimal) -> Row:
    spread = instrument.typical_spread_ticks
    below, above = spread // 2, spread - spread // 2
    tick = instrument.min_tick

    def bid(price: Decimal) -> Decimal:
        return max(tick, ((price / tick).to_integral_value(ROUND_FLOOR) - below) * tick)

    def ask(price: Decimal) -> Decimal:
        return ((price / tick).to_integral_value(ROUND_CEILING) + above) * tick

    opening, high, low, close = ohlc
    traded = instrument.sec_type != "CASH"
    quoted = instrument.sec_type != "IND"
    return Row(
        start=start,
        end=end,
        trade=ohlc if traded else None,
        volume=volume,
        bid=(bid(opening), bid(high), bid(low), bid(close)) if quoted else None,
        ask=(ask(opening), ask(high), ask(low), ask(close)) if quoted else None,
    )


def _shortened(row: Row, end: datetime) -> Row:
    """A bar that runs past the session's end (the last hourly bar of a half day) ends with it."""
    return Row(
        start=row.start,
        end=end,
        trade=row.trade,
        volume=row.volume,
        bid=row.bid,
        ask=row.ask,
        bid_size=row.bid_size,
        ask_size=row.ask_size,
    )
