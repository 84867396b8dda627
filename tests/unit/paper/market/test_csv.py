"""Markets from bar files: which file, which rows, and errors that name file and row."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ibkr_connector.paper.instruments import ContractQuery, Instrument, InstrumentBook
from ibkr_connector.paper.market.base import MarketDataFileError, Quote
from ibkr_connector.paper.market.csv import CsvMarket

BOOK = InstrumentBook(lambda: date(2026, 3, 2))
HEADER = "datetime,open,high,low,close,volume\n"


def instrument(con_id: int) -> Instrument:
    found = BOOK.by_con_id(con_id)
    assert found is not None
    return found


SPY, AAPL, COSTCO, EURUSD, VIX = (instrument(i) for i in (756733, 265598, 272997, 12087792, 13455763))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def write(folder: Path, name: str, *rows: str, header: str = HEADER) -> None:
    (folder / name).write_text(header + "\n".join(rows), encoding="utf-8")


def test_daily_rows_open_at_the_open_and_close_at_the_close(tmp_path: Path) -> None:
    write(tmp_path, "SPY_Daily.csv", "2026-03-02,700,710,695,705,1000", "2026-03-03,706,712,701,702,2000")
    market = CsvMarket(tmp_path)
    opens, closes = utc("2026-03-02T14:30"), utc("2026-03-02T21:00")
    quote = market.quote_at(SPY, opens)
    assert quote is not None
    assert (quote.bid, quote.ask, quote.bid_size) == (Decimal("700.00"), Decimal("700.01"), Decimal(100))
    last = market.last_trade_at(SPY, closes - timedelta(seconds=1))
    assert last is not None
    assert last.price == 710  # no close above a first row: the low came first, then the high
    last = market.last_trade_at(SPY, closes)
    assert last is not None
    assert last.price == 705
    closed = market.quote_at(SPY, closes + timedelta(hours=4))
    assert closed is not None
    assert closed.bid is None
    bars = market.bars(SPY, opens, utc("2026-03-04T00:00"), "day", "TRADES", use_rth=True)
    assert [(b.session.day, b.open, b.high, b.low, b.close, b.volume) for b in bars] == [
        (2, 700, 710, 695, 705, 1000),
        (3, 706, 712, 701, 702, 2000),
    ]
    partial = market.bars(SPY, opens, opens + timedelta(hours=1), "day", "TRADES", use_rth=True)
    assert [(b.open, b.high, b.low, b.close) for b in partial] == [(700, 700, 700, 700)]


def test_intraday_and_daily_files_together_make_ticks_and_days(tmp_path: Path) -> None:
    write(
        tmp_path, "SPY_1min.csv", "2026-03-02 09:30:00,700,701,699,700.5,50", "2026-03-02 09:31:00,700.5,702,700,701,60"
    )
    write(tmp_path, "SPY_Daily.csv", "2026-02-27,690,699,689,698,9000", "2026-03-02,700,710,695,705,8000")
    market = CsvMarket(tmp_path)
    assert list(market.data_days(SPY)) == [date(2026, 3, 2)]
    assert market.head(SPY, "TRADES") == utc("2026-02-27T09:00")
    days = market.bars(SPY, utc("2026-02-27T15:00"), utc("2026-03-03T00:00"), "day", "TRADES", use_rth=True)
    assert [b.close for b in days] == [698, 705]
    ticks = market.bars(SPY, utc("2026-03-02T14:30"), utc("2026-03-02T14:35"), 60, "TRADES", use_rth=True)
    assert [(b.close, b.volume) for b in ticks] == [(700.5, 50), (701, 60)]
    assert market.suggested_start == utc("2026-03-02T15:00")


@pytest.mark.parametrize(
    "text", ["2026-03-02T14:30:00+00:00", "2026-03-02T14:30:00Z", "2026-03-02 09:30:00", "2026-03-02T15:30:00+01:00"]
)
def test_times_are_new_yorks_unless_they_say_otherwise(tmp_path: Path, text: str) -> None:
    write(tmp_path, "SPY.csv", f"{text},700,701,699,700,5")
    first = next(CsvMarket(tmp_path).events(SPY, utc("2026-03-01T00:00")))
    assert first.at == utc("2026-03-02T14:30")


def test_a_symbol_does_not_take_the_file_of_a_longer_one(tmp_path: Path) -> None:
    write(tmp_path, "AAPL_x.csv", "2026-03-02,250,251,249,250,5")
    write(tmp_path, "SPYG.csv", "2026-03-02,250,251,249,250,5")
    market = CsvMarket(tmp_path)
    apple, agilent = market.covers(AAPL), [i for i in BOOK if market.covers(i)]
    assert apple
    assert agilent == [AAPL]
    assert market.quote_at(SPY, utc("2026-03-02T15:00")) is None
    assert market.last_trade_at(SPY, utc("2026-03-02T15:00")) is None
    assert list(market.events(SPY, utc("2026-03-02T15:00"))) == []
    assert market.bars(SPY, utc("2026-03-01T00:00"), utc("2026-03-05T00:00"), "day", "TRADES", use_rth=True) == []
    assert market.head(SPY, "TRADES") is None


def test_pairs_quote_without_trades_and_indices_print_without_quotes(tmp_path: Path) -> None:
    write(tmp_path, "EURUSD.csv", "2026-03-02 10:00:00,1.16002,1.16100,1.15900,1.16050,0")
    write(tmp_path, "VIX.csv", "2026-03-02 10:00:00,17.5,18,17,17.6,0")
    market = CsvMarket(tmp_path)
    at = utc("2026-03-02T15:00")
    quote = market.quote_at(EURUSD, at)
    assert quote is not None
    assert (quote.bid, quote.ask) == (Decimal("1.16000"), Decimal("1.16010"))
    assert market.last_trade_at(EURUSD, at) is None
    print_ = market.last_trade_at(VIX, at)
    assert print_ is not None
    assert (print_.price, print_.size) == (Decimal("17.5"), Decimal(0))
    assert all(not isinstance(e, Quote) or e.bid is None for e in market.events(VIX, at))


def test_a_future_is_found_by_its_local_symbol_or_its_root(tmp_path: Path) -> None:
    (future,) = BOOK.resolve(ContractQuery(symbol="ES", sec_type="FUT", expiry="202603"))
    write(tmp_path, "ESH6.csv", "2026-03-02 10:00:00,6900,6901,6899,6900,5")
    assert CsvMarket(tmp_path).covers(future)
    (tmp_path / "ESH6.csv").rename(tmp_path / "ES.csv")
    assert CsvMarket(tmp_path).covers(future)


def test_wide_spreads_stand_around_the_price(tmp_path: Path) -> None:
    write(tmp_path, "COST.csv", "2026-03-02 10:00:00,950.005,951,949,950,5")
    quote = CsvMarket(tmp_path).quote_at(COSTCO, utc("2026-03-02T15:00"))
    assert quote is not None
    assert quote.bid is not None
    assert quote.ask is not None
    assert quote.bid < Decimal("950.005") < quote.ask
    assert quote.ask - quote.bid == Decimal("0.26")  # 25 ticks, and the price lies between two


def test_a_bar_running_over_the_end_of_its_session_ends_with_it(tmp_path: Path) -> None:
    write(tmp_path, "VIX.csv", "2026-03-02 14:30:00,17,18,16,17,0", "2026-03-02 15:30:00,17,18,16,17.25,0")
    market = CsvMarket(tmp_path)
    last = market.last_trade_at(VIX, utc("2026-03-02T21:00"))
    assert last is not None
    assert (last.price, last.at) == (Decimal("17.25"), utc("2026-03-02T20:59:59.999"))


def test_rows_outside_trading_hours_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "SPY.csv", "2026-03-01 12:00:00,700,701,699,700,5", "2026-03-02 21:00:00,700,701,699,700,5")
    assert not CsvMarket(tmp_path).covers(SPY)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (["2026-03-02,700,701,699"], "row 2 has 4 fields, expected 6"),
        (["yesterday,700,701,699,700,5"], "row 2 has no readable time 'yesterday'"),
        (["2026-03-02,700,x,699,700,5"], "row 2 has something that is no number"),
        (["2026-03-02,700,701,699,700,5", "2026-03-03,700,699,698,700,5"], "row 3 is not a bar"),
        (["2026-03-02,0,701,0,700,5"], "row 2 has a price that is not positive"),
        (["2026-03-02,700,701,699,700,-5"], "row 2 has a price that is not positive, or a negative volume"),
        (["2026-03-02,700,inf,699,700,5"], "row 2 has a price that is not positive"),
        (["2026-03-03,700,701,699,700,5", "2026-03-02,700,701,699,700,5"], "row 3 is not later than the row before"),
        ([], "no rows"),
    ],
)
def test_a_bad_file_is_refused_at_once_naming_file_and_row(tmp_path: Path, rows: list[str], complaint: str) -> None:
    write(tmp_path, "SPY.csv", *rows)
    with pytest.raises(MarketDataFileError, match=complaint) as caught:
        CsvMarket(tmp_path)
    assert "SPY.csv" in str(caught.value)


def test_bars_of_different_sizes_in_one_file_are_refused(tmp_path: Path) -> None:
    minutes = [f"2026-03-02 10:{minute:02}:00,700,701,699,700,5" for minute in range(3)]
    write(tmp_path, "SPY.csv", *minutes, "2026-03-02 10:02:30,700,701,699,700,5")
    with pytest.raises(MarketDataFileError, match="bars of one size"):
        CsvMarket(tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    write(tmp_path, "SPY.csv", "2026-03-02,700,701,699,700", header="Date,Open,High,Low,Close\n")
    with pytest.raises(MarketDataFileError, match="no column 'volume'"):
        CsvMarket(tmp_path)


def test_other_column_names_and_orders_are_understood(tmp_path: Path) -> None:
    write(tmp_path, "SPY.csv", "5,700,2026-03-02,699,701,698,x", header="Volume,Close,Date,Open,High,Low,Note\n")
    (bar,) = CsvMarket(tmp_path).bars(
        SPY, utc("2026-03-02T00:00"), utc("2026-03-03T00:00"), "day", "TRADES", use_rth=True
    )
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (699, 701, 698, 700, 5)


def test_blank_lines_are_skipped_and_one_row_is_a_minute(tmp_path: Path) -> None:
    write(tmp_path, "SPY.csv", "", "2026-03-02 10:00:00,700,701,699,700,", "")
    market = CsvMarket(tmp_path)
    (bar,) = market.bars(SPY, utc("2026-03-02T15:00"), utc("2026-03-02T16:00"), 60, "TRADES", use_rth=True)
    assert (bar.close, bar.volume) == (700, 0)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(MarketDataFileError, match=r"no \.csv files"):
        CsvMarket(tmp_path)
    with pytest.raises(MarketDataFileError, match="is not a folder"):
        CsvMarket(tmp_path / "nowhere")


def test_daily_files_suggest_their_last_day(tmp_path: Path) -> None:
    write(tmp_path, "SPY.csv", "2026-03-02,700,701,699,700,5", "2026-03-03,700,701,699,700,5")
    market = CsvMarket(tmp_path)
    assert market.suggested_start == utc("2026-03-03T15:00")
    assert market.name == f"csv:{tmp_path}"
