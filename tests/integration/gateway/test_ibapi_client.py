"""IBKR's own client library (ibapi 9.81, server version 157, threads) against the gateway."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ibkr_connector.paper import PaperGateway

from .conftest import until

pytestmark = pytest.mark.protocol

ibapi = {
    name: pytest.importorskip(f"ibapi.{name}", reason="needs IBKR's original client library")
    for name in ("client", "contract", "execution", "order", "order_condition", "wrapper")
}
EClient: Any = ibapi["client"].EClient
EWrapper: Any = ibapi["wrapper"].EWrapper
ComboLeg, Contract = ibapi["contract"].ComboLeg, ibapi["contract"].Contract
Order, PriceCondition = ibapi["order"].Order, ibapi["order_condition"].PriceCondition
ExecutionFilter = ibapi["execution"].ExecutionFilter


class App(EWrapper, EClient):  # type: ignore[misc]
    """Records every callback as (name, arguments)."""

    def __init__(self) -> None:
        EClient.__init__(self, self)
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.closed = threading.Event()

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for each, arguments in list(self.calls) if each == name]

    def connectionClosed(self) -> None:
        self.closed.set()


def _recorder(name: str) -> Callable[..., None]:
    def record(self: App, *arguments: Any) -> None:
        self.calls.append((name, arguments))

    return record


for _name in [
    "error",
    "nextValidId",
    "managedAccounts",
    "currentTime",
    "position",
    "positionEnd",
    "positionMulti",
    "positionMultiEnd",
    "updateAccountValue",
    "updatePortfolio",
    "updateAccountTime",
    "accountDownloadEnd",
    "accountUpdateMulti",
    "accountUpdateMultiEnd",
    "accountSummary",
    "accountSummaryEnd",
    "contractDetails",
    "contractDetailsEnd",
    "symbolSamples",
    "historicalData",
    "historicalDataEnd",
    "historicalDataUpdate",
    "headTimestamp",
    "tickPrice",
    "tickSize",
    "tickString",
    "tickGeneric",
    "tickReqParams",
    "marketDataType",
    "tickSnapshotEnd",
    "realtimeBar",
    "openOrder",
    "openOrderEnd",
    "orderStatus",
    "execDetails",
    "execDetailsEnd",
    "commissionReport",
    "completedOrder",
    "completedOrdersEnd",
    "pnl",
    "pnlSingle",
    "marketRule",
    "newsProviders",
    "securityDefinitionOptionParameterEnd",
    "familyCodes",
    "softDollarTiers",
    "smartComponents",
    "mktDepthExchanges",
    "scannerParameters",
    "displayGroupList",
    "displayGroupUpdated",
]:
    setattr(App, _name, _recorder(_name))


@pytest.fixture
async def app(gateway: PaperGateway) -> AsyncIterator[App]:
    """A connected ibapi client with id 3, its message loop in a thread."""
    app = App()

    def run() -> None:
        app.connect("127.0.0.1", gateway.tws_port, 3)
        app.run()

    thread = threading.Thread(target=run, name="ibapi-loop")
    thread.start()
    await until(lambda: app.of("nextValidId"))
    yield app
    gateway.drop(3)
    await until(lambda: app.closed.is_set() and not thread.is_alive())
    thread.join()


def stock(symbol: str = "AAPL") -> Any:
    contract = Contract()
    contract.symbol, contract.secType, contract.exchange, contract.currency = symbol, "STK", "SMART", "USD"
    return contract


def order(action: str, quantity: float, kind: str, **fields: Any) -> Any:
    result = Order()
    result.action, result.totalQuantity, result.orderType = action, quantity, kind
    for name, value in fields.items():
        setattr(result, name, value)
    return result


async def test_the_start_is_accounts_id_and_farm_notices(app: App) -> None:
    assert app.serverVersion() == 157
    assert app.of("managedAccounts") == [("DU1234567",)]
    assert app.of("nextValidId") == [(1,)]
    await until(lambda: len(app.of("error")) >= 3)
    assert [arguments[:2] for arguments in app.of("error")] == [(-1, 2104), (-1, 2106), (-1, 2158)]


async def test_time_ids_and_accounts(app: App, gateway: PaperGateway) -> None:
    app.reqCurrentTime()
    app.reqIds(1)
    app.reqManagedAccts()
    await until(lambda: len(app.of("managedAccounts")) == 2)
    assert abs(app.of("currentTime")[0][0] - gateway.clock.now().timestamp()) < 3
    assert app.of("nextValidId") == [(1,), (2,)]


async def test_account_requests(app: App) -> None:
    app.reqPositions()
    app.reqPositionsMulti(10, "DU1234567", "")
    app.reqAccountUpdates(True, "DU1234567")
    app.reqAccountUpdatesMulti(11, "DU1234567", "", True)
    app.reqAccountSummary(12, "All", "NetLiquidation,BuyingPower,$LEDGER:ALL")
    app.reqPnL(13, "DU1234567", "")
    app.reqPnLSingle(14, "DU1234567", "", 265598)
    app.reqFamilyCodes()
    await until(lambda: app.of("pnlSingle") and app.of("familyCodes"))
    assert app.of("positionEnd")
    assert app.of("positionMultiEnd") == [(10,)]
    assert app.of("accountDownloadEnd") == [("DU1234567",)]
    assert app.of("accountUpdateMultiEnd") == [(11,)]
    assert app.of("accountSummaryEnd") == [(12,)]
    assert ("NetLiquidation", "1000000.00", "USD", "DU1234567") in app.of("updateAccountValue")
    assert (12, "DU1234567", "NetLiquidation", "1000000.00", "USD") in app.of("accountSummary")
    assert app.of("pnlSingle")[0][:2] == (14, 0)


async def test_contracts(app: App) -> None:
    app.reqContractDetails(20, stock())
    app.reqMatchingSymbols(21, "SPY")
    app.reqContractDetails(22, stock("NOSUCH"))
    app.reqMarketRule(26)
    app.reqSecDefOptParams(23, "AAPL", "", "STK", 265598)
    app.reqSmartComponents(24, "9c0001")
    await until(lambda: app.of("smartComponents"))
    [(request_id, details)] = app.of("contractDetails")
    assert (request_id, details.contract.conId, details.minTick) == (20, 265598, 0.01)
    assert (details.longName, details.marketRuleIds.split(",")[0]) == ("APPLE INC", "26")
    assert app.of("symbolSamples")[0][1][0].contract.symbol == "SPY"
    assert (22, 200, "No security definition has been found for the request") in app.of("error")
    assert app.of("marketRule")[0][0] == 26


async def test_history_with_whole_numbers(app: App) -> None:
    app.reqHistoricalData(30, stock(), "", "5 D", "1 day", "TRADES", 1, 1, False, [])
    app.reqHistoricalData(31, stock(), "", "1 D", "1 hour", "TRADES", 1, 2, False, [])
    app.reqHistoricalData(32, stock(), "", "1 D", "30 mins", "MIDPOINT", 1, 1, False, [])
    app.reqHeadTimeStamp(33, stock(), "TRADES", 1, 1)
    await until(lambda: app.of("headTimestamp") and len(app.of("historicalDataEnd")) == 3)
    assert sorted(arguments[0] for arguments in app.of("historicalDataEnd")) == [30, 31, 32]
    daily = [bar for request_id, bar in app.of("historicalData") if request_id == 30]
    assert len(daily) == 5
    assert all(isinstance(bar.volume, int) and len(bar.date) == 8 for bar in daily)
    local = [bar for request_id, bar in app.of("historicalData") if request_id == 32]
    assert local[0].date.endswith("  09:30:00"), "before server version 174 bars carry no zone"


async def test_a_bad_request_gets_the_gateways_words(app: App) -> None:
    app.reqHistoricalData(40, stock(), "", "400 D", "1 day", "TRADES", 1, 1, False, [])
    app.reqHistoricalData(41, stock(), "yesterday", "1 D", "1 day", "TRADES", 1, 1, False, [])
    app.reqMktData(42, stock(), "9999", False, False, [])
    await until(lambda: len([e for e in app.of("error") if e[0] >= 40]) == 3)
    errors = {arguments[0]: arguments[1:] for arguments in app.of("error")}
    assert errors[40][0] == 321
    assert "durations longer than 365 days must be made in years" in errors[40][1]
    assert errors[41][0] == 10314
    assert errors[42][1].startswith("Error validating request.-'bQ' : cause - Incorrect generic tick list of 9999.")


async def test_ticks_and_snapshots_count_in_lots(app: App, gateway: PaperGateway) -> None:
    app.reqMktData(50, stock(), "233", False, False, [])
    app.reqMktData(51, stock("SPY"), "", True, False, [])
    await until(lambda: (51,) in app.of("tickSnapshotEnd"))
    assert (50, 1) in app.of("marketDataType")
    assert app.of("tickReqParams")[0][0] == 50
    prices = {arguments[1]: arguments[2] for arguments in app.of("tickPrice") if arguments[0] == 50}
    assert 0 < prices[1] < prices[2]
    quote = gateway.exchange.quote(gateway.server._hub.instruments.by_con_id(265598))  # type: ignore[arg-type]
    sizes = {arguments[1]: arguments[2] for arguments in app.of("tickSize") if arguments[0] == 50}
    assert quote is not None
    assert isinstance(sizes[0], int)
    await until(lambda: any(arguments[:2] == (50, 48) for arguments in app.of("tickString")))
    app.cancelMktData(50)
    app.cancelMktData(50)
    await until(lambda: any(e[:2] == (50, 300) for e in app.of("error")))


async def test_an_order_lives_from_placing_to_its_commission(app: App) -> None:
    app.placeOrder(1, stock(), order("BUY", 10, "MKT", orderRef="first", tif="DAY"))
    await until(lambda: app.of("commissionReport") and any(s[1] == "Filled" for s in app.of("orderStatus")))
    [first, *_] = app.of("openOrder")
    order_id, contract, shown, state = first
    assert (order_id, contract.conId, shown.orderRef, shown.action) == (1, 265598, "first", "BUY")
    assert (shown.totalQuantity, shown.orderType, shown.account) == (10, "MKT", "DU1234567")
    assert state.status == "PreSubmitted"
    executions = app.of("execDetails")
    assert sum(execution.shares for _, _, execution in executions) == 10
    assert {request_id for request_id, _, _ in executions} == {-1}
    assert {execution.orderRef for _, _, execution in executions} == {"first"}
    app.reqExecutions(60, ExecutionFilter())
    await until(lambda: (60,) in app.of("execDetailsEnd"))
    assert [r for r, _, _ in app.of("execDetails") if r == 60] == [60] * len(executions)


async def test_modify_cancel_open_and_completed_orders(app: App) -> None:
    app.placeOrder(1, stock(), order("BUY", 5, "LMT", lmtPrice=10.0, tif="GTC"))
    await until(lambda: any(s[:2] == (1, "Submitted") for s in app.of("orderStatus")))
    app.placeOrder(1, stock(), order("BUY", 4, "LMT", lmtPrice=11.0, tif="GTC"))
    await until(lambda: any(o[2].lmtPrice == 11.0 for o in app.of("openOrder")))
    await until(lambda: app.of("orderStatus")[-1][1] == "Submitted")
    app.reqOpenOrders()
    app.reqAllOpenOrders()
    await until(lambda: len(app.of("openOrderEnd")) == 2)
    assert (app.of("openOrder")[-1][2].lmtPrice, app.of("openOrder")[-1][2].totalQuantity) == (11.0, 4)
    app.cancelOrder(1)
    await until(lambda: any(e[:2] == (1, 202) for e in app.of("error")))
    assert app.of("orderStatus")[-1][1] == "Cancelled"
    app.cancelOrder(1)
    app.cancelOrder(99)
    await until(lambda: any(e[0] == 99 for e in app.of("error")))
    assert {(1, 10148), (99, 10147)} <= {e[:2] for e in app.of("error")}
    app.reqCompletedOrders(True)
    await until(lambda: app.of("completedOrdersEnd"))
    [(contract, shown, state)] = app.of("completedOrder")
    assert (contract.symbol, shown.orderType, state.status) == ("AAPL", "LMT", "Cancelled")
    assert state.completedStatus == "Cancelled by Trader"
    assert state.completedTime.endswith("US/Eastern")


async def test_a_bracket_transmits_with_its_last_order(app: App) -> None:
    app.placeOrder(1, stock(), order("BUY", 10, "LMT", lmtPrice=10.0, transmit=False))
    app.placeOrder(2, stock(), order("SELL", 10, "LMT", lmtPrice=900.0, parentId=1, transmit=False))
    app.reqCurrentTime()
    await until(lambda: app.of("currentTime"))
    assert app.of("openOrder") == []
    app.placeOrder(3, stock(), order("SELL", 10, "STP", auxPrice=5.0, parentId=1, transmit=True))
    await until(lambda: {o[0] for o in app.of("openOrder")} == {1, 2, 3})
    await until(lambda: {s[0] for s in app.of("orderStatus") if s[6] == 1} == {2, 3})
    app.reqGlobalCancel()
    await until(lambda: {s[0] for s in app.of("orderStatus") if s[1] == "Cancelled"} == {1, 2, 3})


async def test_a_what_if_order_has_margins(app: App) -> None:
    app.placeOrder(1, stock(), order("BUY", 100, "MKT", whatIf=True))
    await until(lambda: app.of("openOrder"))
    [(_, _, shown, state)] = app.of("openOrder")
    assert shown.whatIf is True
    assert float(state.initMarginChange) > 0
    assert 0 < state.commission < 100
    assert app.of("orderStatus") == []


@pytest.mark.parametrize(
    ("request_order", "code"),
    [
        (order("BUY", 1, "FEELINGS"), 321),
        (order("BUY", 0, "MKT"), 434),
        (order("BUY", 1, "LMT", lmtPrice=10.003), 110),
        (order("BUY", 1, "MKT", account="DU999"), 321),
        (order("BUY", 1, "MKT", conditions=[PriceCondition(0, 265598, "SMART", True, 1.0)]), 201),
        (order("BUY", 1, "MKT", algoStrategy="Twap"), 201),
    ],
)
async def test_orders_that_cannot_be_are_refused_with_their_code(app: App, request_order: Any, code: int) -> None:
    app.placeOrder(1, stock(), request_order)
    await until(lambda: any(e[0] == 1 for e in app.of("error")))
    assert [e[1] for e in app.of("error") if e[0] == 1] == [code]
    assert app.isConnected()


async def test_a_combination_is_read_and_found_to_be_nothing(app: App) -> None:
    contract = stock("SPREAD")
    contract.secType = "BAG"
    contract.comboLegs = []
    for con_id, action in ((265598, "BUY"), (272093, "SELL")):
        leg = ComboLeg()
        leg.conId, leg.ratio, leg.action, leg.exchange = con_id, 1, action, "SMART"
        contract.comboLegs.append(leg)
    app.placeOrder(1, contract, order("BUY", 1, "MKT"))
    app.reqMktData(70, contract, "", False, False, [])
    await until(lambda: len([e for e in app.of("error") if e[0] > 0]) == 2)
    assert {e[:2] for e in app.of("error") if e[0] > 0} == {(1, 200), (70, 200)}


async def test_auto_open_orders_belong_to_client_zero(app: App) -> None:
    app.reqAutoOpenOrders(True)
    await until(lambda: any(e[1] == 327 for e in app.of("error")))


async def test_what_has_no_content_here_is_still_answered(app: App) -> None:
    app.reqNewsProviders()
    app.reqSoftDollarTiers(80)
    app.reqMktDepthExchanges()
    app.reqScannerParameters()
    app.queryDisplayGroups(81)
    app.subscribeToGroupEvents(82, 1)
    await until(lambda: app.of("displayGroupUpdated"))
    assert app.of("newsProviders") == [([],)]
    assert app.of("displayGroupList") == [(81, "1|2|3|4|5|6|7")]
    assert app.of("displayGroupUpdated") == [(82, "none")]
