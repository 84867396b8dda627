"""Requests are read strictly: a field too few, too many or of the wrong type is noticed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.tws.fields import Cursor, FieldError, is_unset

MAX = "1.7976931348623157e+308"


def test_fields_are_read_in_order_and_the_end_is_insisted_on() -> None:
    cursor = Cursor(["9", "8", "AAPL", "1", ""], 1)
    assert cursor.integer("version") == 8
    assert cursor.text("symbol") == "AAPL"
    assert cursor.flag("snapshot") is True
    with pytest.raises(FieldError, match="1 fields follow"):
        cursor.end()
    assert cursor.text("options") == ""
    cursor.end()


def test_a_missing_field_is_named() -> None:
    with pytest.raises(FieldError, match="before secType"):
        Cursor([]).text("secType")


@pytest.mark.parametrize("text", ["", "1.5", "x", "1e3", " 1", "1_0", "٣", "9" * 30])
def test_only_integers_are_integers(text: str) -> None:
    with pytest.raises(FieldError, match="conId"):
        Cursor([text]).integer("conId")


def test_an_empty_integer_takes_its_default() -> None:
    assert Cursor([""]).integer("conId", empty=0) == 0


@pytest.mark.parametrize("text", [str(2**31), str(-(2**31) - 1)])
def test_request_ids_fit_32_bits(text: str) -> None:
    with pytest.raises(FieldError, match="32 bits"):
        Cursor([text]).request_id()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("0.0", Decimal(0)),
        ("254.20", Decimal("254.20")),
        ("1e-05", Decimal("0.00001")),
        (MAX, None),
        ("1.7976931348623157E308", None),
        ("-1", Decimal(-1)),
        ("Infinite", Decimal("Infinity")),
    ],
)
def test_numbers_and_their_unset_markers(text: str, value: Decimal | None) -> None:
    assert Cursor([text]).decimal("price") == value


@pytest.mark.parametrize("text", ["abc", "NaN", "inf", "1,5", "0x10"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(FieldError, match="price"):
        Cursor([text]).decimal("price")


@pytest.mark.parametrize("text", ["2", "yes", "-1", "True"])
def test_booleans_are_one_or_zero(text: str) -> None:
    with pytest.raises(FieldError, match="transmit"):
        Cursor([text]).flag("transmit")


@given(st.integers(-5, 10**6), st.integers(0, 20), st.integers(1, 8))
def test_a_count_never_promises_more_than_there_is(count: int, left: int, width: int) -> None:
    cursor = Cursor([str(count), *["x"] * left])
    if 0 <= count * width <= left:
        assert cursor.count("legs", width) == count
    else:
        with pytest.raises(FieldError, match="legs"):
            cursor.count("legs", width)


@pytest.mark.parametrize("text", ["", "2147483647", MAX])
def test_unset_markers_are_known(text: str) -> None:
    assert is_unset(text)


@pytest.mark.parametrize("text", ["0", "2147483646", "Infinite", "abc", "1e10", "None"])
def test_values_are_not_taken_for_unset(text: str) -> None:
    assert not is_unset(text)
