"""Which historical requests are refused, in which words, and what time the others cover."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from ibkr_connector.paper.instruments import Instrument, InstrumentBook
from ibkr_connector.paper.tws import history
from ibkr_connector.paper.tws.contracts import WireContract
from ibkr_connector.paper.tws.history import BadRequest, HistoryQuery, HistoryRequest, check, parse_duration, window
from ibkr_connector.paper.tws.request_times import RequestTime

NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2026, 4, 15, 17, 0, tzinfo=UTC)

GOOD = HistoryRequest(
    request_id=1,
    contract=WireContract(symbol="AAPL", sec_type="STK", exchange="SMART"),
    end_text="",
    bar_size="1 hour",
    duration="1 D",
    use_rth=True,
    what="TRADES",
    format_date=1,
    keep_up_to_date=False,
)


@pytest.fixture(scope="module")
def apple() -> Instrument:
    found = InstrumentBook(lambda: date(2026, 4, 15)).by_con_id(265598)
    assert found is not None
    return found


@pytest.mark.parametrize("bar_size", [*history.BAR_SIZES, "1 week", "1 month", "1 Min", "1 w", "1m"])
def test_every_bar_size_of_ibkr_is_taken(bar_size: str) -> None:
    assert check(replace(GOOD, bar_size=bar_size, duration="600 S"), NOW).size


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (
            {"bar_size": "7 mins"},
            321,
            "Historical data bar size setting is invalid. Legal ones are: 1 secs, 5 secs, 10",
        ),
        ({"bar_size": "1 sec"}, 321, "1 day, 1W, 1M"),
        ({"duration": ""}, 321, "Historical data request duration not specified."),
        ({"duration": "1D"}, 321, "format is integer{SPACE}unit (S|D|W|M|Y)."),
        ({"duration": "1 Q"}, 321, "format is integer{SPACE}unit (S|D|W|M|Y)."),
        ({"duration": "0 D"}, 321, "Historical data requested duration is invalid."),
        ({"duration": "29 S"}, 321, "Historical data requested duration is invalid."),
        ({"duration": "86401 S"}, 321, "greater than 86400 seconds rejected."),
        ({"duration": "366 D"}, 321, "durations longer than 365 days must be made in years."),
        ({"duration": "53 W"}, 321, "durations longer than 52 weeks must be made in years."),
        ({"duration": "13 M"}, 321, "durations longer than 12 months must be made in years."),
        ({"end_text": "yesterday"}, 10314, "End Date/Time: The date, time, or time-zone entered is invalid."),
        ({"what": "GOSSIP"}, 321, "GOSSIP"),
        ({"what": "FEE_RATE"}, 162, "HMDS query returned no data: AAPL@SMART Fee Rate"),
        ({"format_date": 7}, 321, "Date formatting selection of 7 rejected."),
        ({"keep_up_to_date": True, "end_text": "20260401-20:00:00"}, 321, "End date not supported with live updates"),
        ({"keep_up_to_date": True, "what": "BID_ASK"}, 321, "Source price not supported with live updates"),
        ({"what": "ADJUSTED_LAST", "end_text": "20260401-20:00:00"}, 321, "End date not supported with adjusted last"),
        ({"what": "ADJUSTED_LAST", "bar_size": "1W"}, 321, "Multi day bar size not supported with adjusted last"),
        ({"what": "SCHEDULE"}, 321, "Only daily resolution supported for Schedule requests"),
        ({"bar_size": "1 secs", "duration": "1 D"}, 162, "Time length exceed max."),
        ({"bar_size": "30 secs", "duration": "2 D"}, 162, "Time length exceed max."),
        ({"bar_size": "1 min", "duration": "2 Y"}, 162, "Time length exceed max."),
    ],
)
def test_bad_requests_are_refused_in_the_gateways_words(change: dict[str, object], code: int, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        check(replace(GOOD, **change), NOW)  # type: ignore[arg-type]
    assert caught.value.error[0] == code
    assert words in caught.value.error[1]


def test_a_combination_cannot_be_kept_up_to_date() -> None:
    with pytest.raises(BadRequest, match="combos"):
        check(replace(GOOD, contract=WireContract(sec_type="BAG"), keep_up_to_date=True), NOW)


@pytest.mark.parametrize(
    ("text", "expected"), [("30 D", (30, "D")), ("600", (600, "S")), ("2 w", (2, "W")), ("365 d", (365, "D"))]
)
def test_durations(text: str, expected: tuple[int, str]) -> None:
    assert parse_duration(text) == expected


def test_only_bars_of_thirty_seconds_and_less_are_paced() -> None:
    assert check(replace(GOOD, bar_size="30 secs"), NOW).is_paced
    assert not check(replace(GOOD, bar_size="1 min"), NOW).is_paced
    assert not check(replace(GOOD, bar_size="1 day"), NOW).is_paced


def local(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=NEW_YORK)


@pytest.mark.parametrize(
    ("duration", "use_rth", "start"),
    [
        ("1 D", True, local(4, 15, 9, 30)),
        ("1 D", False, local(4, 15, 4)),
        ("2 D", True, local(4, 14, 9, 30)),
        ("600 S", True, local(4, 15, 12, 50)),
        # April 3rd was Good Friday.
        ("1 W", True, local(4, 9, 9, 30)),
        ("1 M", True, local(3, 16, 9, 30)),
        ("1 Y", True, datetime(2025, 4, 16, 9, 30, tzinfo=NEW_YORK)),
    ],
)
def test_the_time_a_duration_covers(apple: Instrument, duration: str, use_rth: bool, start: datetime) -> None:
    query = check(replace(GOOD, duration=duration, bar_size="1 day"), NOW)
    assert window(query, apple, NOW, use_rth=use_rth) == (start, NOW)


def ending(at: datetime, duration: str) -> HistoryQuery:
    query = check(replace(GOOD, duration=duration), NOW)
    return replace(query, end=RequestTime(at.astimezone(UTC), implied_zone=False))


def test_seconds_count_back_from_the_last_trading_moment(apple: Instrument) -> None:
    # Sunday noon: the last hour of Thursday, before Good Friday.
    sunday = local(4, 5, 12)
    assert window(ending(sunday, "3600 S"), apple, NOW, use_rth=True) == (local(4, 2, 15), local(4, 2, 16))
    early = local(4, 15, 3)
    assert window(ending(early, "3600 S"), apple, NOW, use_rth=False) == (local(4, 14, 19), local(4, 14, 20))


def test_a_day_before_the_open_is_the_day_before(apple: Instrument) -> None:
    start, _ = window(ending(local(4, 15, 8), "1 D"), apple, NOW, use_rth=True)
    assert start == local(4, 14, 9, 30)


def test_nothing_beyond_now_is_ever_asked_for(apple: Instrument) -> None:
    future = ending(local(5, 1, 12), "2 D")
    assert window(future, apple, NOW, use_rth=True)[1] == NOW


@pytest.mark.parametrize(("day", "months", "expected"), [(31, 1, (2, 28)), (15, 3, (12, 15))])
def test_a_month_back_from_a_long_month_ends_in_a_short_one(
    apple: Instrument, day: int, months: int, expected: tuple[int, int]
) -> None:
    start, _ = window(ending(local(3, day, 12), f"{months} M"), apple, NOW, use_rth=True)
    year = 2026 if expected[0] < 4 else 2025
    assert start.astimezone(NEW_YORK).date() > date(year, *expected)
    assert (start.astimezone(NEW_YORK).date() - date(year, *expected)).days <= 4
