from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.models import Contract, ContractDetails
from ibkr_connector.risk.hours import (
    HoursUnreadable,
    HoursVerdict,
    MarketHours,
    Sessions,
    calendar_name,
    calendar_sessions,
    parse_hours,
    time_zone,
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def parsed(text: str, zone: str = "US/Eastern") -> Sessions:
    found = parse_hours(text, zone)
    assert found is not None
    return found


def windows(sessions: Sessions) -> list[tuple[str, str]]:
    return [
        (f"{start:%m-%d %H:%M}", f"{end:%m-%d %H:%M}")
        for start, end in zip(sessions.starts, sessions.ends, strict=True)
    ]


# --- IBKR's text -----------------------------------------------------------------------------------------------------


def test_the_text_of_a_real_gateway_is_read() -> None:
    liquid = parsed("20260406:0930-20260406:1600;20260407:0930-20260407:1600;20260411:CLOSED")
    assert windows(liquid) == [("04-06 13:30", "04-06 20:00"), ("04-07 13:30", "04-07 20:00")]
    assert not liquid.is_open(utc("2026-04-06T13:29:59"))
    assert liquid.is_open(utc("2026-04-06T13:30:00"))
    assert liquid.is_open(utc("2026-04-06T19:59:59"))
    assert not liquid.is_open(utc("2026-04-06T20:00:00"))
    assert liquid.next_open(utc("2026-04-06T20:00:00")) == utc("2026-04-07T13:30:00")
    assert liquid.next_open(utc("2026-04-07T20:00:00")) is None


def test_nothing_is_claimed_about_days_the_text_does_not_name() -> None:
    liquid = parsed("20260406:0930-20260406:1600;20260407:CLOSED")
    assert not liquid.covers(utc("2026-04-06T03:59:00"))
    assert liquid.covers(utc("2026-04-06T04:00:00"))
    assert liquid.covers(utc("2026-04-08T03:59:00"))
    assert not liquid.covers(utc("2026-04-08T04:00:00"))


def test_the_old_form_with_two_ranges_a_day_is_read() -> None:
    hours = parsed("20090507:0700-1830,1830-2330;20090508:CLOSED", "EST (Eastern Standard Time)")
    assert windows(hours) == [("05-07 11:00", "05-08 03:30")]
    lunch = parsed("20261120:0900-1130,1230-1530", "Japan")
    assert windows(lunch) == [("11-20 00:00", "11-20 02:30"), ("11-20 03:30", "11-20 06:30")]


def test_a_futures_day_that_begins_the_evening_before_is_read_in_both_forms() -> None:
    old = parsed("20261119:1700-1600;20261120:1700-1600", "CST (Central Standard Time)")
    new = parsed("20261118:1700-20261119:1600;20261119:1700-20261120:1600;20261121:CLOSED", "US/Central")
    assert windows(old) == windows(new) == [("11-18 23:00", "11-19 22:00"), ("11-19 23:00", "11-20 22:00")]
    assert old.covers(utc("2026-11-18T23:30:00"))


def test_a_half_day_ends_early_and_summer_time_moves_the_session() -> None:
    around = parsed("20261126:CLOSED;20261127:0930-20261127:1300")
    assert windows(around) == [("11-27 14:30", "11-27 18:00")]
    switch = parsed("20260306:0930-20260306:1600;20260309:0930-20260309:1600")
    assert windows(switch) == [("03-06 14:30", "03-06 21:00"), ("03-09 13:30", "03-09 20:00")]
    assert parsed("20261127:0000-2400").is_open(utc("2026-11-28T04:59:00"))


def test_ranges_may_name_their_days_and_a_whole_day_may_begin_the_evening_before() -> None:
    two = parsed("20261119:0959-20261119:1000,20261120:0900-20261120:1000", "UTC")
    assert windows(two) == [("11-19 09:59", "11-19 10:00"), ("11-20 09:00", "11-20 10:00")]
    assert windows(parsed("20261120:1700-1700", "UTC")) == [("11-19 17:00", "11-20 17:00")]


def test_no_text_is_no_statement() -> None:
    assert parse_hours("", "") is None
    assert parse_hours(" ; ", "nowhere") is None


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("20260406", "US/Eastern"),
        ("20260406:0930", "US/Eastern"),
        ("20260406:0930-1600-1700", "US/Eastern"),
        ("20261306:0930-1600", "US/Eastern"),
        ("20260406:0930-20261306:1600", "US/Eastern"),
        ("20260406:2500-2600", "US/Eastern"),
        ("20260406:0930-20260406:0930", "US/Eastern"),
        ("20260406:0960-1600", "US/Eastern"),
        ("20260406:0930-2401", "US/Eastern"),
        ("20260406:1600-20260406:0930", "US/Eastern"),
        ("20260406:CLOSED", "Mars/Olympus"),
        ("20260406:CLOSED", "../../etc/passwd"),
        ("20260406:CLOSED", ""),
        ("20260406:CLOSED", "bad\0name"),
    ],
)
def test_text_of_an_unknown_form_is_refused_and_not_guessed(text: str, zone: str) -> None:
    with pytest.raises(HoursUnreadable):
        parse_hours(text, zone)


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("US/Eastern", "US/Eastern"),
        ("EST (Eastern Standard Time)", "America/New_York"),
        ("EST5EDT", "America/New_York"),
        ("CST", "America/Chicago"),
        ("JST (Japan Standard Time)", "Asia/Tokyo"),
        ("MET (Middle Europe Time)", "Europe/Berlin"),
        ("Asia/Hong_Kong", "Asia/Hong_Kong"),
        ("GB-Eire", "GB-Eire"),
    ],
)
def test_old_zone_names_mean_places_and_not_fixed_offsets(name: str, means: str) -> None:
    assert time_zone(name).key == means


@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.integers(1, 40)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=8
    ),
    st.integers(-5, 250),
)
def test_sessions_answer_like_a_list_that_is_searched(ranges: list[tuple[int, int]], minute: int) -> None:
    base = utc("2026-01-01T00:00:00")
    sessions = Sessions.of(
        [(base + timedelta(minutes=a), base + timedelta(minutes=b)) for a, b in ranges],
        base,
        base + timedelta(days=1),
    )
    moment = base + timedelta(minutes=minute)
    assert sessions.is_open(moment) is any(a <= minute < b for a, b in ranges)
    assert all(a < b for a, b in zip(sessions.ends, sessions.starts[1:], strict=False))
    following = sessions.next_open(moment)
    assert following is None or following > moment


# --- the second opinion ----------------------------------------------------------------------------------------------


def test_the_calendar_knows_thanksgiving_and_the_half_day_after_it() -> None:
    sessions = calendar_sessions("XNYS", date(2026, 11, 26), 2)
    assert windows(sessions) == [
        ("11-24 14:30", "11-24 21:00"),
        ("11-25 14:30", "11-25 21:00"),
        ("11-27 14:30", "11-27 18:00"),
    ]
    assert sessions.covers(utc("2026-11-24T05:00:00"))
    assert not sessions.covers(utc("2026-11-24T04:59:00"))
    assert sessions.covers(utc("2026-11-29T04:59:00"))
    assert not sessions.covers(utc("2026-11-29T05:00:00"))


def test_the_calendar_knows_tokyos_lunch() -> None:
    sessions = calendar_sessions("XTKS", date(2026, 4, 7), 1)
    assert windows(sessions)[:2] == [("04-06 00:00", "04-06 02:30"), ("04-06 03:30", "04-06 06:30")]


@pytest.mark.parametrize(
    ("contract", "name"),
    [
        (Contract.stock("AAPL"), "XNYS"),
        (Contract.stock("AAPL", primary_exchange="NASDAQ"), "XNYS"),
        (Contract.stock("7203", exchange="TSEJ", currency="JPY"), "XTKS"),
        (Contract.stock("SAP", primary_exchange="IBIS", currency="EUR"), "XETR"),
        (Contract.stock("SAP", currency="EUR"), ""),
        (Contract.stock("X", exchange="NOWHERE"), ""),
        (Contract.future("ES", "202612", "CME"), ""),
        (Contract.forex("EUR.USD"), ""),
    ],
)
def test_only_stocks_have_a_calendar_to_compare_with(contract: Contract, name: str) -> None:
    assert calendar_name(contract) == name


def test_importing_the_room_loads_neither_pandas_nor_a_calendar() -> None:
    script = "import sys, ibkr_connector.risk; print([m for m in ('pandas', 'exchange_calendars') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "[]"


# --- both together ---------------------------------------------------------------------------------------------------

TRADING = parsed("20261127:0400-20261127:1700;20261128:CLOSED")
LIQUID = parsed("20261127:0930-20261127:1300;20261128:CLOSED")
WRONG = parsed("20261127:0930-20261127:1600;20261128:CLOSED")
MORNING, AFTERNOON, NIGHT = utc("2026-11-27T15:00:00"), utc("2026-11-27T19:00:00"), utc("2026-11-28T02:00:00")
LATER = utc("2026-12-03T15:00:00")


def test_regular_orders_need_regular_hours_and_outside_rth_all_hours() -> None:
    hours = MarketHours(trading=TRADING, liquid=LIQUID)
    assert hours.at(MORNING, outside_rth=False) == HoursVerdict(True, "IBKR")
    assert hours.at(AFTERNOON, outside_rth=False) == HoursVerdict(False, "IBKR")
    assert hours.at(AFTERNOON, outside_rth=True) == HoursVerdict(True, "IBKR")
    assert hours.at(NIGHT, outside_rth=True) == HoursVerdict(False, "IBKR")


def test_both_sources_agreeing_or_not_is_told() -> None:
    calendar = calendar_sessions("XNYS", date(2026, 11, 27))
    agreeing = MarketHours(trading=TRADING, liquid=LIQUID, calendar=calendar)
    for moment in (MORNING, AFTERNOON, NIGHT):
        assert not agreeing.at(moment, outside_rth=False).disputed
    wrong = MarketHours(trading=TRADING, liquid=WRONG, calendar=calendar)
    assert wrong.at(AFTERNOON, outside_rth=False) == HoursVerdict(True, "IBKR", None, disputed=True)
    assert not wrong.at(AFTERNOON, outside_rth=True).disputed


def test_the_calendar_speaks_where_ibkrs_text_ends_and_nobody_where_both_do() -> None:
    calendar = calendar_sessions("XNYS", date(2026, 12, 1))
    hours = MarketHours(trading=TRADING, liquid=LIQUID, calendar=calendar)
    assert hours.at(LATER, outside_rth=False) == HoursVerdict(True, "exchange_calendars", utc("2026-12-04T14:30:00"))
    assert hours.at(utc("2027-06-01T15:00:00"), outside_rth=False) == HoursVerdict(None, "none")
    assert MarketHours(trading=TRADING, liquid=LIQUID).at(LATER, outside_rth=False).open is None
    assert MarketHours().at(MORNING, outside_rth=True) == HoursVerdict(None, "none")


def test_hours_come_from_contract_details_and_unreadable_ones_count_as_none() -> None:
    details = ContractDetails(
        contract=Contract.stock("AAPL"),
        time_zone_id="US/Eastern",
        trading_hours="20261127:0400-20261127:1700;20261128:CLOSED",
        liquid_hours="gibberish",
    )
    hours = MarketHours.of(details)
    assert hours.trading == TRADING
    assert hours.liquid is None
