"""Everything a real asyncio client (ib_insync or ib_async) does, against the gateway."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest

from ibkr_connector.paper import PaperGateway
from ibkr_connector.paper.tws.bench import encode_ticks

from .conftest import SECONDS, Connect, until


async def qualified(ib: Any, contract: Any) -> Any:
    """The contract with its conId: ib_async keeps tickers by it."""
    [found] = await ib.qualifyContractsAsync(contract)
    return found


def was_modified(trade: Any) -> bool:
    """Whether a change was acknowledged: PreSubmitted and Submitted again, as a real gateway shows it."""
    messages = [entry.message for entry in trade.log]
    if "Modify" not in messages:
        return False
    after = trade.log[len(messages) - messages[::-1].index("Modify") :]
    return [entry.status for entry in after][:2] == ["PreSubmitted", "Submitted"]


async def test_connecting_reads_accounts_ids_positions_and_values(ib: Any, gateway: PaperGateway) -> None:
    assert ib.isConnected()
    assert ib.client.serverVersion() in {176, 178}
    assert ib.managedAccounts() == ["DU1234567"]
    assert ib.positions() == []
    values = {(value.tag, value.currency): value.value for value in ib.accountValues()}
    assert values["NetLiquidation", "USD"] == "1000000.00"
    assert ib.openTrades() == []
    assert gateway.truth.of("connect", client_id=1)


async def test_the_server_time_is_market_time(ib: Any, gateway: PaperGateway) -> None:
    answer = await ib.reqCurrentTimeAsync()
    assert abs((answer.astimezone(UTC) - gateway.clock.now()).total_seconds()) < 3


async def test_contract_details_of_a_stock_a_currency_pair_and_a_future(ib: Any, tws: ModuleType) -> None:
    [apple] = await ib.reqContractDetailsAsync(tws.Stock("AAPL", "SMART", "USD"))
    assert apple.contract.conId == 265598
    assert (apple.longName, apple.minTick, apple.contract.primaryExchange) == ("APPLE INC", 0.01, "NASDAQ")
    assert apple.liquidHours.count(";") == 5
    [euro] = await ib.reqContractDetailsAsync(tws.Forex("EURUSD"))
    assert (euro.contract.conId, euro.contract.localSymbol) == (12087792, "EUR.USD")
    futures = await ib.reqContractDetailsAsync(tws.Future("ES", exchange="CME"))
    assert {details.contract.multiplier for details in futures} == {"50"}
    assert len({details.contract.lastTradeDateOrContractMonth for details in futures}) == len(futures) > 1


async def test_an_unknown_symbol_is_error_200(ib: Any, tws: ModuleType) -> None:
    errors: list[tuple[int, int, str]] = []
    ib.errorEvent += lambda request_id, code, text, contract: errors.append((request_id, code, text))
    assert await ib.reqContractDetailsAsync(tws.Stock("NOSUCH", "SMART", "USD")) == []
    assert [(code, text) for _, code, text in errors] == [
        (200, "No security definition has been found for the request")
    ]


async def test_symbols_are_found_by_text(ib: Any) -> None:
    found = await ib.reqMatchingSymbolsAsync("AAPL")
    assert found[0].contract.conId == 265598
    assert "OPT" in found[0].derivativeSecTypes


async def test_historical_bars_daily_and_intraday(ib: Any, tws: ModuleType) -> None:
    apple = tws.Stock("AAPL", "SMART", "USD")
    daily = await ib.reqHistoricalDataAsync(apple, "", "5 D", "1 day", "TRADES", useRTH=True, formatDate=1)
    assert len(daily) == 5
    assert all(isinstance(bar.date, date) and bar.low <= bar.open <= bar.high for bar in daily)
    hourly = await ib.reqHistoricalDataAsync(apple, "", "2 D", "1 hour", "TRADES", useRTH=True, formatDate=2)
    assert hourly[0].date.tzinfo is not None
    assert all(bar.volume >= 0 and bar.barCount >= 0 for bar in hourly)
    local = await ib.reqHistoricalDataAsync(apple, "", "2 D", "1 hour", "TRADES", useRTH=True, formatDate=1)
    assert [bar.date.astimezone(UTC) for bar in local] == [bar.date for bar in hourly]
    assert f"{local[0].date:%H:%M}" == "09:30"
    assert f"{local[1].date:%H:%M}" == "10:00"


@pytest.mark.parametrize("what", ["MIDPOINT", "BID", "ASK", "BID_ASK", "ADJUSTED_LAST"])
async def test_every_kind_of_bar_is_served(ib: Any, tws: ModuleType, what: str) -> None:
    bars = await ib.reqHistoricalDataAsync(tws.Stock("SPY", "SMART", "USD"), "", "1 D", "1 hour", what, useRTH=True)
    assert bars
    if what != "ADJUSTED_LAST":
        assert {bar.volume for bar in bars} == {-1}


async def test_a_refused_history_request_ends_with_the_gateways_words(ib: Any, tws: ModuleType) -> None:
    errors: list[tuple[int, str]] = []
    ib.errorEvent += lambda request_id, code, text, contract: errors.append((code, text))
    pending = asyncio.ensure_future(
        ib.reqHistoricalDataAsync(
            tws.Stock("AAPL", "SMART", "USD"), "", "1 D", "7 mins", "TRADES", useRTH=True, timeout=1
        )
    )
    await until(lambda: errors)
    assert errors[0][0] == 321
    assert "bar size setting is invalid. Legal ones are: 1 secs, 5 secs" in errors[0][1]
    # ib_async takes 321 for a warning and waits for its own timeout.
    await pending


async def test_history_that_is_kept_up_to_date_grows_and_ends_with_162(
    ib: Any, tws: ModuleType, gateway: PaperGateway
) -> None:
    errors: list[tuple[int, int, str]] = []
    ib.errorEvent += lambda request_id, code, text, contract: errors.append((request_id, code, text))
    bars = await ib.reqHistoricalDataAsync(
        tws.Stock("SPY", "SMART", "USD"), "", "1800 S", "1 min", "TRADES", useRTH=True, keepUpToDate=True
    )
    count = len(bars)
    new: list[bool] = []
    bars.updateEvent += lambda bars, has_new: new.append(has_new)
    gateway.jump(gateway.clock.now() + timedelta(minutes=3))
    await until(lambda: any(new))
    assert len(bars) > count
    ib.cancelHistoricalData(bars)
    await until(lambda: errors)
    assert errors == [
        (
            bars.reqId,
            162,
            f"Historical Market Data Service error message:API historical data query cancelled: {bars.reqId}",
        )
    ]


async def test_the_schedule_lists_sessions(ib: Any, tws: ModuleType) -> None:
    schedule = await ib.reqHistoricalScheduleAsync(tws.Stock("AAPL", "SMART", "USD"), 10)
    assert schedule.timeZone == "US/Eastern"
    assert len(schedule.sessions) == 10
    assert schedule.sessions[-1].startDateTime.endswith("-09:30:00")


async def test_the_head_timestamp_is_a_time(ib: Any, tws: ModuleType) -> None:
    apple = tws.Stock("AAPL", "SMART", "USD")
    assert isinstance(await ib.reqHeadTimeStampAsync(apple, "TRADES", useRTH=True, formatDate=1), datetime)
    assert isinstance(await ib.reqHeadTimeStampAsync(apple, "MIDPOINT", useRTH=False, formatDate=2), datetime)
    euro = tws.Forex("EURUSD")
    assert isinstance(await ib.reqHeadTimeStampAsync(euro, "MIDPOINT", useRTH=True, formatDate=2), datetime)


async def test_a_stream_ticks_and_stops(ib: Any, tws: ModuleType, gateway: PaperGateway) -> None:
    ticker = ib.reqMktData(await qualified(ib, tws.Stock("AAPL", "SMART", "USD")), "233,236,221")
    await until(lambda: ticker.bid > 0 and ticker.ask > 0 and ticker.last > 0 and ticker.volume > 0)
    assert ticker.bid < ticker.ask
    assert ticker.marketDataType == 1
    assert ticker.minTick == 0.01
    assert ticker.close > 0
    first = (ticker.bid, ticker.ask, ticker.bidSize, ticker.askSize)
    await until(lambda: (ticker.bid, ticker.ask, ticker.bidSize, ticker.askSize) != first)
    await until(lambda: not math.isnan(ticker.rtVolume) and ticker.rtVolume > 0 and ticker.vwap > 0)
    ib.cancelMktData(ticker.contract)
    await ib.reqCurrentTimeAsync()
    assert not gateway.server._hub.feeds


async def test_a_snapshot_has_both_sides_and_ends(ib: Any, tws: ModuleType) -> None:
    contracts = [await qualified(ib, tws.Stock("AAPL", "SMART", "USD")), await qualified(ib, tws.Forex("EURUSD"))]
    [apple, euro] = await asyncio.wait_for(ib.reqTickersAsync(*contracts), SECONDS)
    assert 0 < apple.bid < apple.ask
    assert 0 < euro.bid < euro.ask < 10


async def test_real_time_bars_arrive_every_five_market_seconds(ib: Any, tws: ModuleType, gateway: PaperGateway) -> None:
    bars = ib.reqRealTimeBars(tws.Stock("SPY", "SMART", "USD"), 5, "TRADES", False)
    await ib.reqCurrentTimeAsync()  # the gateway has read the request before this one
    gateway.jump(gateway.clock.now() + timedelta(seconds=21))
    await until(lambda: len(bars) >= 3)
    assert {(bar.time.timestamp() % 5) for bar in bars} == {0}
    assert {(after.time - before.time).total_seconds() for before, after in pairwise(bars)} == {5}
    ib.cancelRealTimeBars(bars)


async def test_a_market_order_fills_and_everything_agrees(ib: Any, tws: ModuleType, gateway: PaperGateway) -> None:
    trade = ib.placeOrder(tws.Stock("AAPL", "SMART", "USD"), tws.MarketOrder("BUY", 100, orderRef="ref-1"))
    await until(lambda: trade.isDone() and trade.fills and trade.fills[0].commissionReport.execId)
    assert trade.orderStatus.status == "Filled"
    assert (trade.orderStatus.filled, trade.orderStatus.remaining) == (100, 0)
    execution = trade.fills[0].execution
    assert (execution.side, execution.orderRef, execution.acctNumber) == ("BOT", "ref-1", "DU1234567")
    assert sum(fill.execution.shares for fill in trade.fills) == 100
    assert trade.order.permId > 0
    await until(lambda: ib.positions())
    [position] = ib.positions()
    assert (position.position, position.contract.conId) == (100, 265598)
    await until(lambda: ib.portfolio())
    assert ib.portfolio()[0].position == 100
    assert gateway.truth.of("recv_place", client_id=1, order_ref="ref-1")
    fills = await ib.reqExecutionsAsync()
    assert [fill.execution.execId for fill in fills] == [fill.execution.execId for fill in trade.fills]


async def test_a_limit_order_rests_is_modified_and_cancelled(ib: Any, tws: ModuleType) -> None:
    errors: list[tuple[int, int, str]] = []
    ib.errorEvent += lambda request_id, code, text, contract: errors.append((request_id, code, text))
    order = tws.LimitOrder("BUY", 1, 10.0, tif="GTC", orderRef="rest")
    trade = ib.placeOrder(tws.Stock("AAPL", "SMART", "USD"), order)
    await until(lambda: trade.orderStatus.status == "Submitted")
    order.lmtPrice = 11.0
    ib.placeOrder(trade.contract, order)
    await until(lambda: was_modified(trade))
    [shown] = await ib.reqOpenOrdersAsync()
    assert shown.order.lmtPrice == 11.0
    ib.cancelOrder(order)
    await until(lambda: trade.orderStatus.status == "Cancelled")
    await until(lambda: errors)
    assert errors == [(order.orderId, 202, "Order Canceled - reason:")]


async def test_an_order_taken_over_after_reconnecting_can_be_changed(connect: Connect, tws: ModuleType) -> None:
    first = await connect(5)
    placed = first.placeOrder(
        tws.Stock("MSFT", "SMART", "USD"), tws.LimitOrder("BUY", 3, 10.0, tif="GTC", orderRef="mine")
    )
    await until(lambda: placed.orderStatus.status == "Submitted")
    first.disconnect()
    await asyncio.sleep(0)
    second = await _connect_again(connect, 5)
    [trade] = second.openTrades()
    assert (trade.order.orderRef, trade.order.permId) == ("mine", placed.order.permId)
    # What the gateway echoed is what the client sends back: every default must be readable.
    trade.order.totalQuantity = 2
    second.placeOrder(trade.contract, trade.order)
    await until(lambda: was_modified(trade))
    assert trade.orderStatus.remaining == 2
    second.cancelOrder(trade.order)
    await until(lambda: trade.orderStatus.status == "Cancelled")


async def _connect_again(connect: Connect, client_id: int) -> Any:
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await connect(client_id)
            except (TimeoutError, ConnectionError):
                await asyncio.sleep(0.05)


async def test_a_bracket_runs_its_course(ib: Any, tws: ModuleType) -> None:
    apple = await qualified(ib, tws.Stock("AAPL", "SMART", "USD"))
    [ticker] = await ib.reqTickersAsync(apple)
    parent, take, stop = ib.bracketOrder(
        "BUY", 10, round(ticker.ask + 1, 2), round(ticker.ask * 1.5, 2), round(ticker.bid * 0.5, 2)
    )
    trades = [ib.placeOrder(apple, order) for order in (parent, take, stop)]
    await until(lambda: trades[0].orderStatus.status == "Filled")
    await until(lambda: trades[1].orderStatus.status == "Submitted")
    await until(lambda: trades[2].orderStatus.status == "PreSubmitted" and trades[2].orderStatus.whyHeld == "trigger")
    assert trades[1].orderStatus.parentId == parent.orderId
    ib.cancelOrder(take)
    await until(lambda: all(trade.isDone() for trade in trades))


async def test_a_what_if_order_is_answered_and_not_placed(ib: Any, tws: ModuleType) -> None:
    state = await asyncio.wait_for(
        ib.whatIfOrderAsync(tws.Stock("AAPL", "SMART", "USD"), tws.MarketOrder("BUY", 100)), SECONDS
    )
    assert float(state.initMarginChange) > 0
    assert 0 < state.commission < 100
    assert state.commissionCurrency == "USD"
    assert await ib.reqAllOpenOrdersAsync() == []


async def test_completed_orders_are_listed_with_how_they_ended(ib: Any, tws: ModuleType) -> None:
    apple = tws.Stock("AAPL", "SMART", "USD")
    filled = ib.placeOrder(apple, tws.MarketOrder("BUY", 5))
    resting = ib.placeOrder(apple, tws.LimitOrder("BUY", 7, 10.0))
    await until(lambda: filled.isDone() and resting.orderStatus.status == "Submitted")
    ib.cancelOrder(resting.order)
    await until(lambda: resting.isDone())
    done = await ib.reqCompletedOrdersAsync(False)
    ends = {trade.order.permId: trade.orderStatus.status for trade in done}
    assert ends == {filled.order.permId: "Filled", resting.order.permId: "Cancelled"}


async def test_a_global_cancel_reaches_every_order(ib: Any, tws: ModuleType) -> None:
    apple = tws.Stock("AAPL", "SMART", "USD")
    trades = [ib.placeOrder(apple, tws.LimitOrder("BUY", 1, price)) for price in (10.0, 11.0, 12.0)]
    await until(lambda: all(trade.orderStatus.status == "Submitted" for trade in trades))
    ib.reqGlobalCancel()
    await until(lambda: all(trade.orderStatus.status == "Cancelled" for trade in trades))


async def test_orders_of_other_clients_are_seen_and_cancelled_through_all_open_orders(
    connect: Connect, tws: ModuleType, dropped: list[str]
) -> None:
    owner, other = await connect(1), await connect(2)
    placed = owner.placeOrder(tws.Stock("AAPL", "SMART", "USD"), tws.LimitOrder("BUY", 10, 13.27, tif="GTC"))
    await until(lambda: placed.orderStatus.status == "Submitted")
    assert await other.reqOpenOrdersAsync() == []
    [seen] = await other.reqAllOpenOrdersAsync()
    assert seen.order.permId == placed.order.permId
    other.client.cancelOrder(seen.order.orderId)
    await until(lambda: placed.orderStatus.status == "Cancelled")
    # As captured: the canceller is told the status under its own client id, where its library knows no such order.
    await until(lambda: dropped)
    assert all(f"No order found for orderId {placed.order.orderId} and clientId 2" in line for line in dropped)
    dropped.clear()


async def test_profit_and_loss_is_told_every_second(ib: Any, tws: ModuleType) -> None:
    trade = ib.placeOrder(tws.Stock("AAPL", "SMART", "USD"), tws.MarketOrder("BUY", 100))
    await until(trade.isDone)
    total = ib.reqPnL("DU1234567")
    single = ib.reqPnLSingle("DU1234567", "", 265598)
    await until(lambda: not math.isnan(total.dailyPnL) and not math.isnan(single.dailyPnL))
    assert single.position == 100
    before = total.dailyPnL
    await until(lambda: total.dailyPnL != before)
    ib.cancelPnL("DU1234567")
    ib.cancelPnLSingle("DU1234567", "", 265598)


async def test_a_summary_has_its_tags_and_a_third_one_is_refused(ib: Any) -> None:
    errors: list[tuple[int, int]] = []
    ib.errorEvent += lambda request_id, code, text, contract: errors.append((request_id, code))
    rows = {row.tag: row for row in await ib.accountSummaryAsync()}
    assert rows["NetLiquidation"].value == "1000000.00"
    assert rows["AccountType"].value == "INDIVIDUAL"
    ib.client.reqAccountSummary(901, "All", "NetLiquidation")
    ib.client.reqAccountSummary(902, "All", "NetLiquidation")
    await until(lambda: errors)
    assert errors == [(902, 322)]


async def test_small_requests_are_answered(ib: Any) -> None:
    assert await ib.reqNewsProvidersAsync() == []
    assert [step.increment for step in await ib.reqMarketRuleAsync(26)] == [0.01]
    assert await ib.reqSecDefOptParamsAsync("AAPL", "", "STK", 265598) == []
    await asyncio.wait_for(ib.reqUserInfoAsync(), SECONDS)
    assert len(await ib.reqSmartComponentsAsync("9c0001")) > 5
    assert await ib.reqMktDepthExchangesAsync() == []
    assert "ScanParameterResponse" in await ib.reqScannerParametersAsync()


@pytest.mark.parametrize(
    ("code", "ask"),
    [
        (10092, lambda ib, c: ib.client.reqMktDepth(777, c, 5, False, [])),
        (430, lambda ib, c: ib.client.reqFundamentalData(777, c, "ReportSnapshot", [])),
        (10189, lambda ib, c: ib.client.reqTickByTickData(777, c, "Last", 0, False)),
        (
            10187,
            lambda ib, c: ib.client.reqHistoricalTicks(777, c, "20260101-00:00:00", "", 10, "TRADES", 1, False, []),
        ),
        (10276, lambda ib, c: ib.client.reqWshMetaData(777)),
        (10276, lambda ib, c: ib.client.reqNewsArticle(777, "BRFG", "BRFG$1", [])),
        (10276, lambda ib, c: ib.client.reqHistoricalNews(777, 265598, "BRFG", "", "", 10, [])),
        (162, lambda ib, c: ib.client.reqHistogramData(777, c, True, "1 day")),
        (321, lambda ib, c: ib.client.exerciseOptions(777, c, 1, 1, "", 0)),
        (200, lambda ib, c: ib.client.calculateOptionPrice(777, c, 0.2, 100.0, [])),
        (300, lambda ib, c: ib.client.cancelMktData(777)),
        (366, lambda ib, c: ib.client.cancelHistoricalData(777)),
    ],
)
async def test_what_is_not_served_gets_ibkrs_own_error(ib: Any, tws: ModuleType, code: int, ask: Any) -> None:
    errors: list[tuple[int, int]] = []
    ib.errorEvent += lambda request_id, code, text, contract: errors.append((request_id, code))
    ask(ib, tws.Stock("AAPL", "SMART", "USD"))
    await until(lambda: errors)
    assert errors == [(777, code)]
    assert ib.isConnected()


async def test_a_flood_of_encoded_ticks_arrives_whole(ib: Any, tws: ModuleType, gateway: PaperGateway) -> None:
    ticker = ib.reqMktData(await qualified(ib, tws.Stock("AAPL", "SMART", "USD")))
    await until(lambda: ticker.bid > 0)
    request_id = ib.wrapper.ticker2ReqId["mktData"][ticker]
    ticks = 0

    def count(ticker: Any) -> None:
        nonlocal ticks
        ticks += sum(1 for tick in ticker.ticks if tick.tickType in {1, 2, 4} and tick.size == 7777)

    ticker.updateEvent += count
    gateway.flood(1, encode_ticks(request_id, 3000, size=7777))
    await until(lambda: ticks >= 3000)
    assert ticks == 3000
