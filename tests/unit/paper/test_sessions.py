"""Trading hours: the three calendars, and IBKR's own texts as captured from real gateways."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper import sessions
from ibkr_connector.paper.instruments import Instrument, InstrumentBook

BOOK = InstrumentBook(lambda: date(2026, 11, 20))


def instrument(con_id: int) -> Instrument:
    found = BOOK.by_con_id(con_id)
    assert found is not None
    return found


AAPL = instrument(265598)
EURUSD = instrument(12087792)
ES = instrument(515416632)
VIX = instrument(13455763)
EVERY_CALENDAR = [AAPL, EURUSD, ES, VIX]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_hours_text_of_a_stock_is_what_a_real_gateway_sent() -> None:
    start = date(2026, 4, 5)
    assert sessions.trading_hours_text(AAPL, start, 6, liquid=False) == (
        "20260405:CLOSED;20260406:0400-20260406:2000;20260407:0400-20260407:2000;20260408:0400-20260408:2000;"
        "20260409:0400-20260409:2000;20260410:0400-20260410:2000"
    )
    assert sessions.trading_hours_text(AAPL, start, 2, liquid=True) == "20260405:CLOSED;20260406:0930-20260406:1600"


def test_hours_text_of_a_pair_is_what_a_real_gateway_sent() -> None:
    assert sessions.trading_hours_text(EURUSD, date(2022, 12, 6), 7, liquid=False) == (
        "20221205:1715-20221206:1700;20221206:1715-20221207:1700;20221207:1715-20221208:1700;"
        "20221208:1715-20221209:1700;20221210:CLOSED;20221211:1715-20221212:1700"
    )


def test_hours_text_of_a_future_is_in_chicago_time() -> None:
    text = sessions.trading_hours_text(ES, date(2026, 4, 7), 1, liquid=False)
    assert text == "20260406:1700-20260407:1600"
    assert sessions.trading_hours_text(ES, date(2026, 4, 7), 1, liquid=True) == "20260407:0830-20260407:1600"


def test_a_closed_weekday_is_listed_even_if_the_next_session_begins_on_its_evening() -> None:
    text = sessions.trading_hours_text(EURUSD, date(2025, 12, 24), 3, liquid=False)
    assert text == "20251223:1715-20251224:1700;20251225:CLOSED;20251225:1715-20251226:1700"


def test_half_days_end_at_one_and_their_after_hours_at_five() -> None:
    session = sessions.session_of(AAPL, date(2026, 11, 27))
    assert session is not None
    assert session.rth_end == utc("2026-11-27T18:00")
    assert session.end == utc("2026-11-27T22:00")


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2013, 10, 7), True),
        (date(2012, 10, 29), False),  # hurricane Sandy
        (date(2026, 6, 19), False),  # Juneteenth
        (date(2021, 6, 18), True),  # not yet a holiday then
        (date(1985, 1, 2), True),  # before the exact calendar: every weekday
    ],
)
def test_nyse_days_are_the_real_ones(day: date, expected: bool) -> None:
    assert (sessions.session_of(AAPL, day) is not None) is expected


@pytest.mark.parametrize(
    ("at", "outside_rth", "expected"),
    [
        ("2026-11-20T14:29:59", False, False),
        ("2026-11-20T14:30:00", False, True),
        ("2026-11-20T20:59:59", False, True),
        ("2026-11-20T21:00:00", False, False),
        ("2026-11-20T21:00:00", True, True),
        ("2026-11-20T09:00:00", True, True),
        ("2026-11-20T08:59:59", True, False),
        ("2026-11-21T15:00:00", True, False),
    ],
)
def test_stock_is_open_exactly_in_its_hours(at: str, outside_rth: bool, expected: bool) -> None:
    assert sessions.is_open(AAPL, utc(at), outside_rth) is expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-20T21:59:59", True),  # Friday 16:59:59 New York
        ("2026-11-20T22:00:00", False),
        ("2026-11-22T22:14:59", False),  # Sunday 17:14:59
        ("2026-11-22T22:15:00", True),
        ("2026-11-23T22:05:00", False),  # the daily break
        ("2026-11-23T22:15:00", True),
        ("2026-12-25T15:00:00", False),
    ],
)
def test_currency_week_runs_from_sunday_to_friday_with_a_daily_break(at: str, expected: bool) -> None:
    assert sessions.is_open(EURUSD, utc(at), outside_rth=True) is expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-22T22:59:59", False),  # Sunday 17:59:59 New York
        ("2026-11-22T23:00:00", True),
        ("2026-11-23T22:30:00", False),  # the maintenance hour
        ("2026-11-26T17:00:00", True),  # Thanksgiving trades until 13:00
        ("2026-11-26T18:00:00", False),
        ("2026-04-03T15:00:00", False),  # Good Friday
        ("2026-11-27T18:14:59", True),  # the day after, until 13:15
        ("2026-11-27T18:15:00", False),
        ("2026-01-01T15:00:00", False),
    ],
)
def test_cme_week_and_holidays(at: str, expected: bool) -> None:
    assert sessions.is_open(ES, utc(at), outside_rth=True) is expected


def test_an_evening_belongs_to_the_next_trading_date() -> None:
    assert sessions.session_date(ES, utc("2026-11-22T23:30")) == date(2026, 11, 23)
    assert sessions.session_date(EURUSD, utc("2026-11-23T23:00")) == date(2026, 11, 24)
    assert sessions.session_date(AAPL, utc("2026-11-21T02:00")) == date(2026, 11, 23)  # Friday 21:00 New York


def test_indices_have_regular_hours_only() -> None:
    assert not sessions.is_open(VIX, utc("2026-11-20T10:00"), outside_rth=True)
    assert sessions.is_open(VIX, utc("2026-11-20T15:00"))


def test_history_of_days_begins_with_whole_sessions() -> None:
    friday = utc("2026-11-20T15:00")
    assert sessions.sessions_back(AAPL, friday, 1, use_rth=True) == utc("2026-11-20T14:30")
    assert sessions.sessions_back(AAPL, friday, 5, use_rth=False) == utc("2026-11-16T09:00")
    before_open = utc("2026-11-20T13:00")
    assert sessions.sessions_back(AAPL, before_open, 1, use_rth=True) == utc("2026-11-19T14:30")


def test_search_beyond_any_closure_is_an_error_and_not_an_endless_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sessions._RULES, "NEVER", lambda day: None)
    with pytest.raises(LookupError, match="NEVER"):
        sessions.next_session_on_or_after("NEVER", date(2026, 1, 1))
    with pytest.raises(LookupError, match="NEVER"):
        sessions.last_session_on_or_before("NEVER", date(2026, 1, 1))


moments = st.datetimes(
    min_value=datetime(2005, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds
    max_value=datetime(2027, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
)


@given(item=st.sampled_from(EVERY_CALENDAR), at=moments, outside=st.booleans())
def test_next_open_is_the_first_open_moment(item: Instrument, at: datetime, outside: bool) -> None:
    opens = sessions.next_open(item, at, outside)
    assert opens >= at
    assert sessions.is_open(item, opens, outside)
    if opens > at:
        assert not sessions.is_open(item, at, outside)
        assert not sessions.is_open(item, opens - timedelta(microseconds=1), outside)
    closes = sessions.next_close(item, at, outside)
    assert closes > opens
    assert sessions.is_open(item, closes - timedelta(microseconds=1), outside)
    assert not sessions.is_open(item, closes, outside)


@given(item=st.sampled_from(EVERY_CALENDAR), at=moments)
def test_current_last_and_next_session_agree(item: Instrument, at: datetime) -> None:
    now, last, following = (
        sessions.session_at(item, at),
        sessions.last_session(item, at),
        sessions.next_session(item, at),
    )
    assert last.start <= at
    assert following.end > at
    if now is None:
        assert last.end <= at < following.start
        assert sessions.following_session(item, last.day) == following
        assert sessions.previous_session(item, following.day) == last
    else:
        assert now == last == following
    assert now is None or now.day == sessions.session_date(item, at)


@given(item=st.sampled_from(EVERY_CALENDAR), at=moments, hours=st.integers(0, 240))
def test_sessions_between_are_those_that_overlap(item: Instrument, at: datetime, hours: int) -> None:
    end = at + timedelta(hours=hours)
    found = list(sessions.sessions_between(item, at, end))
    assert [s.day for s in found] == sorted({s.day for s in found})
    assert all(s.start < end and s.end > at for s in found)
    if hours and sessions.session_at(item, at) is not None:
        assert found[0] == sessions.session_at(item, at)
