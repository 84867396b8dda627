"""Contracts, snapshots, history, scanners, watchlists and performance, with ibind and as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ibkr_connector.paper import PaperGateway, WebOptions

from .conftest import AAPL, ACCOUNT, Http, in_thread, order, place

for name in ("aiohttp", "cryptography"):
    pytest.importorskip(name, reason="needs the extra paper-web")

HISTORY = f"iserver/marketdata/history?conid={AAPL}"


async def test_the_first_snapshot_is_empty_and_later_ones_are_texts(ready: Http) -> None:
    path = f"iserver/marketdata/snapshot?conids={AAPL}&fields=31,84,86,55,6509,7051,9999"
    assert await ready.ok("GET", path) == [{"conidEx": str(AAPL), "conid": AAPL}]
    [row] = await ready.ok("GET", path)
    assert (row["55"], row["6509"], row["server_id"]) == ("AAPL", "RpB", "q0")
    assert float(row["84"]) < float(row["86"])
    assert "9999" not in row
    assert "88" not in row
    assert await ready.ok("POST", "iserver/marketdata/unsubscribe", {"conid": AAPL}) == {"success": True}
    assert (await ready("POST", "iserver/marketdata/unsubscribe", {"conid": AAPL}))[0] == 404
    assert await ready.ok("GET", path) == [{"conidEx": str(AAPL), "conid": AAPL}]


async def test_ibind_s_own_way_to_a_snapshot(client: Any) -> None:
    await in_thread(client.receive_brokerage_accounts)
    assert (await in_thread(lambda: client.stock_conid_by_symbol("AAPL"))).data == {"AAPL": AAPL}
    await in_thread(lambda: client.live_marketdata_snapshot_by_symbol("AAPL", ["31", "84"]))
    shown = await in_thread(lambda: client.live_marketdata_snapshot_by_symbol("AAPL", ["31", "84"]))
    assert float(shown["AAPL"]["bid_price"]) > 0
    bars = await in_thread(lambda: client.marketdata_history_by_symbol("AAPL", bar="5min", period="1d"))
    assert len(bars.data["data"]) == 6
    found = await in_thread(lambda: client.marketdata_history_by_symbols(["AAPL", "IBM"], bar="1h", period="1d"))
    assert set(found) == {"AAPL", "IBM"}
    assert (await in_thread(client.marketdata_unsubscribe_all)).data == {"unsubscribed": True}


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, entitlement="none")], ids=["not subscribed"])
async def test_without_a_subscription_there_are_no_prices_and_orders_are_asked_about(ready: Http) -> None:
    path = f"iserver/marketdata/snapshot?conids={AAPL}&fields=31,84,55"
    await ready.ok("GET", path)
    [row] = await ready.ok("GET", path)
    assert (row["6509"], row["55"]) == ("N", "AAPL")
    assert "31" not in row
    [question] = await ready.ok("POST", f"iserver/account/{ACCOUNT}/orders", {"orders": [order()]})
    assert question["messageIds"] == ["o354"]


async def test_a_halt_and_a_closed_market_show_in_the_last_price(ready: Http, gateway: PaperGateway) -> None:
    path = f"iserver/marketdata/snapshot?conids={AAPL}&fields=31"
    await ready.ok("GET", path)
    gateway.inject("halt", symbol="AAPL", for_=600.0)
    assert (await ready.ok("GET", path))[0]["31"].startswith("H")


async def test_derivatives_need_a_search_first(ready: Http) -> None:
    future = (await ready.ok("GET", "trsrv/futures?symbols=ES"))["ES"][0]
    path = f"iserver/marketdata/snapshot?conids={future['conid']}&fields=31"
    assert (await ready("GET", path))[0] == 400
    [found] = await ready.ok("GET", "iserver/secdef/search?symbol=ES")
    month = next(s for s in found["sections"] if s["secType"] == "FUT")["months"].split(";")[0]
    query = f"iserver/secdef/info?conid={found['conid']}&secType=FUT&month={month}"
    [listed] = await ready.ok("GET", query)
    assert listed["conid"] == future["conid"]
    assert (await ready("GET", path))[0] == 200


async def test_history_speaks_of_prices_volumes_and_time(ready: Http, gateway: PaperGateway) -> None:
    body = await ready.ok("GET", f"{HISTORY}&period=1d&bar=5min")
    data = body["data"]
    assert [bar["t"] for bar in data] == sorted({bar["t"] for bar in data})
    assert all(bar["l"] <= min(bar["o"], bar["c"]) <= max(bar["o"], bar["c"]) <= bar["h"] for bar in data)
    price, _, minutes = body["high"].split("/")
    top = max(data, key=lambda bar: bar["h"])
    assert int(price) == round(top["h"] * body["priceFactor"])
    assert int(minutes) == (top["t"] - data[0]["t"]) // 60_000
    assert (body["barLength"], body["points"], body["timePeriod"]) == (300, len(data) - 1, "1d")
    assert data[-1]["t"] <= gateway.web.hub.market_ms()
    # Where the period ends, not where it begins.
    earlier = await ready.ok("GET", f"{HISTORY}&period=1d&bar=1h&startTime=20261119-21:00:00")
    assert len(earlier["data"]) == 7


@pytest.mark.parametrize(("period", "bar"), [("1y", "1min"), ("1d", "1S"), ("5y", "1d"), ("1m", "1h")])
async def test_a_history_has_at_most_a_thousand_bars_the_last_ones(
    ready: Http, gateway: PaperGateway, period: str, bar: str
) -> None:
    data = (await ready.ok("GET", f"{HISTORY}&period={period}&bar={bar}"))["data"]
    assert 100 < len(data) <= 1000
    assert gateway.web.hub.market_ms() - data[-1]["t"] < 86_400_000


async def test_currencies_have_no_trades_but_a_history(ready: Http) -> None:
    [pair] = [p for p in (await ready.ok("GET", "iserver/currency/pairs?currency=EUR"))["EUR"] if p["ccyPair"] == "USD"]
    body = await ready.ok("GET", f"iserver/marketdata/history?conid={pair['conid']}&period=1d&bar=1h")
    assert {bar["v"] for bar in body["data"]} == {0.0}
    there = (await ready.ok("GET", "iserver/exchangerate?source=EUR&target=USD"))["rate"]
    back = (await ready.ok("GET", "iserver/exchangerate?source=USD&target=EUR"))["rate"]
    assert there * back == pytest.approx(1, abs=1e-6)


async def test_unknown_symbols_are_said_to_be_unknown(ready: Http) -> None:
    assert (await ready("GET", "iserver/secdef/search?symbol=NOSUCHTHING"))[1] == {"error": "No symbol found"}
    assert await ready.ok("GET", "trsrv/stocks?symbols=NOSUCH") == {"NOSUCH": []}
    assert (await ready.ok("GET", "trsrv/secdef?conids=1"))["secdef"] == []


async def test_ibind_s_contract_methods_are_answered(client: Any) -> None:
    await in_thread(client.receive_brokerage_accounts)
    works: list[Callable[[], Any]] = [
        lambda: client.security_definition_by_conid([str(AAPL)]),
        lambda: client.all_conids_by_exchange("NASDAQ"),
        lambda: client.contract_information_by_conid(str(AAPL)),
        lambda: client.info_and_rules_by_conid(str(AAPL), True),
        lambda: client.algo_params_by_conid(str(AAPL)),
        lambda: client.search_contract_rules(str(AAPL)),
        lambda: client.search_secdef_info_by_conid(str(AAPL), "STK", "SMART"),
        lambda: client.search_strikes_by_conid(str(AAPL), "OPT", "DEC26"),
        lambda: client.trading_schedule_by_symbol("STK", "AAPL", exchange="NASDAQ"),
        client.scanner_parameters,
        client.portfolio_subaccounts,
        client.portfolio_account_information,
        client.portfolio_account_allocation,
        client.invalidate_backend_portfolio_cache,
        client.positions2,
        lambda: client.position_and_contract_info(str(AAPL)),
        client.get_all_watchlists,
        lambda: client.account_performance([ACCOUNT], "1M"),
        lambda: client.all_periods([ACCOUNT]),
        lambda: client.transaction_history([ACCOUNT], [str(AAPL)], "USD"),
        lambda: client.signatures_and_owners(ACCOUNT),
        lambda: client.search_dynamic_account("DU"),
    ]
    for work in works:
        assert (await in_thread(work)).data is not None


async def test_scanners_rank(ready: Http) -> None:
    scan = {"instrument": "STK", "location": "STK.US.MAJOR", "type": "TOP_PERC_LOSE", "filter": []}
    found = await ready.ok("POST", "iserver/scanner/run", scan)
    assert found["contracts"][0]["column_name"] == "Chg%"
    con_ids = [row["con_id"] for row in found["contracts"]]
    filtered = {**scan, "filter": [{"code": "priceAbove", "value": 300}]}
    fewer = [row["con_id"] for row in (await ready.ok("POST", "iserver/scanner/run", filtered))["contracts"]]
    assert 0 < len(fewer) < len(con_ids)
    assert (await ready("POST", "iserver/scanner/run", {"instrument": "STK", "type": "X"}))[0] == 400


async def test_performance_follows_the_account(ready: Http, gateway: PaperGateway) -> None:
    await place(ready, order(orderType="MKT", price=None, tif="DAY", quantity=100))
    await gateway.truth.wait_for("commission", timeout=10)
    answer = await ready.ok("POST", "pa/performance", {"acctIds": [ACCOUNT], "period": "1M"})
    navs = answer["nav"]["data"][0]["navs"]
    worth = (await ready.ok("GET", f"portfolio/{ACCOUNT}/ledger"))["BASE"]["netliquidationvalue"]
    assert navs[-1] == pytest.approx(worth, abs=500)
    assert navs[0] == 1_000_000.0
    history = await ready.ok("POST", "pa/transactions", {"acctIds": [ACCOUNT], "conids": [AAPL], "currency": "USD"})
    assert [(t["type"], t["qty"]) for t in history["transactions"]] == [("Buy", 100.0)]


@pytest.mark.parametrize("gateway_arguments", [{"accounts": ("DU1234567", "DU7654321")}], ids=["two accounts"])
async def test_accounts_are_kept_apart_and_one_is_selected(ready: Http, gateway: PaperGateway) -> None:
    assert (await ready.ok("GET", "iserver/accounts"))["selectedAccount"] == ACCOUNT
    assert await ready.ok("POST", "iserver/account", {"acctId": "DU7654321"}) == {"set": True, "acctId": "DU7654321"}
    assert await ready.ok("POST", "iserver/account", {"acctId": "DU7654321"}) == {"success": "Account already set"}
    assert (await ready("POST", "iserver/account", {"acctId": "DU9"}))[0] == 500
    assert (await ready("POST", "iserver/account", {}))[0] == 400
    await place(ready, order(orderType="MKT", price=None, acctId="DU7654321", cOID="other"))
    await gateway.truth.wait_for("fill", timeout=10, order_ref="other")
    assert await ready.ok("GET", f"portfolio/{ACCOUNT}/positions/0") == []
    assert len(await ready.ok("GET", "portfolio/DU7654321/positions/0")) == 1
    await place(ready, order(cOID="mine"))
    await place(ready, order(cOID="theirs", acctId="DU7654321"))
    await ready.ok("DELETE", "iserver/account/DU7654321/order/-1")
    await gateway.truth.wait_for("cancelled", timeout=10, order_ref="theirs")
    assert [view.ticket.order_ref for view in gateway.exchange.open_orders(None)] == ["mine"]


async def test_pages_of_strangers_cannot_use_a_browser_of_this_machine(ready: Http) -> None:
    url = f"{ready.url}iserver/account/{ACCOUNT}/orders"
    for origin, expected in (("http://evil.example", 403), ("null", 403), ("http://127.0.0.1:5000", 400)):
        async with ready._session.post(url, data=b"[]", headers={"Origin": origin}) as response:
            assert response.status == expected
