"""Fees: IBKR's published examples, the dated regulatory rates, and what must hold for any trade."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from importlib import resources

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.fees import Schedule, Side, commission

BEFORE_2026_FEES = date(2025, 12, 1)
"""A day without an SEC fee."""


def stock(
    quantity: int | str, price: str, side: Side = "BUY", on: date = BEFORE_2026_FEES, schedule: Schedule = "fixed"
) -> Decimal:
    return commission(
        sec_type="STK",
        quantity=Decimal(quantity),
        price=Decimal(price),
        side=side,
        on=on,
        schedule=schedule,
    ).total


@pytest.mark.parametrize(
    ("quantity", "price", "expected"),
    [
        (100, "25.00", "1.00"),  # the minimum
        (1_000, "25.00", "5.00"),
        (1_000, "0.25", "2.50"),  # one per cent of the value
        (10, "0.20", "0.02"),  # the maximum wins over the minimum
    ],
)
def test_fixed_schedule_matches_the_published_examples(quantity: int, price: str, expected: str) -> None:
    assert stock(quantity, price) == Decimal(expected)


@pytest.mark.parametrize(("quantity", "expected"), [(10, "0.35"), (1_000, "3.70")])
def test_tiered_schedule_has_its_own_minimum_and_passes_clearing_on(quantity: int, expected: str) -> None:
    assert stock(quantity, "100", schedule="tiered") == Decimal(expected)


@pytest.mark.parametrize(
    ("on", "per_million"),
    [
        (date(2013, 10, 7), "17.4"),
        (date(2024, 5, 21), "8"),
        (date(2024, 5, 22), "27.8"),
        (date(2025, 5, 13), "27.8"),
        (date(2025, 5, 14), "0"),
        (date(2026, 4, 3), "0"),
        (date(2026, 4, 4), "20.6"),
    ],
)
def test_sales_carry_the_sec_rate_of_their_own_day(on: date, per_million: str) -> None:
    fees = commission(sec_type="STK", quantity=Decimal(10_000), price=Decimal(100), side="SELL", on=on)
    assert fees.parts["sec"] == Decimal(per_million)


def test_finra_fee_is_capped_per_trade() -> None:
    fees = commission(sec_type="STK", quantity=Decimal(1_000_000), price=Decimal(5), side="SELL", on=date(2026, 2, 2))
    assert fees.parts["finra"] == Decimal("9.79")


def test_buying_carries_no_regulatory_fee() -> None:
    fees = commission(sec_type="STK", quantity=Decimal(1_000), price=Decimal(100), side="BUY", on=date(2024, 6, 3))
    assert set(fees.parts) == {"commission"}


@pytest.mark.parametrize(
    ("symbol", "quantity", "expected"), [("ES", 1, "2.25"), ("ES", 3, "6.75"), ("MES", 1, "0.62"), ("", 2, "4.50")]
)
def test_futures_cost_commission_exchange_and_regulatory_fee(symbol: str, quantity: int, expected: str) -> None:
    fees = commission(
        sec_type="FUT",
        quantity=Decimal(quantity),
        price=Decimal(7000),
        multiplier=Decimal(50),
        side="SELL",
        on=date(2026, 4, 15),
        symbol=symbol,
    )
    assert fees.total == Decimal(expected)


@pytest.mark.parametrize(
    ("quantity", "premium", "expected"),
    [(1, "2.50", "1.00"), (10, "2.50", "6.50"), (10, "0.07", "5.00"), (10, "0.04", "2.50")],
)
def test_options_cost_by_premium_with_a_minimum(quantity: int, premium: str, expected: str) -> None:
    fees = commission(
        sec_type="OPT",
        quantity=Decimal(quantity),
        price=Decimal(premium),
        multiplier=Decimal(100),
        side="BUY",
        on=date(2026, 4, 15),
    )
    assert fees.total == Decimal(expected)


def test_currency_pairs_cost_a_fifth_of_a_basis_point_in_dollars() -> None:
    large = commission(
        sec_type="CASH", quantity=Decimal(1_000_000), price=Decimal("1.16"), side="BUY", on=BEFORE_2026_FEES
    )
    small = commission(
        sec_type="CASH", quantity=Decimal(20_000), price=Decimal("1.16"), side="BUY", on=BEFORE_2026_FEES
    )
    yen = commission(
        sec_type="CASH",
        quantity=Decimal(1_000_000),
        price=Decimal(160),
        side="BUY",
        on=BEFORE_2026_FEES,
        currency="JPY",
        usd_rate=Decimal("0.00625"),
    )
    assert (large.total, small.total, yen.total) == (Decimal("23.20"), Decimal("2.00"), Decimal("20.00"))


def test_a_pair_quoted_in_yen_needs_the_dollar_rate_instead_of_charging_yen_as_dollars() -> None:
    with pytest.raises(ValueError, match="usd_rate is needed"):
        commission(
            sec_type="CASH",
            quantity=Decimal(1_000_000),
            price=Decimal(160),
            side="BUY",
            on=BEFORE_2026_FEES,
            currency="JPY",
        )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"quantity": Decimal(0)}, "quantity"),
        ({"quantity": Decimal("NaN")}, "quantity"),
        ({"side": "HOLD"}, "side"),
        ({"schedule": "free"}, "schedule"),
        ({"currency": "EUR"}, "EUR"),
        ({"sec_type": "BOND"}, "BOND"),
    ],
)
def test_what_has_no_rate_is_refused_with_its_name(change: dict[str, object], complaint: str) -> None:
    arguments: dict[str, object] = {
        "sec_type": "STK",
        "quantity": Decimal(1),
        "price": Decimal(1),
        "side": "BUY",
        "on": BEFORE_2026_FEES,
    }
    with pytest.raises(ValueError, match=complaint):
        commission(**(arguments | change))  # type: ignore[arg-type]


def test_total_is_rounded_half_up_while_parts_stay_exact() -> None:
    fees = commission(sec_type="STK", quantity=Decimal(1_001), price=Decimal(50), side="BUY", on=BEFORE_2026_FEES)
    assert fees.parts["commission"] == Decimal("5.005")
    assert fees.total == Decimal("5.01")
    assert fees.to_dict() == {"total": Decimal("5.01"), "parts": {"commission": Decimal("5.005")}}


def test_every_dated_list_is_in_order_of_date() -> None:
    rates = json.loads((resources.files("ibkr_connector") / "fees_data" / "us.json").read_text(encoding="utf-8"))
    lists = [
        *rates["stock"].values(),
        *rates["future"].values(),
        rates["option"],
        rates["forex"],
        rates["sec_section_31"],
        rates["finra_taf"],
    ]
    for entries in lists:
        dates = [date.fromisoformat(entry["from"]) for entry in entries]
        assert dates == sorted(set(dates))


@given(
    quantity=st.integers(1, 1_000_000),
    cents=st.integers(1, 500_000),
    side=st.sampled_from(["BUY", "SELL"]),
    schedule=st.sampled_from(["fixed", "tiered"]),
    days=st.integers(0, 9_000),
)
def test_a_stock_trade_never_costs_more_than_its_cap_plus_pass_through_fees(
    quantity: int, cents: int, side: Side, schedule: Schedule, days: int
) -> None:
    price = Decimal(cents) / 100
    fees = commission(
        sec_type="STK",
        quantity=Decimal(quantity),
        price=price,
        side=side,
        on=date(2005, 1, 1) + timedelta(days=days),
        schedule=schedule,
    )
    assert 0 < fees.parts["commission"] <= quantity * price / 100
    assert abs(fees.total - sum(fees.parts.values())) <= Decimal("0.005")
    assert fees.total.as_tuple().exponent == -2
    assert ("sec" in fees.parts) == (side == "SELL")
