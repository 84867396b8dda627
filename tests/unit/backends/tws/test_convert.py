"""The library's objects as ours: exact numbers, IBKR's "not set" as None, contracts in the form in which they trade."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ibkr_connector.backends.tws import convert
from ibkr_connector.orders.drift import terms_of_told

UNSET = 1.7976931348623157e308
"""IBKR's "no value" for doubles."""
UNSET_TEXT = "1.7976931348623157E308"
NOW = datetime(2026, 4, 6, tzinfo=UTC)


def raw_contract(**changes: Any) -> SimpleNamespace:
    values = {
        "conId": 265598, "symbol": "AAPL", "secType": "STK", "lastTradeDateOrContractMonth": "", "strike": 0.0,
        "right": "0", "multiplier": "", "exchange": "NASDAQ", "primaryExchange": "", "currency": "USD",
        "localSymbol": "AAPL", "tradingClass": "NMS",
    }  # fmt: skip
    return SimpleNamespace(**(values | changes))


def raw_order(**changes: Any) -> SimpleNamespace:
    values = {
        "orderId": 5, "clientId": 3, "permId": 12345, "orderRef": "ref", "account": "DU1", "action": "BUY",
        "totalQuantity": 100.0, "orderType": "LMT", "lmtPrice": 10.1, "auxPrice": 0.0, "trailStopPrice": UNSET,
        "trailingPercent": UNSET, "tif": "DAY", "outsideRth": False, "parentId": 0, "ocaGroup": "",
        "whatIf": False, "filledQuantity": 40.0,
    }  # fmt: skip
    return SimpleNamespace(**(values | changes))


def raw_state(**changes: Any) -> SimpleNamespace:
    margins = (
        "initMarginBefore", "maintMarginBefore", "equityWithLoanBefore", "initMarginChange", "maintMarginChange",
        "equityWithLoanChange", "initMarginAfter", "maintMarginAfter", "equityWithLoanAfter",
    )  # fmt: skip
    values: dict[str, Any] = dict.fromkeys(margins, UNSET_TEXT)
    values |= {
        "status": "Submitted", "commission": UNSET, "minCommission": UNSET,
        "maxCommission": UNSET, "commissionCurrency": "", "warningText": "", "completedStatus": "",
        "completedTime": "",
    }  # fmt: skip
    return SimpleNamespace(**(values | changes))


@pytest.mark.parametrize("value", [None, "", UNSET, UNSET_TEXT, float("nan"), float("inf"), "NaN", -UNSET])
def test_what_ibkr_does_not_tell_is_none(value: Any) -> None:
    assert convert.decimal(value) is None
    assert convert.decimal_or_zero(value) == 0


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=4))
def test_a_number_survives_the_librarys_float(number: Decimal) -> None:
    assert convert.decimal(float(number)) == number
    assert convert.decimal(str(number)) == number


def test_whole_numbers_read_like_whole_numbers() -> None:
    assert str(convert.decimal(100.0)) == "100"
    assert str(convert.decimal(0.1)) == "0.1"
    assert convert.decimal(Decimal("0.25")) == Decimal("0.25")
    assert convert.decimal(Decimal("NaN")) is None
    assert convert.decimal(7) == 7


@pytest.mark.parametrize(
    ("told", "right"), [("0", ""), ("?", ""), ("", ""), ("C", "C"), ("CALL", "C"), ("P", "P"), ("put", "P")]
)
def test_the_right_of_a_contract_is_c_p_or_nothing(told: str, right: str) -> None:
    assert convert.contract(raw_contract(right=told)).right == right


def test_a_held_stock_is_routed_to_smart_and_keeps_its_listing() -> None:
    position = convert.position("DU1", raw_contract(), 15.0, 200.25, NOW)
    assert (position.contract.exchange, position.contract.primary_exchange) == ("SMART", "NASDAQ")
    assert (position.quantity, position.avg_cost, position.as_of) == (Decimal(15), Decimal("200.25"), NOW)


def test_a_held_future_keeps_what_is_told() -> None:
    future = raw_contract(secType="FUT", exchange="", symbol="ES", multiplier="50")
    assert convert.position("DU1", future, -1.0, 1.0, NOW).contract.exchange == ""


def test_the_venue_of_a_fill_is_no_listing_and_no_routing() -> None:
    execution = convert.execution(raw_contract(exchange="IEX"), raw_execution())
    assert (execution.contract.exchange, execution.contract.primary_exchange, execution.venue) == ("SMART", "", "IEX")


def raw_execution(**changes: Any) -> SimpleNamespace:
    values = {
        "execId": "0000e0d5.69dd7411.01.01", "time": datetime(2026, 4, 13, 9, tzinfo=timezone(timedelta(hours=-4))),
        "acctNumber": "DU1", "exchange": "IEX", "side": "BOT", "shares": 1.0, "price": 257.95, "permId": 389211034,
        "clientId": 94, "orderId": 1, "cumQty": 1.0, "avgPrice": 257.95, "orderRef": "r", "lastLiquidity": 2,
    }  # fmt: skip
    return SimpleNamespace(**(values | changes))


def test_an_execution_is_told_exactly_and_in_utc() -> None:
    execution = convert.execution(raw_contract(), raw_execution())
    assert execution.at == datetime(2026, 4, 13, 13, tzinfo=UTC)
    assert execution.at.utcoffset() == timedelta(0)
    assert (execution.side, execution.quantity, execution.price) == ("BUY", Decimal(1), Decimal("257.95"))
    assert (execution.exec_id, execution.base_id) == ("0000e0d5.69dd7411.01.01", "0000e0d5.69dd7411.01")
    assert (execution.order_id, execution.client_id, execution.perm_id, execution.order_ref) == (1, 94, 389211034, "r")
    assert convert.execution(raw_contract(), raw_execution(side="SLD")).side == "SELL"


def test_a_commission_that_is_not_told_yet_makes_no_fact() -> None:
    report = SimpleNamespace(execId="x", commission=UNSET, currency="", realizedPNL=UNSET)
    assert convert.commission(report) is None
    report.commission, report.currency = 1.0, "USD"
    seen = convert.commission(report)
    assert seen is not None
    assert (seen.commission, seen.realized_pnl) == (Decimal(1), None)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (raw_order(), (Decimal("10.1"), None, None, None)),
        (raw_order(orderType="MKT", lmtPrice=0.0), (None, None, None, None)),
        (raw_order(orderType="STP", lmtPrice=0.0, auxPrice=9.5), (None, Decimal("9.5"), None, None)),
        (raw_order(orderType="STP LMT", auxPrice=9.5), (Decimal("10.1"), Decimal("9.5"), None, None)),
        (
            raw_order(orderType="TRAIL", lmtPrice=0.0, auxPrice=0.5, trailStopPrice=9.0),
            (None, Decimal(9), Decimal("0.5"), None),
        ),
        (
            raw_order(orderType="TRAIL", lmtPrice=0.0, trailingPercent=1.5, trailStopPrice=9.0),
            (None, Decimal(9), None, Decimal("1.5")),
        ),
        (raw_order(orderType="REL", lmtPrice=0.0, auxPrice=0.25), (Decimal(0), Decimal("0.25"), None, None)),
    ],
)
def test_an_echo_holds_the_prices_that_mean_something_for_its_type(order: SimpleNamespace, expected: Any) -> None:
    echo = convert.order_echo(5, raw_contract(), order, raw_state())
    assert (echo.limit_price, echo.stop_price, echo.trail_amount, echo.trail_percent) == expected


def test_an_echo_names_the_order_completely() -> None:
    echo = convert.order_echo(
        5, raw_contract(exchange="SMART"), raw_order(parentId=4, ocaGroup="g"), raw_state(warningText="w")
    )
    assert (echo.order_id, echo.client_id, echo.perm_id, echo.order_ref) == (5, 3, 12345, "ref")
    assert (echo.account, echo.action, echo.quantity, echo.tif) == ("DU1", "BUY", Decimal(100), "DAY")
    assert (echo.status, echo.warning, echo.parent_id, echo.oca_group) == ("Submitted", "w", 4, "g")
    assert echo.contract.exchange == "SMART"
    assert not echo.what_if


def test_a_preview_holds_the_margins_that_were_told() -> None:
    told = convert.what_if(raw_state(initMarginChange="1234.5", equityWithLoanAfter="99000.0", commission=1.0))
    assert told.init_margin_change == Decimal("1234.5")
    assert told.equity_after == 99_000
    assert told.commission == 1
    assert told.init_margin_before is None
    assert told.max_commission is None


def test_a_completed_order_is_known_by_its_perm_id_and_reference() -> None:
    seen = convert.completed_order(
        raw_contract(), raw_order(), raw_state(status="Cancelled", completedStatus="Cancelled by Trader")
    )
    assert (seen.perm_id, seen.order_ref, seen.status) == (12345, "ref", "Cancelled")
    assert (seen.quantity, seen.filled, seen.completed_status) == (Decimal(100), Decimal(40), "Cancelled by Trader")


def test_a_completed_order_tells_its_terms_as_an_echo_does() -> None:
    raw = raw_order(orderType="STP LMT", auxPrice=9.5, tif="GTD", ocaGroup="g", outsideRth=True)
    seen, echo = (
        convert.completed_order(raw_contract(), raw, raw_state()),
        convert.order_echo(5, raw_contract(), raw, raw_state()),
    )
    assert (seen.limit_price, seen.stop_price) == (Decimal("10.1"), Decimal("9.5"))
    assert (seen.tif, seen.oca_group, seen.outside_rth) == ("GTD", "g", True)
    assert terms_of_told(seen) == terms_of_told(echo)


def test_details_are_numbers_where_numbers_are_needed() -> None:
    details = convert.contract_details(
        SimpleNamespace(
            contract=raw_contract(exchange="SMART", primaryExchange="NASDAQ"), longName="APPLE INC", marketName="NMS",
            minTick=0.01, priceMagnifier=1, sizeIncrement=0.0001, minSize=0.0001, orderTypes="LMT,MKT,",
            validExchanges="SMART,IEX", marketRuleIds="26,557", timeZoneId="US/Eastern", tradingHours="20260405:CLOSED",
            liquidHours="", contractMonth="", realExpirationDate="", underConId=0, industry="Technology",
            category="Computers", stockType="COMMON", secIdList=[SimpleNamespace(tag="ISIN", value="US0378331005")],
        )
    )  # fmt: skip
    assert details.min_tick == Decimal("0.01")
    assert details.size_increment == Decimal("0.0001")
    assert details.multiplier == 1
    assert details.order_types == ("LMT", "MKT")
    assert details.market_rule_ids == (26, 557)
    assert details.sec_ids == {"ISIN": "US0378331005"}
    assert details.contract.primary_exchange == "NASDAQ"


def test_a_search_answer_can_be_traded_as_it_is() -> None:
    stock, bond = (
        SimpleNamespace(conId=n, symbol="X", secType=kind, primaryExchange="NYSE", currency="USD")
        for n, kind in ((1, "STK"), (2, "BOND"))
    )
    found = convert.found_contracts([SimpleNamespace(contract=stock), SimpleNamespace(contract=bond)])
    assert [(c.exchange, c.primary_exchange) for c in found] == [("SMART", "NYSE"), ("NYSE", "NYSE")]


def test_profit_and_loss_that_is_not_computed_yet_is_none() -> None:
    pnl = convert.pnl("DU1", UNSET, 1.5, UNSET, NOW)
    assert (pnl.daily, pnl.unrealized, pnl.realized) == (None, Decimal("1.5"), None)


def test_a_portfolio_line_holds_its_value() -> None:
    item = convert.portfolio_item(raw_contract(exchange=""), 10.0, 101.5, 1015.0, 100.0, 15.0, 0.0, "DU1", NOW)
    assert (item.market_price, item.market_value) == (Decimal("101.5"), Decimal(1015))
    assert (item.unrealized_pnl, item.realized_pnl, item.account) == (Decimal(15), Decimal(0), "DU1")


def test_a_status_has_zero_for_what_is_not_told() -> None:
    seen = convert.order_status(5, "Submitted", 0.0, UNSET, 0.0, 9, 0, 3, "")
    assert (seen.remaining, seen.filled, seen.status) == (Decimal(0), Decimal(0), "Submitted")
