"""The Web API's mixed types, as recorded, and worse."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.backends.web import convert, details
from ibkr_connector.errors import ProtocolError
from ibkr_connector.models.contract import Contract

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def recorded(shared: Path, name: str) -> Any:
    return json.loads((shared / "fixtures" / "web_api" / name).read_text())["Response"]["Body"]


@pytest.mark.parametrize(
    ("given", "number"),
    [
        (1, "1"),
        ("1,234.50", "1234.50"),
        (1e-05, "0.00001"),
        ("-3", "-3"),
        (0.1, "0.1"),
        (2.0, "2"),
        ("+7", "7"),
        (Decimal("1.5"), "1.5"),
    ],
)
def test_a_number_is_one_in_any_of_its_forms(given: Any, number: str) -> None:
    assert convert.decimal(given) == Decimal(number)


@pytest.mark.parametrize("given", [None, "", True, "abc", float("nan"), float("inf"), [], {}, "1e9999", "9" * 80, "."])
def test_what_is_no_number_is_none(given: Any) -> None:
    assert convert.decimal(given) is None


@given(JSON)
def test_no_json_whatever_breaks_the_converters(body: Any) -> None:
    convert.decimal(body)
    convert.integer(body)
    convert.text(body)
    convert.moment(body)
    for read in (
        lambda: convert.rows(body, "x"),
        lambda: convert.summary_values("DU1", body),
        lambda: convert.ledger_values("DU1", body),
        lambda: details.contract_details(Contract(con_id=1), body, {}, body),
    ):
        with contextlib.suppress(ProtocolError):
            read()
    details.session_texts(body)
    if isinstance(body, dict):
        convert.held_contract(body)


@pytest.mark.shared
def test_a_recorded_summary_has_tws_names(shared_dir: Path) -> None:
    rows = convert.summary_values("DU1", recorded(shared_dir, "Portfolio/GET-portfolio-summary.json"))
    told = {row.key: row for row in rows}
    assert {"NetLiquidation", "BuyingPower", "TotalCashValue", "InitMarginReq"} <= told.keys()
    assert Decimal(told["NetLiquidation"].value) > 0
    assert told["NetLiquidation"].currency == "USD"


@pytest.mark.shared
def test_a_recorded_ledger_has_tws_names(shared_dir: Path) -> None:
    rows = convert.ledger_values("DU1", recorded(shared_dir, "Portfolio/GET-portfolio-ledger.json"))
    assert {"CashBalance", "ExchangeRate", "UnrealizedPnL"} <= {row.key for row in rows}
    assert {"USD", "BASE"} <= {row.currency for row in rows}


@pytest.mark.shared
def test_recorded_contracts_are_read(shared_dir: Path) -> None:
    info = recorded(shared_dir, "Contracts/GET-contract-info-and-rules.json")
    hours = recorded(shared_dir, "Contracts/GET-trading-schedule.json")
    row = recorded(shared_dir, "Contracts/GET-trsrv-secdef.json")["secdef"][0]
    held = convert.held_contract(row)
    assert held.con_id > 0
    assert held.sec_type
    made = details.contract_details(Contract.stock("AAPL"), info, {**row, "listingExchange": "NASDAQ"}, hours)
    assert made is not None
    assert (made.contract.symbol, made.contract.exchange, made.min_tick) == ("AAPL", "SMART", Decimal("0.01"))
    assert made.contract.primary_exchange == "NASDAQ"
    assert made.size_increment == 1
    assert made.order_types[:2] == ("LMT", "MIDPX")
    assert made.trading_hours == (
        "20260402:0932-20260402:2000;20260403:CLOSED;20260404:CLOSED;20260405:CLOSED;20260406:0932-20260406:2000"
    ) or made.trading_hours.startswith("20260402:")
    assert "20260403:CLOSED" in made.liquid_hours


def test_an_exchange_that_does_not_trade_it_is_not_what_was_asked_for() -> None:
    info = {"symbol": "AAPL", "con_id": 1, "valid_exchanges": "SMART,NYSE", "currency": "USD"}
    assert details.contract_details(Contract.stock("AAPL", exchange="LSE"), info, {}, {}) is None
    assert details.contract_details(Contract.stock("AAPL", exchange="NYSE"), info, {}, {}) is not None


def test_hours_without_a_zone_we_know_are_none() -> None:
    assert details.session_texts({"exchange_time_zone": "Nowhere/Else", "schedules": {}}) == ("", "", "")
