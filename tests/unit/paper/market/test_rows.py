"""Recorded rows become a path that is exactly the rows, and never tells what was not known yet."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.instruments import Instrument, InstrumentBook
from ibkr_connector.paper.market.base import Bar, MarketEvent, MarketSource, Quote, Trade
from ibkr_connector.paper.market.csv import CsvMarket
from ibkr_connector.paper.market.lean import LeanMarket

BOOK = InstrumentBook(lambda: date(2026, 3, 2))
OPEN = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CLOSE_BEFORE_END = timedelta(milliseconds=1)

RowOf = tuple[int, int, int, int, int]
"""Open, high, low, close in cents, volume."""


def instrument(con_id: int) -> Instrument:
    found = BOOK.by_con_id(con_id)
    assert found is not None
    return found


SPY = instrument(756733)


@st.composite
def row(draw: st.DrawFn) -> RowOf:
    low = draw(st.integers(1_000, 1_100))
    high = low + draw(st.integers(0, 60))
    return draw(st.integers(low, high)), high, low, draw(st.integers(low, high)), draw(st.integers(0, 5_000))


rows = st.lists(row(), min_size=2, max_size=8)


def price(cents: int) -> Decimal:
    return Decimal(cents) / 100


def csv_market(folder: Path, table: list[RowOf]) -> MarketSource:
    lines = ["datetime,open,high,low,close,volume"]
    for index, (opening, high, low, close, volume) in enumerate(table):
        at = datetime(2026, 3, 2, 9, 30) + index * MINUTE  # noqa: DTZ001 - the file's New York time
        lines.append(f"{at},{price(opening)},{price(high)},{price(low)},{price(close)},{volume}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SPY.csv").write_text("\n".join(lines), encoding="utf-8")
    return CsvMarket(folder)


def zipped(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{path.stem}.csv", "\n".join(lines))


def lean_market(folder: Path, table: list[RowOf]) -> MarketSource:
    """Trades as given; quotes two cents around them, the size equal to the row's number."""
    trades, quotes = [], []
    for index, (opening, high, low, close, volume) in enumerate(table):
        milliseconds = (9 * 3600 + 30 * 60 + index * 60) * 1000
        traded = [cents * 100 for cents in (opening, high, low, close)]
        bids, asks = [p - 200 for p in traded], [p + 200 for p in traded]
        trades.append(",".join(map(str, (milliseconds, *traded, volume))))
        quotes.append(",".join(map(str, (milliseconds, *bids, index + 1, *asks, index + 11))))
    room = folder / "equity/usa/minute/spy"
    zipped(room / "20260302_trade.zip", trades)
    zipped(room / "20260302_quote.zip", quotes)
    return LeanMarket(folder)


MARKETS = {"csv": csv_market, "lean": lean_market}
each_market = pytest.mark.parametrize("make", list(MARKETS.values()), ids=list(MARKETS))
Make = Callable[[Path, list[RowOf]], MarketSource]


def seen_until(market: MarketSource, at: datetime) -> tuple[list[MarketEvent], object, object, list[list[Bar]]]:
    """Everything an observer could know at a moment."""
    events = list(itertools.takewhile(lambda event: event.at <= at, market.events(SPY, OPEN - timedelta(hours=1))))
    before = OPEN - timedelta(minutes=2)
    bars = [
        market.bars(SPY, before, at, size, what, use_rth)
        for size in (20, 60, 300, "day")
        for what in ("TRADES", "BID", "MIDPOINT")
        for use_rth in (True, False)
    ]
    return events, market.quote_at(SPY, at), market.last_trade_at(SPY, at), bars


@each_market
@given(table=rows, change=row(), data=st.data())
def test_nothing_seen_at_a_time_depends_on_rows_stamped_later(
    tmp_path_factory: pytest.TempPathFactory, make: Make, table: list[RowOf], change: RowOf, data: st.DataObject
) -> None:
    changed_from = data.draw(st.integers(1, len(table) - 1))
    at = OPEN + timedelta(microseconds=data.draw(st.integers(0, changed_from * 60_000_000 - 1)))
    folder = tmp_path_factory.mktemp("market")
    original = seen_until(make(folder / "a", table), at)
    later_changed = [*table[:changed_from], *[change] * (len(table) - changed_from)]
    assert seen_until(make(folder / "b", later_changed), at) == original


@each_market
@given(table=rows, data=st.data())
def test_a_rows_own_close_is_not_seen_before_its_last_millisecond(
    tmp_path_factory: pytest.TempPathFactory, make: Make, table: list[RowOf], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(table) - 1))
    opening, high, low, _, volume = table[index]
    other = data.draw(st.integers(low, high))
    changed = [*table[:index], (opening, high, low, other, volume), *table[index + 1 :]]
    before_close = OPEN + (index + 1) * MINUTE - CLOSE_BEFORE_END - timedelta(microseconds=1)
    folder = tmp_path_factory.mktemp("market")
    one, two = make(folder / "a", table), make(folder / "b", changed)
    assert seen_until(two, before_close) == seen_until(one, before_close)


@each_market
@given(table=rows, data=st.data())
def test_a_rows_extremes_are_not_seen_at_its_open(
    tmp_path_factory: pytest.TempPathFactory, make: Make, table: list[RowOf], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(table) - 1))
    opening, high, low, close, volume = table[index]
    changed = [*table[:index], (opening, high + 7, low - 5, close, volume), *table[index + 1 :]]
    just_opened = OPEN + index * MINUTE + timedelta(seconds=19)
    folder = tmp_path_factory.mktemp("market")
    one, two = make(folder / "a", table), make(folder / "b", changed)
    assert seen_until(two, just_opened) == seen_until(one, just_opened)


def test_quote_sizes_stay_those_of_the_row_before_until_the_close(tmp_path: Path) -> None:
    market = lean_market(tmp_path, [(1_000, 1_010, 990, 1_005, 100), (1_005, 1_020, 1_000, 1_015, 100)])

    def sizes(seconds: float) -> tuple[Decimal, Decimal]:
        quote = market.quote_at(SPY, OPEN + timedelta(seconds=seconds))
        assert quote is not None
        return quote.bid_size, quote.ask_size

    assert sizes(59) == (Decimal(100), Decimal(100))  # nothing recorded before: a round lot
    assert sizes(60) == sizes(119) == (Decimal(1), Decimal(11))
    assert sizes(120) == (Decimal(2), Decimal(12))


@each_market
@given(table=rows)
def test_whole_rows_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, make: Make, table: list[RowOf]) -> None:
    market = make(tmp_path_factory.mktemp("market"), table)
    bars = market.bars(SPY, OPEN, OPEN + timedelta(hours=1), 60, "TRADES", use_rth=True)
    assert [(b.open, b.high, b.low, b.close, b.volume) for b in bars] == [
        (float(price(o)), float(price(h)), float(price(low)), float(price(c)), float(v)) for o, h, low, c, v in table
    ]


@each_market
@given(table=rows)
def test_the_path_visits_every_price_of_its_row_and_adds_up(
    tmp_path_factory: pytest.TempPathFactory, make: Make, table: list[RowOf]
) -> None:
    market = make(tmp_path_factory.mktemp("market"), table)
    events = list(market.events(SPY, OPEN))
    assert [event.at for event in events] == sorted(event.at for event in events)
    for index, (opening, high, low, close, volume) in enumerate(table):
        start = OPEN + index * MINUTE
        trades = [e for e in events if isinstance(e, Trade) and start <= e.at < start + MINUTE]
        prices = [trade.price for trade in trades]
        assert (prices[0], max(prices), min(prices)) == (price(opening), price(high), price(low))
        assert sum(trade.size for trade in trades) == volume
        last = market.last_trade_at(SPY, start + MINUTE - timedelta(microseconds=1))
        assert last is not None
        assert last.price == price(close)
        bars = market.bars(SPY, start, start + MINUTE, 60, "TRADES", use_rth=True)
        assert bars[0].count == sum(1 for trade in trades if trade.size)
        assert bars[0].low <= bars[0].wap <= bars[0].high or volume == 0


@each_market
@given(table=rows, data=st.data())
def test_quote_and_trade_in_force_are_the_latest_of_the_stream(
    tmp_path_factory: pytest.TempPathFactory, make: Make, table: list[RowOf], data: st.DataObject
) -> None:
    market = make(tmp_path_factory.mktemp("market"), table)
    at = OPEN + timedelta(microseconds=data.draw(st.integers(0, len(table) * 60_000_000)))
    past = [event for event in market.events(SPY, OPEN) if event.at <= at]
    quotes = [event for event in past if isinstance(event, Quote)]
    trades = [event for event in past if isinstance(event, Trade)]
    assert market.quote_at(SPY, at) == quotes[-1]
    assert market.last_trade_at(SPY, at) == (trades[-1] if trades else None)


@each_market
@given(table=rows, seconds=st.integers(1, 400), size=st.sampled_from([10, 20, 60, 120]))
def test_bars_cut_in_the_middle_of_a_row_equal_their_own_ticks(
    tmp_path_factory: pytest.TempPathFactory, make: Make, table: list[RowOf], seconds: int, size: int
) -> None:
    market = make(tmp_path_factory.mktemp("market"), table)
    end = OPEN + timedelta(seconds=seconds)
    trades = [e for e in market.events(SPY, OPEN) if isinstance(e, Trade) and e.at < end]
    bars = market.bars(SPY, OPEN, end, size, "TRADES", use_rth=True)
    made: dict[datetime, list[Trade]] = {}
    for trade in trades:
        made.setdefault(OPEN + (trade.at - OPEN) // timedelta(seconds=size) * timedelta(seconds=size), []).append(trade)
    assert [(bar.start, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.count) for bar in bars] == [
        (
            start,
            float(group[0].price),
            float(max(t.price for t in group)),
            float(min(t.price for t in group)),
            float(group[-1].price),
            float(sum(t.size for t in group)),
            sum(1 for t in group if t.size),
        )
        for start, group in sorted(made.items())
    ]
