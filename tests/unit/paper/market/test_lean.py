"""LEAN folders: made ones for every rule, the recorded ones of October 2013 for exactness."""

from __future__ import annotations

import zipfile
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ibkr_connector.paper.instruments import ContractQuery, Instrument, InstrumentBook
from ibkr_connector.paper.market.base import MarketDataFileError, Quote, Trade
from ibkr_connector.paper.market.lean import LeanMarket

BOOK = InstrumentBook(lambda: date(2013, 10, 7))
NEW_YORK = ZoneInfo("America/New_York")


def instrument(con_id: int) -> Instrument:
    found = BOOK.by_con_id(con_id)
    assert found is not None
    return found


SPY, IBM, BAC, AIG, AAPL, EURUSD, VIX = (
    instrument(i) for i in (756733, 8314, 10098, 61319701, 265598, 12087792, 13455763)
)
(ES,) = BOOK.resolve(ContractQuery(symbol="ES", sec_type="FUT", expiry="201312"))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def zipped(path: Path, *lines: str, member: str = "data.csv") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, "\n".join(lines))


MINUTES = "equity/usa/minute/spy"
HALF_PAST_NINE = 34_200_000


def test_prices_are_unscaled_and_times_are_new_yorks(tmp_path: Path) -> None:
    zipped(tmp_path / MINUTES / "20131007_trade.zip", f"{HALF_PAST_NINE},1674300,1675200,1674150,1674400,816")
    zipped(
        tmp_path / MINUTES / "20131007_quote.zip",
        f"{HALF_PAST_NINE},1674200,1675100,1674000,1674300,500,1674300,1675200,1674100,1674400,700",
    )
    market = LeanMarket(tmp_path)
    at = utc("2013-10-07T13:30")
    trade, quote = market.last_trade_at(SPY, at), market.quote_at(SPY, at)
    assert trade is not None
    assert str(trade.price) == "167.43"
    assert quote is not None
    assert (str(quote.bid), str(quote.ask)) == ("167.42", "167.43")
    (bar,) = market.bars(SPY, at, at + timedelta(minutes=5), 60, "TRADES", use_rth=True)
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (167.43, 167.52, 167.415, 167.44, 816)
    after = market.quote_at(SPY, at + timedelta(minutes=1))
    assert after is not None
    assert (after.bid_size, after.ask_size) == (Decimal(500), Decimal(700))


def test_a_date_without_a_file_is_a_closed_day(tmp_path: Path) -> None:
    for day in ("20131007", "20131009"):
        zipped(tmp_path / MINUTES / f"{day}_trade.zip", f"{HALF_PAST_NINE},1674300,1674300,1674300,1674300,10")
    market = LeanMarket(tmp_path)
    assert [market.is_data_day(SPY, date(2013, 10, day)) for day in (7, 8, 9)] == [True, False, True]
    assert {event.at.date() for event in market.events(SPY, utc("2013-10-01T00:00"))} == {
        date(2013, 10, 7),
        date(2013, 10, 8),  # the close of the 7th at 20:00 New York
        date(2013, 10, 9),
        date(2013, 10, 10),
    }
    quote = market.quote_at(SPY, utc("2013-10-08T15:00"))
    assert quote is not None
    assert quote.bid is None
    trade = market.last_trade_at(SPY, utc("2013-10-08T15:00"))
    assert trade is not None
    assert trade.at.date() == date(2013, 10, 7)
    assert market.suggested_start == utc("2013-10-09T14:00")
    assert market.head(SPY, "TRADES") == utc("2013-10-07T08:00")
    assert market.head(SPY, "BID") is None
    assert not market.covers(IBM)
    assert not market.covers(VIX)


def test_daily_bars_come_from_the_daily_file_and_missing_ones_from_minutes(tmp_path: Path) -> None:
    zipped(
        tmp_path / "equity/usa/daily/spy.zip",
        "20131004 00:00,1670000,1690000,1660000,1680000,1000",
        "20131005 00:00,1,1,1,1,1",  # a Saturday: no session
        "20131007 00:00,1674300,1684500,1672500,1674200,2000",
    )
    zipped(tmp_path / MINUTES / "20131007_trade.zip", f"{HALF_PAST_NINE},1674300,1674300,1674300,1674300,10")
    zipped(tmp_path / MINUTES / "20131008_trade.zip", f"{HALF_PAST_NINE},1675000,1675500,1674000,1675300,20")
    market = LeanMarket(tmp_path)
    start, end = utc("2013-10-04T12:00"), utc("2013-10-09T00:00")
    bars = market.bars(SPY, start, end, "day", "TRADES", use_rth=True)
    assert [(b.session.day, b.close, b.volume) for b in bars] == [(4, 168.0, 1000), (7, 167.42, 2000), (8, 167.53, 20)]
    assert market.first_daily(SPY) == date(2013, 10, 4)
    today = market.bars(SPY, start, utc("2013-10-07T13:31"), "day", "TRADES", use_rth=True)
    assert [(b.session.day, b.high) for b in today] == [(4, 169.0), (7, 167.43)]  # the day's high is not known yet
    week = market.bars(SPY, utc("2013-10-08T12:00"), end, "week", "TRADES", use_rth=True)
    assert [(b.open, b.high, b.close, b.volume) for b in week] == [(167.43, 168.45, 167.53, 2020)]


def test_a_daily_bar_of_all_hours_is_made_of_all_minutes(tmp_path: Path) -> None:
    zipped(tmp_path / "equity/usa/daily/spy.zip", "20131007 00:00,1674300,1684500,1672500,1674200,2000")
    early = 14_400_000
    zipped(
        tmp_path / MINUTES / "20131007_trade.zip",
        f"{early},1700000,1700000,1700000,1700000,7",
        f"{HALF_PAST_NINE},1674300,1674300,1674300,1674300,10",
    )
    market = LeanMarket(tmp_path)
    start, end = utc("2013-10-07T00:00"), utc("2013-10-08T02:00")
    (regular,) = market.bars(SPY, start, end, "day", "TRADES", use_rth=True)
    (everything,) = market.bars(SPY, start, end, "day", "TRADES", use_rth=False)
    assert (regular.high, regular.volume) == (168.45, 2000)
    assert (everything.high, everything.volume) == (170.0, 17)


def test_a_daily_row_is_not_seen_before_its_session_ends(tmp_path: Path) -> None:
    zipped(
        tmp_path / "equity/usa/daily/spy.zip",
        "20131004 00:00,1670000,1690000,1660000,1680000,1000",
        "20131007 00:00,1674300,1684500,1672500,1674200,2000",
    )
    market = LeanMarket(tmp_path)
    start, close = utc("2013-10-01T00:00"), utc("2013-10-07T20:00")
    before = market.bars(SPY, start, close - timedelta(microseconds=1), "day", "TRADES", use_rth=True)
    after = market.bars(SPY, start, close, "day", "TRADES", use_rth=True)
    assert [bar.session.day for bar in before] == [4]
    assert [bar.session.day for bar in after] == [4, 7]


def test_rows_beyond_the_session_are_left_out(tmp_path: Path) -> None:
    eight_in_the_evening = 72_000_000
    zipped(
        tmp_path / MINUTES / "20131007_trade.zip",
        f"{HALF_PAST_NINE},1674300,1674300,1674300,1674300,10",
        f"{eight_in_the_evening},9999900,9999900,9999900,9999900,10",
    )
    market = LeanMarket(tmp_path)
    bars = market.bars(SPY, utc("2013-10-07T00:00"), utc("2013-10-09T00:00"), 60, "TRADES", use_rth=False)
    assert [b.open for b in bars] == [167.43]
    prices = {event.price for event in market.events(SPY, utc("2013-10-07T00:00")) if isinstance(event, Trade)}
    assert prices == {Decimal("167.43")}


def test_one_sided_quotes_stay_one_sided(tmp_path: Path) -> None:
    zipped(tmp_path / MINUTES / "20131007_quote.zip", f"{HALF_PAST_NINE},1674200,1675100,1674000,1674300,500,,,,,0")
    market = LeanMarket(tmp_path)
    at = utc("2013-10-07T13:30")
    quote = market.quote_at(SPY, at)
    assert quote is not None
    assert quote.bid == Decimal("167.42")
    assert quote.ask is None
    assert quote.ask_size == 0
    assert market.bars(SPY, at, at + timedelta(minutes=1), 60, "MIDPOINT", use_rth=True) == []
    assert len(market.bars(SPY, at, at + timedelta(minutes=1), 60, "BID", use_rth=True)) == 1


GOOD = f"{HALF_PAST_NINE},1674300,1674300,1674300,1674300,10"


@pytest.mark.parametrize(
    ("kind", "row", "complaint"),
    [
        ("trade", "soon,1,1,1,1,1", "not milliseconds since midnight"),
        ("trade", f"{HALF_PAST_NINE},1,1,1,1,1", "not after the row before it"),
        ("trade", "99999999,1,1,1,1,1", "not in the day"),
        ("trade", f"{HALF_PAST_NINE + 60_000},1674300,1674300", "has 6 fields"),
        ("trade", f"{HALF_PAST_NINE + 60_000},,,,,5", "needs prices"),
        ("trade", f"{HALF_PAST_NINE + 60_000},1674300,x,1674300,1674300,10", "four numbers"),
        ("trade", f"{HALF_PAST_NINE + 60_000},1674300,-1,1674300,1674300,10", "not positive"),
        ("trade", f"{HALF_PAST_NINE + 60_000},1674300,inf,1674300,1674300,10", "not positive"),
        ("trade", f"{HALF_PAST_NINE + 60_000},1674300,1674200,1674100,1674200,10", "do not enclose"),
        ("trade", f"{HALF_PAST_NINE + 60_000},1674300,1674300,1674300,1674300,many", "size is no number"),
        ("trade", f"{HALF_PAST_NINE + 60_000},1674300,1674300,1674300,1674300,-1", "size is negative"),
        ("quote", f"{HALF_PAST_NINE + 60_000},1,1,1,1,1", "has 11 fields"),
    ],
)
def test_a_bad_row_is_named_with_its_file(tmp_path: Path, kind: str, row: str, complaint: str) -> None:
    good = GOOD if kind == "trade" else f"{HALF_PAST_NINE},1,1,1,1,1,2,2,2,2,1"
    zipped(tmp_path / MINUTES / f"20131007_{kind}.zip", good, row)
    with pytest.raises(MarketDataFileError, match=complaint) as caught:
        LeanMarket(tmp_path).quote_at(SPY, utc("2013-10-07T14:00"))
    assert f"20131007_{kind}.zip row 2" in str(caught.value)


def test_a_file_that_is_no_zip_is_named(tmp_path: Path) -> None:
    path = tmp_path / MINUTES / "20131007_trade.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a zip at all")
    with pytest.raises(MarketDataFileError, match=r"20131007_trade\.zip cannot be read"):
        LeanMarket(tmp_path).quote_at(SPY, utc("2013-10-07T14:00"))


def test_a_file_without_a_date_is_named(tmp_path: Path) -> None:
    zipped(tmp_path / MINUTES / "october_trade.zip", GOOD)
    with pytest.raises(MarketDataFileError, match=r"october_trade\.zip.*does not begin with a date"):
        LeanMarket(tmp_path).covers(SPY)


def test_a_bad_daily_row_is_named(tmp_path: Path) -> None:
    zipped(tmp_path / "equity/usa/daily/spy.zip", "20131004 00:00,1,1,1,1,1", "someday,1,1,1,1,1")
    with pytest.raises(MarketDataFileError, match=r"spy\.zip row 2 .* not a date"):
        LeanMarket(tmp_path).covers(SPY)


def test_an_empty_zip_is_no_data(tmp_path: Path) -> None:
    path = tmp_path / MINUTES / "20131007_trade.zip"
    path.parent.mkdir(parents=True)
    zipfile.ZipFile(path, "w").close()
    market = LeanMarket(tmp_path)
    assert list(market.events(SPY, utc("2013-10-07T00:00"))) == []
    assert market.last_trade_at(SPY, utc("2013-10-08T00:00")) is None


# --- the recorded data beside the checkout ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(shared_dir: Path) -> LeanMarket:
    return LeanMarket(shared_dir / "data/lean")


def raw_rows(path: Path, member: str = "") -> list[list[str]]:
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if member in n)
        return [line.split(",") for line in archive.read(name).decode().splitlines()]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("item", "day"),
    [
        (SPY, date(2013, 10, 7)),
        (SPY, date(2023, 8, 3)),
        (IBM, date(2013, 10, 9)),
        (BAC, date(2013, 10, 10)),
        (AIG, date(2013, 10, 4)),
        (AAPL, date(2014, 6, 9)),
    ],
    ids=str,
)
def test_recorded_minutes_come_back_exactly(
    recorded: LeanMarket, shared_dir: Path, item: Instrument, day: date
) -> None:
    folder = shared_dir / "data/lean/equity/usa/minute" / item.symbol.lower()
    midnight = datetime.combine(day, time(0), NEW_YORK)
    start, end = midnight.astimezone(UTC), (midnight + timedelta(hours=20)).astimezone(UTC)
    for what, kind, columns in (
        ("TRADES", "trade", (1, 2, 3, 4)),
        ("BID", "quote", (1, 2, 3, 4)),
        ("ASK", "quote", (6, 7, 8, 9)),
    ):
        rows = [r for r in raw_rows(folder / f"{day:%Y%m%d}_{kind}.zip") if int(r[0]) < 72_000_000]
        bars = recorded.bars(item, start, end, 60, what, use_rth=False)  # type: ignore[arg-type]
        assert [(b.start, b.open, b.high, b.low, b.close) for b in bars] == [
            (start + timedelta(milliseconds=int(row[0])), *(int(row[c]) / 10_000 for c in columns)) for row in rows
        ]
        if what == "TRADES":
            assert [b.volume for b in bars] == [float(row[5]) for row in rows]


@pytest.mark.shared
def test_recorded_days_are_those_of_the_daily_file_and_agree_with_the_minutes(recorded: LeanMarket) -> None:
    start, end = utc("2013-10-07T00:00"), utc("2013-10-08T00:00")
    (day,) = recorded.bars(SPY, start, end, "day", "TRADES", use_rth=True)
    assert (day.open, day.high, day.low, day.close, day.volume) == (167.43, 168.45, 167.25, 167.42, 81_489_219)
    minutes = recorded.bars(SPY, start, end, 60, "TRADES", use_rth=True)
    assert len(minutes) == 390
    assert sum(b.volume for b in minutes) == day.volume
    assert max(b.high for b in minutes) == day.high
    years = recorded.bars(SPY, utc("1998-01-01T00:00"), utc("2021-04-01T00:00"), "day", "TRADES", use_rth=True)
    assert len(years) > 5_800
    assert recorded.head(SPY, "TRADES") == utc("1998-01-02T09:00")


@pytest.mark.shared
def test_recorded_futures_and_pairs_are_in_utc_and_follow_their_sessions(recorded: LeanMarket) -> None:
    # The first row of Sunday evening is the opening of Monday's session at 18:00 New York.
    first = next(recorded.events(ES, utc("2013-10-06T00:00")))
    assert first.at == utc("2013-10-06T22:00")
    assert isinstance(first, Quote)
    assert (first.bid, first.ask) == (Decimal("1676.75"), Decimal("1677.00"))
    (bar,) = recorded.bars(ES, utc("2013-10-06T22:00"), utc("2013-10-06T22:01"), 60, "TRADES", use_rth=False)
    assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (1676.75, 1677.25, 1673.5, 1675.25, 1884)
    assert recorded.data_days(ES)[0] == date(2013, 10, 7)
    (pair,) = recorded.bars(EURUSD, utc("2014-05-05T00:00"), utc("2014-05-05T00:01"), 60, "BID", use_rth=False)
    assert (pair.open, pair.low) == (1.38756, 1.38755)
    quote = recorded.quote_at(EURUSD, utc("2014-05-05T00:00"))
    assert quote is not None
    assert (str(quote.bid), str(quote.ask)) == ("1.38756", "1.38758")


@pytest.mark.shared
def test_recorded_data_suggests_a_start_with_most_stocks(recorded: LeanMarket) -> None:
    start = recorded.suggested_start
    assert start == utc("2013-10-11T14:00")
    assert all(recorded.is_data_day(item, date(2013, 10, 11)) for item in (SPY, IBM, BAC, AIG))
