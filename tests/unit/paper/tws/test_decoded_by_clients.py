"""Our messages through the decoders of the real libraries: every field arrives where it was put, nothing is dropped."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.paper.exchange.types import (
    AccountValue,
    Commission,
    Execution,
    MarginPreview,
    OrderStatus,
    OrderTicket,
    OrderView,
    PnlView,
    PositionView,
)
from ibkr_connector.paper.instruments import Instrument, InstrumentBook
from ibkr_connector.paper.market.base import Bar
from ibkr_connector.paper.sessions import sessions_between
from ibkr_connector.paper.tws import (
    layouts_account,
    layouts_contracts,
    layouts_market,
    layouts_orders,
    layouts_system,
)
from ibkr_connector.paper.tws.framing import encode_frame
from ibkr_connector.paper.tws.layouts_market import Target

VERSIONS = {"ib_insync": 176, "ib_async": 178, "ibapi": 157}
LIBRARIES = [name for name in VERSIONS if importlib.util.find_spec(name)]
NOW = datetime(2026, 4, 15, 17, 0, tzinfo=UTC)
BOOK = InstrumentBook(lambda: date(2026, 4, 15))
APPLE = BOOK.by_con_id(265598)
ONE = Decimal(1)

Calls = list[tuple[str, tuple[Any, ...]]]


class Recorder:
    """Any callback of any library."""

    def __init__(self) -> None:
        self.calls: Calls = []
        self.ib = type("IB", (), {"TimezoneTWS": ""})()
        self.defaultTimezone = UTC

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.calls.append((name, arguments))


@pytest.fixture(scope="module", params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def decode(library: str, caplog: pytest.LogCaptureFixture) -> Callable[[list[str]], Calls]:
    """Run one message through the library's decoder; its callbacks. Fails if the library complains."""
    recorder = Recorder()
    version = VERSIONS[library]
    if library == "ibapi":
        from ibapi.decoder import Decoder

        decoder = Decoder(recorder, version)
    else:

        async def load() -> Any:
            return importlib.import_module(f"{library}.decoder")

        decoder = asyncio.run(load()).Decoder(recorder, version)

    def decode(fields: list[str]) -> Calls:
        recorder.calls = []
        payload = encode_frame(fields)[4:]
        caplog.clear()
        with caplog.at_level(logging.INFO):
            if library == "ibapi":
                decoder.interpret(tuple(payload.split(b"\0")[:-1]))
            else:
                decoder.interpret(payload.decode().split("\0")[:-1])
        complaints = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
        assert not complaints
        assert recorder.calls, "the message was dropped"
        return recorder.calls

    return decode


def item(symbol: str = "AAPL") -> Instrument:
    return next(each for each in BOOK if each.local_symbol == symbol)


# Every field an order can have beside the typed ones; lists as their wire segment, `|` standing for NUL.
RICH = {
    "origin": "1", "discretionary_amount": "0.05", "good_after_time": "20260415 10:00:00 US/Eastern",
    "fa_group": "g", "fa_method": "m", "fa_percentage": "50", "model_code": "model", "rule_80a": "A",
    "percent_offset": "0.1", "settling_firm": "firm", "short_sale_slot": "2", "designated_location": "loc",
    "exempt_code": "3", "auction_strategy": "1", "starting_price": "1.5", "stock_ref_price": "2.5", "delta": "0.5",
    "stock_range_lower": "3.5", "stock_range_upper": "4.5", "display_size": "10", "block_order": "1",
    "sweep_to_fill": "1", "min_qty": "5", "trigger_method": "4", "volatility": "0.2", "volatility_type": "2",
    "delta_neutral_order_type": "LMT", "delta_neutral_aux_price": "9.5", "delta_neutral_con_id": "77",
    "delta_neutral_settling_firm": "dnf", "delta_neutral_clearing_account": "dna",
    "delta_neutral_clearing_intent": "dni", "delta_neutral_open_close": "O", "delta_neutral_short_sale": "1",
    "delta_neutral_short_sale_slot": "1", "delta_neutral_designated_location": "dnl", "continuous_update": "1",
    "reference_price_type": "2", "combo_legs_description": "legs", "combo_legs": "1|11|2|BUY|SMART|0|0||-1",
    "leg_prices": "1|1.25", "smart_routing": "1|NonGuaranteed|1", "scale_init_level_size": "7",
    "scale_subs_level_size": "8", "scale_price_increment": "0.5", "scale_price_adjust_value": "0.6",
    "scale_price_adjust_interval": "9", "scale_profit_offset": "0.7", "scale_auto_reset": "1",
    "scale_init_position": "1", "scale_init_fill_qty": "2", "scale_random_percent": "1", "hedge_type": "F",
    "hedge_param": "hp", "opt_out_smart_routing": "1", "clearing_account": "ca", "clearing_intent": "PTA",
    "not_held": "1", "delta_neutral_contract": "1|42|0.6|101.0", "algo_strategy": "Twap",
    "algo_params": "1|strategyType|Marketable", "solicited": "1", "randomize_size": "1", "randomize_price": "1",
    "conditions": "2|1|a|1|100.5|265598|SMART|2|3|o|0|20260601 15:00:00 US/Eastern", "conditions_ignore_rth": "1",
    "conditions_cancel_order": "1", "adjusted_order_type": "STP", "trigger_price": "1.1",
    "limit_price_offset": "1.2", "adjusted_stop_price": "1.3", "adjusted_stop_limit_price": "1.4",
    "adjusted_trailing_amount": "1.5", "adjustable_trailing_unit": "1", "soft_dollar_tier_name": "tier",
    "soft_dollar_tier_value": "val", "cash_qty": "1000", "is_oms_container": "1",
    "discretionary_up_to_limit_price": "1", "use_price_mgmt_algo": "1", "duration": "60", "post_to_ats": "3",
    "auto_cancel_parent": "1", "min_trade_qty": "4", "min_compete_size": "5",
    "compete_against_best_offset": "0.02", "mid_offset_at_whole": "0.03", "mid_offset_at_half": "0.04",
}  # fmt: skip


def view(order_type: str = "LMT", **extras: str) -> OrderView:
    ticket = OrderTicket(
        client_id=3,
        order_id=17,
        instrument=item(),
        account="DU1",
        action="SELL",
        quantity=Decimal(100),
        order_type=order_type,
        limit_price=Decimal("99.5"),
        aux_price=Decimal("98.25"),
        trailing_percent=Decimal("1.5"),
        trail_stop_price=Decimal("97.75"),
        tif="GTD",
        good_till="20260601 15:00:00 US/Eastern",
        outside_rth=True,
        oca_group="oca",
        oca_type=2,
        parent_id=16,
        order_ref="my-ref",
        all_or_none=True,
        hidden=True,
        extras={name: text.replace("|", "\0") for name, text in extras.items()},
    )
    return OrderView(
        ticket=ticket,
        perm_id=123456789,
        status=OrderStatus.SUBMITTED,
        filled=Decimal(40),
        remaining=Decimal(60),
        avg_fill_price=Decimal("99.51"),
        last_fill_price=Decimal("99.52"),
        why_held="trigger",
        completed_at=NOW,
        completed_status="Filled Size: 40",
        warning_text="careful",
    )


EXPECTED = {
    "action": "SELL", "totalQuantity": 100, "lmtPrice": 99.5, "auxPrice": 98.25, "tif": "GTD", "ocaGroup": "oca",
    "account": "DU1", "origin": 1, "orderRef": "my-ref", "permId": 123456789, "outsideRth": True, "hidden": True,
    "discretionaryAmt": 0.05, "goodAfterTime": "20260415 10:00:00 US/Eastern", "faGroup": "g", "faMethod": "m",
    "faPercentage": "50", "modelCode": "model", "goodTillDate": "20260601 15:00:00 US/Eastern", "rule80A": "A",
    "percentOffset": 0.1, "settlingFirm": "firm", "shortSaleSlot": 2, "designatedLocation": "loc", "exemptCode": 3,
    "startingPrice": 1.5, "stockRefPrice": 2.5, "delta": 0.5, "stockRangeLower": 3.5, "stockRangeUpper": 4.5,
    "displaySize": 10, "sweepToFill": True, "allOrNone": True, "minQty": 5, "ocaType": 2, "triggerMethod": 4,
    "volatility": 0.2, "volatilityType": 2, "deltaNeutralOrderType": "LMT", "deltaNeutralAuxPrice": 9.5,
    "deltaNeutralConId": 77, "deltaNeutralShortSale": True, "deltaNeutralShortSaleSlot": 1,
    "deltaNeutralDesignatedLocation": "dnl", "continuousUpdate": True, "referencePriceType": 2,
    "trailStopPrice": 97.75, "trailingPercent": 1.5, "scaleInitLevelSize": 7, "scaleSubsLevelSize": 8,
    "scalePriceIncrement": 0.5, "scalePriceAdjustValue": 0.6, "scalePriceAdjustInterval": 9,
    "scaleProfitOffset": 0.7, "scaleAutoReset": True, "scaleInitPosition": 1, "scaleInitFillQty": 2,
    "scaleRandomPercent": True, "hedgeType": "F", "hedgeParam": "hp", "clearingAccount": "ca",
    "clearingIntent": "PTA", "notHeld": True, "algoStrategy": "Twap", "solicited": True, "randomizeSize": True,
    "randomizePrice": True, "conditionsIgnoreRth": True, "conditionsCancelOrder": True, "lmtPriceOffset": 1.2,
    "cashQty": 1000, "isOmsContainer": True,
}  # fmt: skip
ONLY_OPEN = {
    "orderId": 17, "clientId": 3, "auctionStrategy": 1, "blockOrder": True, "parentId": 16,
    "deltaNeutralSettlingFirm": "dnf", "deltaNeutralClearingAccount": "dna", "deltaNeutralClearingIntent": "dni",
    "deltaNeutralOpenClose": "O", "optOutSmartRouting": True, "adjustedOrderType": "STP", "triggerPrice": 1.1,
    "adjustedStopPrice": 1.3, "adjustedStopLimitPrice": 1.4, "adjustedTrailingAmount": 1.5,
    "adjustableTrailingUnit": 1, "discretionaryUpToLimitPrice": True, "usePriceMgmtAlgo": True,
}  # fmt: skip
SINCE_170 = {
    "minTradeQty": 4, "minCompeteSize": 5, "competeAgainstBestOffset": 0.02, "midOffsetAtWhole": 0.03,
    "midOffsetAtHalf": 0.04,
}  # fmt: skip


def test_every_field_of_an_order_comes_back_in_open_order(library: str, decode: Callable[[list[str]], Calls]) -> None:
    version = VERSIONS[library]
    [(name, (order_id, contract, order, state))] = decode(layouts_orders.open_order(version, view(**RICH)))
    assert (name, order_id) == ("openOrder", 17)
    expected = EXPECTED | ONLY_OPEN
    if version >= 170:
        expected |= SINCE_170 | {"duration": 60, "postToAts": 3, "autoCancelParent": True}
    assert {field: getattr(order, field) for field in expected} == expected
    assert (contract.conId, contract.symbol, contract.exchange, contract.tradingClass) == (
        265598,
        "AAPL",
        "SMART",
        "NMS",
    )
    assert [(leg.conId, leg.ratio, leg.action, leg.exchange) for leg in contract.comboLegs] == [(11, 2, "BUY", "SMART")]
    assert [leg.price for leg in order.orderComboLegs] == [1.25]
    assert [(tag.tag, tag.value) for tag in order.algoParams] == [("strategyType", "Marketable")]
    assert [(tag.tag, tag.value) for tag in order.smartComboRoutingParams] == [("NonGuaranteed", "1")]
    assert (contract.deltaNeutralContract.conId, contract.deltaNeutralContract.price) == (42, 101.0)
    assert [type(condition).__name__ for condition in order.conditions] == ["PriceCondition", "TimeCondition"]
    assert (order.conditions[0].price, order.conditions[0].triggerMethod) == (100.5, 2)
    assert (order.softDollarTier.name, order.softDollarTier.val) == ("tier", "val")
    assert (state.status, state.warningText) == ("Submitted", "careful")


def test_every_field_of_an_order_comes_back_in_completed_order(
    library: str, decode: Callable[[list[str]], Calls]
) -> None:
    version = VERSIONS[library]
    [(name, (contract, order, state))] = decode(layouts_orders.completed_order(version, view(**RICH)))
    assert name == "completedOrder"
    expected = EXPECTED | {"filledQuantity": 40, "autoCancelParent": True}
    if version >= 170:
        expected |= SINCE_170
    assert {field: getattr(order, field) for field in expected} == expected
    assert contract.conId == 265598
    assert (state.status, state.completedStatus) == ("Submitted", "Filled Size: 40")
    assert state.completedTime == "20260415 13:00:00 US/Eastern"


def test_an_order_without_frills_comes_back(library: str, decode: Callable[[list[str]], Calls]) -> None:
    [(_, (_, _, order, state))] = decode(layouts_orders.open_order(VERSIONS[library], view("MKT")))
    assert (order.orderType, order.deltaNeutralOrderType, order.ocaType) == ("MKT", "None", 2)
    assert (order.rule80A, order.clearingIntent, order.displaySize) == ("0", "IB", 2147483647)
    assert state.status == "Submitted"


def test_a_pegged_order_brings_its_five_fields(library: str, decode: Callable[[list[str]], Calls]) -> None:
    shown = view("PEG BENCH", reference_contract_id="8", pegged_change_amount="0.1", reference_exchange_id="ISLAND")
    for message, place in (
        (layouts_orders.open_order(VERSIONS[library], shown), 2),
        (layouts_orders.completed_order(VERSIONS[library], shown), 1),
    ):
        [(_, arguments)] = decode(message)
        assert (arguments[place].referenceContractId, arguments[place].referenceExchangeId) == (8, "ISLAND")


def test_a_preview_has_its_margins(library: str, decode: Callable[[list[str]], Calls]) -> None:
    amounts = [Decimal(index) for index in range(1, 10)]
    preview = MarginPreview(
        init_before=amounts[0],
        init_change=amounts[1],
        init_after=amounts[2],
        maint_before=amounts[3],
        maint_change=amounts[4],
        maint_after=amounts[5],
        equity_before=amounts[6],
        equity_change=amounts[7],
        equity_after=amounts[8],
        commission=Decimal("1.05"),
        min_commission=None,
        max_commission=None,
        commission_currency="USD",
    )
    [(_, (_, _, order, state))] = decode(layouts_orders.open_order(VERSIONS[library], view(), preview))
    assert order.whatIf is True
    assert (state.initMarginBefore, state.initMarginChange, state.initMarginAfter) == ("1.00", "2.00", "3.00")
    assert (state.maintMarginBefore, state.maintMarginChange, state.maintMarginAfter) == ("4.00", "5.00", "6.00")
    assert (state.equityWithLoanBefore, state.equityWithLoanChange, state.equityWithLoanAfter) == (
        "7.00",
        "8.00",
        "9.00",
    )
    assert (state.commission, state.commissionCurrency) == (1.05, "USD")


def test_status_execution_and_commission(library: str, decode: Callable[[list[str]], Calls]) -> None:
    version = VERSIONS[library]
    [(name, arguments)] = decode(layouts_orders.order_status(view()))
    assert name == "orderStatus"
    assert arguments == (17, "Submitted", 40, 60, 99.51, 123456789, 16, 99.52, 3, "trigger", 0)
    execution = Execution(
        exec_id="0001.02.01.01",
        at=NOW,
        client_id=3,
        order_id=17,
        perm_id=5,
        account="DU1",
        instrument=item(),
        side="SLD",
        shares=Decimal(40),
        price=Decimal("99.5"),
        cum_qty=Decimal(40),
        avg_price=Decimal("99.5"),
        venue="IEX",
        order_ref="my-ref",
        liquidity=1,
    )
    [(_, (request_id, contract, shown))] = decode(layouts_orders.exec_details(version, execution, 4))
    assert (request_id, contract.exchange, shown.orderRef, shown.lastLiquidity) == (4, "IEX", "my-ref", 1)
    assert (shown.side, shown.shares, shown.price, shown.cumQty, shown.permId) == ("SLD", 40, 99.5, 40, 5)
    report = Commission(exec_id="0001.02.01.01", amount=ONE, currency="USD", realized_pnl=Decimal("-2.49"))
    [(_, (shown,))] = decode(layouts_orders.commission_report(report))
    assert (shown.execId, shown.commission, shown.currency, shown.realizedPNL) == ("0001.02.01.01", 1, "USD", -2.49)


def test_account_messages(library: str, decode: Callable[[list[str]], Calls]) -> None:
    position = PositionView(
        account="DU1",
        instrument=item(),
        quantity=Decimal(-100),
        avg_cost=Decimal("101.25"),
        market_price=Decimal("100.5"),
        market_value=Decimal(-10050),
        unrealized_pnl=Decimal(75),
        realized_pnl=Decimal(5),
        daily_pnl=Decimal("12.5"),
    )
    row = AccountValue(key="NetLiquidation", value="1000.00", currency="USD")
    assert decode(layouts_account.account_value(row, "DU1"))[0] == (
        "updateAccountValue",
        ("NetLiquidation", "1000.00", "USD", "DU1"),
    )
    [(_, arguments)] = decode(layouts_account.portfolio_value(position))
    assert arguments[0].conId == 265598
    assert arguments[1:] == (-100, 100.5, -10050, 101.25, 75, 5, "DU1")
    [(_, arguments)] = decode(layouts_account.position(position))
    assert (arguments[0], arguments[2], arguments[3]) == ("DU1", -100, 101.25)
    [(_, arguments)] = decode(layouts_account.position_multi(8, position, "model"))
    assert (arguments[0], arguments[1], arguments[2]) == (8, "DU1", "model")
    assert decode(layouts_account.account_time(NOW))[0] == ("updateAccountTime", ("13:00",))
    assert decode(layouts_account.account_download_end("DU1"))[0] == ("accountDownloadEnd", ("DU1",))
    assert decode(layouts_account.account_update_multi(8, row, "DU1", ""))[0][1] == (
        8, "DU1", "", "NetLiquidation", "1000.00", "USD",
    )  # fmt: skip
    assert decode(layouts_account.account_summary(8, "DU1", row))[0][1] == (
        8,
        "DU1",
        "NetLiquidation",
        "1000.00",
        "USD",
    )
    pnl = PnlView(account="DU1", daily=Decimal("1.5"), unrealized=Decimal(2), realized=Decimal(-3))
    assert decode(layouts_account.pnl(8, pnl))[0] == ("pnl", (8, 1.5, 2, -3))
    assert decode(layouts_account.pnl_single(VERSIONS[library], 8, position))[0] == (
        "pnlSingle",
        (8, -100, 12.5, 75, 5, -10050),
    )
    for message in (
        layouts_account.position_end(),
        layouts_account.position_multi_end(8),
        layouts_account.account_update_multi_end(8),
        layouts_account.account_summary_end(8),
    ):
        assert decode(message)


@pytest.mark.parametrize("symbol", ["AAPL", "SPY", "EUR.USD", "ESM6"])
def test_contract_details(library: str, decode: Callable[[list[str]], Calls], symbol: str) -> None:
    version, instrument = VERSIONS[library], item(symbol)
    [(_, (request_id, details))] = decode(
        layouts_contracts.contract_details(version, 5, instrument, instrument.exchange, NOW)
    )
    contract = details.contract
    assert (request_id, contract.conId, contract.symbol) == (5, instrument.con_id, instrument.symbol)
    assert (contract.secType, contract.currency, contract.exchange) == (
        instrument.sec_type,
        instrument.currency,
        instrument.exchange,
    )
    assert contract.lastTradeDateOrContractMonth == instrument.expiry
    assert (details.longName, details.minTick) == (instrument.long_name, float(instrument.min_tick))
    assert (details.validExchanges, details.marketRuleIds) == (instrument.valid_exchanges, instrument.market_rule_ids)
    assert (details.contractMonth, details.stockType, details.timeZoneId) == (
        instrument.contract_month,
        instrument.stock_type,
        instrument.tz_id,
    )
    assert contract.multiplier == instrument.multiplier_text
    assert "-20260415:" in details.tradingHours
    if version >= 164:
        assert float(details.sizeIncrement) == float(instrument.size_increment)
    if instrument.isin:
        assert [(tag.tag, tag.value) for tag in details.secIdList] == [("ISIN", instrument.isin)]


def test_symbols_and_rules(library: str, decode: Callable[[list[str]], Calls]) -> None:
    [(_, (request_id, found))] = decode(layouts_contracts.symbol_samples(VERSIONS[library], 6, [item(), item("SPY")]))
    assert (request_id, [each.contract.symbol for each in found]) == (6, ["AAPL", "SPY"])
    assert "OPT" in found[0].derivativeSecTypes
    [(_, (rule, steps))] = decode(layouts_system.market_rule(26, [(Decimal(0), Decimal("0.01"))]))
    assert (rule, [(step.lowEdge, step.increment) for step in steps]) == (26, [(0, 0.01)])
    assert decode(layouts_contracts.option_parameters_end(6))
    assert decode(layouts_system.smart_components(6, [(0, "AMEX", "A")]))


def test_bars(library: str, decode: Callable[[list[str]], Calls]) -> None:
    version = VERSIONS[library]
    bar = Bar(
        start=NOW,
        session=date(2026, 4, 15),
        open=1.5,
        high=4.25,
        low=1.25,
        close=2.5,
        volume=1200.0,
        wap=2.345,
        count=7,
    )
    volume = 12 if version < 175 else 1200
    calls = decode(
        layouts_market.historical_data(version, 9, "s", "e", [bar, bar], intraday=True, format_date=2, item=item())
    )
    assert [name for name, _ in calls] == ["historicalData", "historicalData", "historicalDataEnd"]
    shown = calls[0][1][1]
    assert (shown.date, shown.open, shown.high, shown.low, shown.close) == (
        str(int(NOW.timestamp())),
        1.5,
        4.25,
        1.25,
        2.5,
    )
    assert (shown.volume, shown.average, shown.barCount) == (volume, 2.345, 7)
    assert calls[2][1] == (9, "s", "e")
    [(_, (_, shown))] = decode(
        layouts_market.historical_data_update(version, 9, bar, intraday=False, format_date=1, item=item())
    )
    assert (shown.date, shown.open, shown.high, shown.low, shown.close) == ("20260415", 1.5, 4.25, 1.25, 2.5)
    assert (shown.volume, shown.average, shown.barCount) == (volume, 2.345, 7)
    [(_, arguments)] = decode(layouts_market.real_time_bar(version, 9, bar, item()))
    assert arguments == (9, int(NOW.timestamp()), 1.5, 4.25, 1.25, 2.5, volume, 2.345, 7)
    assert decode(layouts_market.head_timestamp(9, NOW, 1))[0] == ("headTimestamp", (9, "20260415-17:00:00"))


def test_schedules(library: str, decode: Callable[[list[str]], Calls]) -> None:
    if library == "ibapi":
        pytest.skip("ibapi 9.81 knows no schedules")
    days = list(sessions_between(item(), datetime(2026, 4, 13, tzinfo=UTC), datetime(2026, 4, 15, tzinfo=UTC)))
    [(_, arguments)] = decode(layouts_market.historical_schedule(9, days, use_rth=True, item=item()))
    assert arguments[3] == "US/Eastern"
    assert [session.refDate for session in arguments[4]] == [f"{day.day:%Y%m%d}" for day in days]


def test_ticks_and_system_messages(library: str, decode: Callable[[list[str]], Calls]) -> None:
    version = VERSIONS[library]
    target = Target(version, 9, item())
    calls = decode(layouts_market.tick_price(target, 1, Decimal("254.19"), Decimal(300), 1))
    if library == "ibapi":
        assert calls[0][1][:3] == (9, 1, 254.19)
        assert calls[1] == ("tickSize", (9, 0, 3))
    else:
        assert calls == [("priceSizeTick", (9, 1, 254.19, 300))]
    assert decode(layouts_market.no_price(target, 1))
    assert decode(layouts_market.tick_size(target, 8, Decimal(1000)))[0][1] == (9, 8, 10 if version < 159 else 1000)
    assert decode(layouts_market.tick_generic(9, 49, Decimal(0)))[0] == ("tickGeneric", (9, 49, 0))
    value = layouts_market.rt_volume(
        target, Decimal("1.5"), Decimal(100), NOW, Decimal(1000), Decimal("1.4"), single=True
    )
    assert value.split(";") == [
        "1.5",
        "1" if version < 159 else "100",
        str(int(NOW.timestamp() * 1000)),
        "10" if version < 159 else "1000",
        "1.4",
        "true",
    ]
    assert decode(layouts_market.tick_string(9, 48, value))[0] == ("tickString", (9, 48, value))
    assert decode(layouts_market.tick_request_parameters(9, Decimal("0.01"), "9c0001"))[0][1] == (9, 0.01, "9c0001", 3)
    assert decode(layouts_market.market_data_type(9, 3))[0] == ("marketDataType", (9, 3))
    assert decode(layouts_market.snapshot_end(9))[0] == ("tickSnapshotEnd", (9,))
    assert decode(layouts_system.error(version, 5, 200, "No security"))[0][1][:3] == (5, 200, "No security")
    assert decode(layouts_system.current_time(NOW))[0] == ("currentTime", (int(NOW.timestamp()),))
    assert decode(layouts_system.managed_accounts(["DU1", "DU2"]))[0] == ("managedAccounts", ("DU1,DU2",))
    assert decode(layouts_system.next_valid_id(7))[0] == ("nextValidId", (7,))
    for message in (
        layouts_system.news_providers([("BRFG", "Briefing")]),
        layouts_system.soft_dollar_tiers(9),
        layouts_system.family_codes(["DU1"]),
        layouts_system.depth_exchanges(),
        layouts_system.scanner_parameters(),
        layouts_system.display_group_list(9),
        layouts_system.display_group_updated(9, "265598@SMART"),
        layouts_contracts.contract_details_end(9),
    ):
        assert decode(message)
    if version >= 176:
        assert decode(layouts_system.user_info(9))[0] == ("userInfo", (9, ""))
