"""The grid of bars: IBKR's alignment, and what a bar made of ticks says."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper import sessions
from ibkr_connector.paper.instruments import Instrument, InstrumentBook
from ibkr_connector.paper.market.aggregate import (
    Part,
    build_bars,
    midpoint,
    parts_of_events,
    periods,
    wap_decimals,
)
from ibkr_connector.paper.market.base import BarSize, Quote, Trade, What

BOOK = InstrumentBook(lambda: date(2026, 11, 20))


def instrument(con_id: int) -> Instrument:
    found = BOOK.by_con_id(con_id)
    assert found is not None
    return found


SPY, EURUSD, ES = instrument(756733), instrument(12087792), instrument(515416632)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def starts(item: Instrument, start: str, end: str, size: BarSize, *, use_rth: bool = True) -> list[str]:
    found = periods(item, utc(start), utc(end), size, use_rth)
    return [period.start.astimezone(sessions.NEW_YORK).strftime("%m%d %H:%M") for period in found]


def test_hourly_bars_start_with_half_an_hour_as_a_real_gateway_sends_them() -> None:
    assert starts(SPY, "2026-04-02T00:00", "2026-04-03T00:00", 3600) == [
        "0402 09:30",
        "0402 10:00",
        "0402 11:00",
        "0402 12:00",
        "0402 13:00",
        "0402 14:00",
        "0402 15:00",
    ]


def test_half_hours_of_a_half_day_end_at_one() -> None:
    found = starts(SPY, "2026-11-27T00:00", "2026-11-28T00:00", 1800)
    assert (found[0], found[-1], len(found)) == ("1127 09:30", "1127 12:30", 7)


def test_extended_hours_begin_at_four() -> None:
    assert starts(SPY, "2026-04-02T00:00", "2026-04-02T10:00", 3600, use_rth=False) == ["0402 04:00", "0402 05:00"]


def test_currency_bars_begin_at_a_quarter_past_five() -> None:
    assert starts(EURUSD, "2026-04-06T20:59", "2026-04-06T23:30", 3600) == ["0406 17:15", "0406 18:00", "0406 19:00"]


def test_an_intraday_bar_begun_before_the_start_is_left_out() -> None:
    assert starts(SPY, "2026-04-02T14:10", "2026-04-02T15:20", 1800) == ["0402 10:30", "0402 11:00"]


def test_days_weeks_and_months_are_whole_and_dated_by_their_last_session() -> None:
    days = list(periods(SPY, utc("2026-04-01T15:00"), utc("2026-04-07T15:00"), "day", use_rth=True))
    assert [p.session for p in days] == [date(2026, 4, d) for d in (1, 2, 6, 7)]  # Good Friday is closed
    weeks = list(periods(SPY, utc("2026-03-25T15:00"), utc("2026-04-07T15:00"), "week", use_rth=True))
    assert [(p.session, len(p.ranges)) for p in weeks] == [
        (date(2026, 3, 27), 5),
        (date(2026, 4, 2), 4),
        (date(2026, 4, 7), 2),
    ]
    months = list(periods(SPY, utc("2026-02-17T15:00"), utc("2026-03-03T15:00"), "month", use_rth=True))
    assert [(p.start.date(), p.session) for p in months] == [
        (date(2026, 2, 2), date(2026, 2, 27)),
        (date(2026, 3, 2), date(2026, 3, 3)),
    ]


def test_a_day_whose_hours_are_over_before_the_start_has_no_bar() -> None:
    start, end = utc("2026-04-01T20:00"), utc("2026-04-03T00:00")
    assert [p.session.day for p in periods(SPY, start, end, "day", use_rth=True)] == [2]
    assert [p.session.day for p in periods(SPY, start, end, "day", use_rth=False)] == [1, 2]


@pytest.mark.parametrize("size", [0, -5, 86_400])
def test_a_bar_size_outside_a_session_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="intraday bars last"):
        starts(SPY, "2026-04-02T00:00", "2026-04-03T00:00", size)


def test_an_unknown_word_for_a_bar_size_is_refused() -> None:
    with pytest.raises(ValueError, match="'day', 'week' or 'month'"):
        starts(SPY, "2026-04-02T00:00", "2026-04-03T00:00", "year")  # type: ignore[arg-type]


@given(
    item=st.sampled_from([SPY, EURUSD, ES]),
    hours=st.integers(0, 24 * 400),
    size=st.sampled_from([1, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 14400, 28800]),
    use_rth=st.booleans(),
)
def test_intraday_periods_cover_the_hours_exactly_once(item: Instrument, hours: int, size: int, use_rth: bool) -> None:
    start = utc("2025-10-01T00:00") + timedelta(hours=hours)
    end = start + timedelta(seconds=max(size, 60) * 40)
    previous: datetime | None = None
    for period in periods(item, start, end, size, use_rth):
        ((low, high),) = period.ranges
        session = sessions.session_of(item, period.session)
        assert session is not None
        opens, closes = session.bounds(use_rth)
        assert opens <= low < high <= closes
        assert high - low <= timedelta(seconds=size)
        assert low == opens or (low.astimezone(sessions.NEW_YORK).timestamp() % min(size, 3600)) == 0
        assert start <= low < end
        assert previous is None or low >= previous
        previous = high


AT = utc("2026-04-02T14:00:00")


def quote(seconds: float, bid: str | None, ask: str | None) -> Quote:
    def price(text: str | None) -> Decimal | None:
        return None if text is None else Decimal(text)

    return Quote(AT + timedelta(seconds=seconds), price(bid), price(ask), Decimal(1), Decimal(1))


def trade(seconds: float, price: str, size: str) -> Trade:
    return Trade(AT + timedelta(seconds=seconds), Decimal(price), Decimal(size))


def bars_of(events: list[Quote | Trade], what: What, seconds: int = 60, in_force: Quote | None = None) -> list[object]:
    def parts(kind: What, low: datetime, high: datetime) -> list[Part]:
        inside = [event for event in events if low <= event.at < high]
        before = [e for e in events if isinstance(e, Quote) and e.at <= low]
        return list(parts_of_events(inside, kind, low, high, before[-1] if before else in_force))

    return [
        (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.wap, bar.count)
        for bar in build_bars(parts, SPY, AT, AT + timedelta(seconds=seconds), 60, what, use_rth=True)
    ]


def test_trades_make_open_high_low_close_volume_average_and_count() -> None:
    events: list[Quote | Trade] = [trade(1, "10.00", "100"), trade(2, "10.10", "300"), trade(3, "9.95", "100")]
    assert bars_of(events, "TRADES") == [(10.0, 10.1, 9.95, 9.95, 500.0, 10.05, 3)]
    assert bars_of(events, "ADJUSTED_LAST") == bars_of(events, "TRADES")


def test_prints_without_size_shape_the_bar_and_count_nothing() -> None:
    assert bars_of([trade(1, "18.10", "0"), trade(2, "18.00", "0")], "TRADES") == [
        (18.1, 18.1, 18.0, 18.0, 0.0, 0.0, 0)
    ]


def test_a_quote_from_before_the_bar_is_its_open() -> None:
    before = quote(-30, "10.00", "10.02")
    events: list[Quote | Trade] = [quote(15, "10.04", "10.06")]
    assert bars_of(events, "BID", in_force=before) == [(10.0, 10.04, 10.0, 10.04, -1, -1, -1)]
    assert bars_of(events, "MIDPOINT", in_force=before) == [(10.01, 10.05, 10.01, 10.05, -1, -1, -1)]


def test_bid_ask_bars_average_the_sides_over_time() -> None:
    events: list[Quote | Trade] = [quote(0, "10.00", "10.02"), quote(15, "10.04", "10.10")]
    assert bars_of(events, "BID_ASK") == [(10.03, 10.1, 10.0, 10.08, -1, -1, -1)]


def test_a_missing_side_makes_no_bar_of_it() -> None:
    events: list[Quote | Trade] = [quote(0, "10.00", None)]
    assert bars_of(events, "ASK") == []
    assert bars_of(events, "MIDPOINT") == []
    assert bars_of(events, "BID_ASK") == []
    assert len(bars_of(events, "BID")) == 1


def test_no_event_makes_no_bar() -> None:
    assert bars_of([], "TRADES") == []
    assert bars_of([], "BID") == []


def test_midpoint_is_exact_before_it_becomes_a_float() -> None:
    assert midpoint(Decimal("1.14295"), Decimal("1.14300")) == 1.142975
    assert midpoint(None, Decimal(1)) is None
    assert midpoint(Decimal(1), None) is None


def test_average_prices_have_one_decimal_more_than_the_tick() -> None:
    assert (wap_decimals(SPY), wap_decimals(EURUSD), wap_decimals(ES)) == (3, 6, 3)
