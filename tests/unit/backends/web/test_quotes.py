"""Frames of `smd` as quotes: letters, commas, differences, what vanishes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.backends.web.quotes import FIELDS, Picture, con_id_of, number

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
WHOLE: dict[str, Any] = {
    "topic": "smd+265598", "conid": 265598, "6509": "RpB", "31": "150.10", "84": "150.09", "86": "150.11",
    "85": "1,200", "88": "300", "7059": "100", "7762": "8997641", "87": "9.0M", "70": "151.00", "71": "149.50",
    "7295": "150.00", "7741": "148.24",
}  # fmt: skip


def picture(*frames: dict[str, Any], signed: bool = False) -> Picture:
    made = Picture(signed=signed)
    made.asked()
    for frame in frames:
        made.take(frame)
    return made


def test_a_whole_frame_is_a_whole_quote() -> None:
    made = picture(WHOLE)
    assert made.is_whole
    quote = made.quote("AAPL", 265598, NOW)
    assert (quote.bid, quote.ask, quote.last, quote.close) == (150.09, 150.11, 150.10, 148.24)
    assert (quote.bid_size, quote.ask_size, quote.last_size, quote.volume) == (300.0, 1200.0, 100.0, 8997641.0)
    assert (quote.open, quote.high, quote.low) == (150.0, 151.0, 149.5)
    assert (quote.halted, quote.delayed, quote.at) == (False, False, NOW)


def test_what_a_frame_does_not_tell_stays() -> None:
    quote = picture(WHOLE, {"conid": 265598, "84": "150.08"}).quote("AAPL", 265598, NOW)
    assert (quote.bid, quote.ask) == (150.08, 150.11)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("150.10", (150.1, "")), ("C148.24", (148.24, "C")), ("H150.10", (150.1, "H")), ("1,234.5", (1234.5, "")),
        ("50.1M", (50_100_000.0, "")), ("12.3K", (12_300.0, "")), ("2B", (2e9, "")), ("", (None, "")),
        ("NaN", (None, "")), ("C", (None, "C")), ("M", (None, "")), (None, (None, "")), (5, (5.0, "")),
        ("-", (None, "")), (True, (None, "")), ([], (None, "")), ("1e400", (None, "")), ("9" * 80, (None, "")),
    ],
)  # fmt: skip
def test_numbers_in_all_their_forms(told: Any, expected: tuple[float | None, str]) -> None:
    value, letter = number(told)
    assert (value, letter) == (pytest.approx(expected[0]) if expected[0] is not None else None, expected[1])


def test_a_close_is_no_trade() -> None:
    made = picture({"conid": 1, "31": "C148.24", "84": "149.00"})
    assert made.quote("X", 1, NOW).last is None
    assert made.quote("X", 1, NOW).close == 148.24
    made.take({"conid": 1, "31": "149.10"})
    assert made.quote("X", 1, NOW).last == 149.10


def test_a_halt_begins_and_ends_with_the_letter() -> None:
    made = picture(WHOLE)
    assert made.take({"conid": 1, "31": "H150.10"})
    assert made.quote("X", 1, NOW).halted
    assert made.quote("X", 1, NOW).last == 150.10
    assert made.take({"conid": 1, "31": "150.10"})
    assert not made.quote("X", 1, NOW).halted


@pytest.mark.parametrize(("kind", "delayed"), [("RpB", False), ("DPB", True), ("Z", False), ("Y", True)])
def test_delayed_data_say_so(kind: str, delayed: bool) -> None:
    assert picture({"conid": 1, "6509": kind, "84": "1"}).quote("X", 1, NOW).delayed is delayed


def test_no_subscription_is_one_only_while_nothing_was_shown() -> None:
    assert picture({"conid": 1, "6509": "N"}).refused
    assert not picture(WHOLE, {"conid": 1, "6509": "N"}).refused


@pytest.mark.parametrize("told", ["-1", "0", "", "-1.00"])
def test_no_such_price_now_takes_the_price_away(told: str) -> None:
    assert picture(WHOLE, {"conid": 1, "84": told}).quote("X", 1, NOW).bid is None


def test_futures_and_combinations_may_cost_less_than_nothing() -> None:
    assert picture({"conid": 1, "84": "-37.63"}, signed=True).quote("CL", 1, NOW).bid == -37.63


def test_what_is_not_told_again_has_no_value_any_more() -> None:
    made = picture(WHOLE)
    made.asked()
    made.take({name: value for name, value in WHOLE.items() if name not in {"84", "88"}})
    assert made.drop_untold()
    quote = made.quote("X", 1, NOW)
    assert (quote.bid, quote.bid_size, quote.ask) == (None, None, 150.11)
    assert not made.drop_untold()


def test_an_answer_that_tells_changes_only_takes_nothing_away() -> None:
    made = picture(WHOLE)
    made.asked()
    made.take({"conid": 1, "84": "150.08"})
    assert not made.drop_untold()
    assert made.quote("X", 1, NOW).ask == 150.11


def test_whose_frame_it_is() -> None:
    assert con_id_of({"conid": 265598}) == 265598
    assert con_id_of({"conid": "265598"}) == 265598
    assert con_id_of({"topic": "smd+265598@SMART"}) == 265598
    assert con_id_of({"topic": "smd+x"}) == 0
    assert con_id_of({}) == 0


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers())


@given(st.lists(st.dictionaries(st.sampled_from([*FIELDS, "conid", "topic"]), _VALUES), max_size=5))
def test_no_frame_breaks_a_picture(frames: list[dict[str, Any]]) -> None:
    quote = picture(*frames).quote("X", 1, NOW)
    for value in (quote.bid, quote.ask, quote.last, quote.close):
        assert value is None or value > 0
