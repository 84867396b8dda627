"""How values are written: a wrong zero breaks a client."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.paper.tws import wire


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("254.20"), "254.2"),
        (Decimal(100), "100"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("-0.00"), "0"),
        (Decimal("0.0"), "0"),
        (1e-7, "0.0000001"),
        (0.1, "0.1"),
        (-2.0, "-2"),
    ],
)
def test_numbers_are_plain(value: Decimal | float, text: str) -> None:
    assert wire.number(value) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**12), max_value=10**12))
def test_no_value_is_lost_in_writing(value: Decimal) -> None:
    assert Decimal(wire.number(value)) == value
    assert Decimal(wire.double(value)) == value
    assert "." in wire.double(value)
    assert "E" not in wire.number(value)


def test_doubles_always_show_a_decimal_and_unset_is_empty() -> None:
    assert wire.double(Decimal(150)) == "150.0"
    assert wire.double(Decimal("1.2")) == "1.2"
    assert wire.double(None) == ""


def test_money_has_cents() -> None:
    assert wire.money(Decimal("1234.5")) == "1234.50"


@pytest.mark.parametrize(
    ("version", "us_stock", "size", "text"),
    [
        (157, True, "12345", "123"),
        (157, True, "99", "0"),
        (157, False, "12345.7", "12345"),
        (176, True, "12345", "12345"),
        (178, False, "0.5", "0.5"),
    ],
)
def test_market_sizes_by_version(version: int, us_stock: bool, size: str, text: str) -> None:
    assert wire.market_size(version, Decimal(size), us_stock=us_stock) == text


@pytest.mark.parametrize(
    ("version", "us_stock", "volume", "text"),
    [
        (157, True, 2829736.0, "28297"),
        (157, False, 10.0, "10"),
        (176, True, 2829736.0, "2829736"),
        (157, True, -1.0, "-1"),
    ],
)
def test_history_volumes_by_version(version: int, us_stock: bool, volume: float, text: str) -> None:
    assert wire.history_volume(version, volume, us_stock=us_stock) == text


def test_times_carry_a_zone_from_174_on() -> None:
    at = datetime(2026, 4, 13, 19, 27, 4, tzinfo=UTC)
    assert wire.moment(176, at) == "20260413 15:27:04 US/Eastern"
    assert wire.moment(157, at) == "20260413  15:27:04"
    assert wire.utc_moment(at) == "20260413-19:27:04"
