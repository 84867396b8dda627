"""Commissions come from the house's schedules, for what the order has executed so far."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector import fees
from ibkr_connector.paper.exchange import charges
from ibkr_connector.paper.exchange.charges import HouseFees
from unit.paper.exchange.kit import AAPL, ES, EURUSD

LATE = datetime(2026, 3, 13, 1, tzinfo=UTC)
"""Still the 12th in New York."""


def total(instrument: Any, action: str, quantity: str, price: str) -> Decimal:
    value = Decimal(quantity) * Decimal(price) * instrument.multiplier
    return HouseFees(lambda _: Decimal(1)).order_total(
        instrument, action=action, quantity=Decimal(quantity), value=value, at=LATE
    )


def test_totals_are_those_of_the_schedule() -> None:
    expected = fees.commission(
        sec_type="STK", quantity=Decimal(1_000), price=Decimal(50), side="SELL", on=date(2026, 3, 12)
    )
    assert total(AAPL, "SELL", "1000", "50") == expected.total > 5
    assert total(AAPL, "BUY", "100", "50") == 1
    assert total(ES, "BUY", "2", "6000") > total(ES, "BUY", "1", "6000") > 0
    assert total(EURUSD, "BUY", "1000", "1.1") == 2


def test_price_date_and_multiplier_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def spy(**given: Any) -> Any:
        asked.update(given)
        return fees.commission(**given)

    monkeypatch.setattr(charges, "commission", spy)
    total(ES, "BUY", "2", "6000")
    assert (asked["price"], asked["multiplier"], asked["on"], asked["symbol"]) == (6000, 50, date(2026, 3, 12), "ES")
    assert asked["usd_rate"] is None


def test_pairs_not_quoted_in_dollars_are_charged_by_their_dollar_value() -> None:
    yen = type(EURUSD)(
        **{**{name: getattr(EURUSD, name) for name in EURUSD.__slots__}, "symbol": "USD", "currency": "JPY"}
    )
    rates = {"JPY": Decimal("0.01")}
    house = HouseFees(rates.__getitem__)
    found = house.order_total(yen, action="BUY", quantity=Decimal(10**7), value=Decimal(10**9), at=LATE)
    assert found == Decimal(200)
    assert house.currency(yen) == "USD"
