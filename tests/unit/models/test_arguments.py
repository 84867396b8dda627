"""What comes through the door is what it says, or one typed error of one line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.errors import InvalidRequest, OrderValidationError
from ibkr_connector.models.arguments import (
    LONGEST_WAIT_S,
    flag,
    is_plain_number,
    moment,
    needed_seconds,
    seconds,
    sentence,
    shown,
    text,
    to_decimal,
    whole,
)


class Nameless:
    def __repr__(self) -> str:
        return "<nameless>"  # an address in a test's name would be another one in every run


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


ODD: list[object] = [
    None,
    True,
    float("nan"),
    float("inf"),
    float("-inf"),
    1e300,
    10**5000,
    -(10**5000),
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    Decimal("1e400"),
    "",
    " ",
    "5",
    "²",
    "1_0",
    "\0",
    "\ud800",
    "x" * 10_000_000,
    b"5",
    [],
    {},
    Nameless(),
    Unprintable(),
    datetime(2026, 1, 1),  # noqa: DTZ001 - without a zone
    datetime.max.replace(tzinfo=UTC),
]


@pytest.mark.parametrize("value", ODD[1:], ids=lambda value: shown(value)[:30])
def test_odd_seconds_are_refused_by_name(value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        seconds(value, "patience")  # type: ignore[call-overload]
    assert caught.value.context["field"] == "patience"
    assert caught.value.context["legal"]
    assert len(str(caught.value)) < 400


def test_seconds_keep_zero_and_none_and_their_ends() -> None:
    assert seconds(None) is None
    assert seconds(0) == 0.0
    assert seconds(Decimal("0.5")) == 0.5  # type: ignore[call-overload]
    assert seconds(LONGEST_WAIT_S) == LONGEST_WAIT_S
    for wrong in (-1e-9, LONGEST_WAIT_S + 1):
        with pytest.raises(InvalidRequest):
            seconds(wrong)
    with pytest.raises(InvalidRequest):
        needed_seconds(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        needed_seconds(0, above_zero=True)
    assert needed_seconds(1e-3, above_zero=True) == 1e-3


@pytest.mark.parametrize("value", [v for v in ODD if v != "5"], ids=lambda value: shown(value)[:30])
def test_odd_numbers_are_refused_by_name(value: object) -> None:
    with pytest.raises(OrderValidationError) as caught:
        to_decimal(value, "quantity")
    assert caught.value.context["field"] == "quantity"
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("wrong", ["1_000", "１０", "1e3", " 1", "1 ", "0x1", "1,5", "+-1", ".", "", "1.2.3", "9" * 65])
def test_text_is_a_number_only_as_one_types_it(wrong: str) -> None:
    assert not is_plain_number(wrong)
    with pytest.raises(OrderValidationError):
        to_decimal(wrong, "price")


@pytest.mark.parametrize(
    ("good", "number"), [("1", "1"), ("-1.50", "-1.50"), ("+.5", "0.5"), ("7.", "7"), ("007", "7")]
)
def test_plain_text_is_taken_exactly(good: str, number: str) -> None:
    assert to_decimal(good, "price") == Decimal(number)


@given(st.decimals(allow_nan=False, allow_infinity=False) | st.floats(allow_nan=False, allow_infinity=False))
def test_what_passes_can_be_computed_with(value: Decimal | float) -> None:
    try:
        number = to_decimal(value, "price")
    except OrderValidationError:
        return
    tick = Decimal("0.00000001")
    assert number - number % tick == (number / tick).to_integral_value(rounding="ROUND_DOWN") * tick
    assert len(f"{number:f}") < 60


def test_sizes_beyond_all_money_are_refused() -> None:
    for wrong in (1e15, Decimal("1e-21"), Decimal("1." + "1" * 28), -1e30, 10**400):
        with pytest.raises(OrderValidationError, match="below 1e15"):
            to_decimal(wrong, "price")
    assert to_decimal(Decimal("0E-400"), "price") == 0
    assert str(to_decimal(Decimal("0E-400"), "price")) == "0"


def test_text_is_printable_ascii_of_a_length() -> None:
    assert text(" AAPL ", "pattern", most=4) == "AAPL"
    for wrong in ("", "  ", "ABCDE", "é", "a\0", "a\n", b"a", None, 5, "x" * 10_000_000):
        with pytest.raises(InvalidRequest) as caught:
            text(wrong, "pattern", most=4)
        assert caught.value.context["field"] == "pattern"


def test_a_sentence_says_something_and_can_be_kept() -> None:
    assert sentence(" täglicher\n Abgleich ", "reason") == "täglicher Abgleich"
    for wrong in ("", " \n", None, 5, "\ud800", "a\0b", "x" * 1001, "x" * 10_000_000):
        with pytest.raises(InvalidRequest):
            sentence(wrong, "reason")


def test_moments_are_aware_and_in_our_times() -> None:
    good = datetime(2026, 1, 1, tzinfo=UTC)
    assert moment(good, "end") is good
    far_east = timezone(timedelta(hours=14))
    for wrong in (
        None,
        5,
        "2026-01-01",
        good.date(),
        good.replace(tzinfo=None),
        datetime.min.replace(tzinfo=far_east),
        datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))),
        datetime(2100, 1, 1, tzinfo=UTC),
    ):
        with pytest.raises(InvalidRequest):
            moment(wrong, "end")


def test_whole_numbers_and_flags_are_themselves() -> None:
    assert whole(5, "buffer", least=1, most=5) == 5
    for wrong in (0, 6, True, 5.0, "5", None, 10**5000):
        with pytest.raises(InvalidRequest):
            whole(wrong, "buffer", least=1, most=5)
    assert flag(True, "use_rth") is True
    others: list[object] = [1, 0, "no", None, []]
    for other in others:
        with pytest.raises(InvalidRequest):
            flag(other, "use_rth")
