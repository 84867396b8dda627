"""Rows of `ssd`, `sld` and `spl` as facts."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.backends.facts import AccountValueSeen, PnlSeen
from ibkr_connector.backends.web.figures import AccountFigures
from ibkr_connector.models.account import PnL

NOW = datetime(2026, 11, 20, 15, 0, tzinfo=UTC)


@pytest.fixture
def figures() -> AccountFigures:
    return AccountFigures("DU1", lambda: NOW)


def seen(key: str, value: str, currency: str) -> AccountValueSeen:
    return AccountValueSeen(account="DU1", key=key, value=value, currency=currency)


def test_a_summary_row_is_an_amount_or_a_text(figures: AccountFigures) -> None:
    amount = {"key": "BuyingPower", "timestamp": 1, "severity": 0, "currency": "USD", "monetaryValue": 4000.5}
    assert list(figures.summary(amount)) == [seen("BuyingPower", "4000.50", "USD")]
    text = {"key": "AccountType", "timestamp": 1, "severity": 0, "value": "INDIVIDUAL"}
    assert list(figures.summary(text)) == [seen("AccountType", "INDIVIDUAL", "")]


def test_a_row_that_stands_says_nothing(figures: AccountFigures) -> None:
    assert list(figures.summary({"key": "BuyingPower", "timestamp": 1})) == []
    assert list(figures.summary({"timestamp": 1, "value": "x"})) == []


def test_a_ledger_row_is_told_under_twss_keys(figures: AccountFigures) -> None:
    row = {"key": "LedgerListUSD", "acctCode": "DU1", "secondKey": "USD", "cashbalance": 12.5, "exchangeRate": 1.0825}
    assert list(figures.ledger(row)) == [
        seen("CashBalance", "12.50", "USD"),
        seen("TotalCashBalance", "12.50", "USD"),
        seen("ExchangeRate", "1.0825", "USD"),
    ]


def test_a_ledger_row_of_another_account_is_not_this_ones(figures: AccountFigures) -> None:
    assert list(figures.ledger({"acctCode": "DU2", "secondKey": "USD", "cashbalance": 1})) == []
    assert list(figures.ledger({"secondKey": "USD", "cashbalance": 1})) == []


def profit(facts: list[Any]) -> PnL:
    (found,) = [fact.pnl for fact in facts if isinstance(fact, PnlSeen)]
    return found


def test_profit_puts_differences_together_and_takes_what_is_realised_from_the_ledger(figures: AccountFigures) -> None:
    list(figures.ledger({"acctCode": "DU1", "secondKey": "BASE", "realizedPnl": 7}))
    profit(list(figures.profit({"dpl": -3.5, "upl": 2})))
    assert profit(list(figures.profit({"upl": 4}))) == PnL(
        account="DU1", daily=Decimal("-3.5"), unrealized=Decimal(4), realized=Decimal(7), as_of=NOW
    )


def test_the_net_liquidation_in_a_profit_is_told_once_its_currency_is_known(figures: AccountFigures) -> None:
    assert len(list(figures.profit({"nl": 1000}))) == 1
    list(figures.summary({"key": "NetLiquidation", "currency": "EUR", "monetaryValue": 999}))
    assert seen("NetLiquidation", "1000.00", "EUR") in list(figures.profit({"nl": 1000}))


def test_what_is_realised_after_the_last_profit_row_is_told_all_the_same(figures: AccountFigures) -> None:
    """A flat account's profit rows stand still: what closing it realised is in the ledger alone."""
    list(figures.profit({"dpl": -5, "upl": 0}))
    base = {"acctCode": "DU1", "secondKey": "BASE", "realizedPnl": -5}
    assert profit(list(figures.ledger(base))).realized == Decimal(-5)
    assert not [fact for fact in figures.ledger(base) if isinstance(fact, PnlSeen)]  # nothing new


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers())
_NAMES = ["key", "value", "monetaryValue", "currency", "acctCode", "secondKey", "cashbalance", "dpl", "upl", "nl"]


@given(st.dictionaries(st.sampled_from(_NAMES), _VALUES))
def test_no_row_breaks_the_figures(row: dict[str, Any]) -> None:
    made = AccountFigures("DU1", lambda: NOW)
    for fact in (*made.summary(row), *made.ledger(row | {"acctCode": "DU1"}), *made.profit(row)):
        assert isinstance(fact, AccountValueSeen | PnlSeen)
