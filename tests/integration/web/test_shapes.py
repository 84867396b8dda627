"""Answers have the names and the types of real ones: recordings first, IBKR's document where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.paper import PaperGateway

from .conftest import AAPL, ACCOUNT, Http, order, place
from .shapes import OpenApi, body_of, differences

for name in ("aiohttp", "cryptography"):
    pytest.importorskip(name, reason="needs the extra paper-web")

A = ACCOUNT


async def stage(http: Http, gateway: PaperGateway) -> dict[str, str]:
    """A filled order, a working one, an open question, a watchlist, an alert, a device; names for paths."""
    await place(http, order(orderType="MKT", price=None, tif="DAY", cOID="filled"))
    await gateway.truth.wait_for("commission", timeout=10)
    [working] = await place(http, order(cOID="working"))
    filled = (await http.ok("GET", "iserver/account/trades"))[0]["order_id"]
    await http.ok("GET", "iserver/account/orders")
    await http.ok("GET", f"iserver/marketdata/snapshot?conids={AAPL}")
    rows = {"id": "99999", "name": "Mine", "rows": [{"C": AAPL}, {"H": ""}]}
    await http.ok("POST", "iserver/watchlist", rows)
    condition = {"type": 1, "conidex": f"{AAPL}@SMART", "operator": ">=", "triggerMethod": "0", "value": "1"}
    alert = {"alertName": "x", "alertMessage": "y", "alertRepeatable": 0, "toolId": 1, "conditions": [condition]}
    made = await http.ok("POST", f"iserver/account/{A}/alert", alert)
    device = {"deviceName": "n", "deviceId": "d", "uiName": "u", "enabled": True}
    await http.ok("POST", "fyi/deliveryoptions/device", device)
    await http.ok("GET", "iserver/account/pnl/partitioned")
    return {"filled": str(filled), "working": working["order_id"], "alert": str(made["order_id"])}


def requests(names: dict[str, str]) -> dict[str, tuple[str, str, Any]]:
    """Recording -> the request that gets the same answer here."""
    ordered = {"orders": [order()]}
    alert = {
        "alertName": "x",
        "conditions": [{"type": 1, "conidex": f"{AAPL}@SMART", "operator": ">=", "value": "1"}],
    }
    performance = {"acctIds": [A], "period": "1M"}
    transactions = {"acctIds": [A], "conids": [AAPL], "currency": "USD"}
    scan = {"instrument": "STK", "location": "STK.US.MAJOR", "type": "TOP_PERC_GAIN", "filter": []}
    snapshot = f"iserver/marketdata/snapshot?conids={AAPL}&fields=31,84,86,85,88,87,70,71,82,83"
    return {
        "Session/GET-auth-status.json": ("POST", "iserver/auth/status", None),
        "Session/POST-ssodh-init.json": ("POST", "iserver/auth/ssodh/init", {"publish": True, "compete": True}),
        "Session/POST-tickle.json": ("POST", "tickle", None),
        "Session/POST-suppress.json": ("POST", "iserver/questions/suppress", {"messageIds": ["o163"]}),
        "Session/POST-suppress-reset.json": ("POST", "iserver/questions/suppress/reset", None),
        "Accounts/GET-iserver-accounts.json": ("GET", "iserver/accounts", None),
        "Accounts/GET-account-summary.json": ("GET", f"iserver/account/{A}/summary", None),
        "Accounts/GET-account-summary-available-funds.json": (
            "GET", f"iserver/account/{A}/summary/available_funds", None),
        "Accounts/GET-account-summary-balances.json": ("GET", f"iserver/account/{A}/summary/balances", None),
        "Accounts/GET-account-summary-margins.json": ("GET", f"iserver/account/{A}/summary/margins", None),
        "Accounts/GET-account-summary-market-value.json": ("GET", f"iserver/account/{A}/summary/market_value", None),
        "Accounts/GET-search-dynamic-account.json": ("GET", "iserver/account/search/DU1", None),
        "Accounts/GET-signatures-and-owners.json": ("GET", f"acesws/{A}/signatures-and-owners", None),
        "Accounts/POST-set-dynamic-account.json": ("POST", "iserver/dynaccount", {"acctId": A}),
        "Accounts/POST-switch-account.json": ("POST", "iserver/account", {"acctId": A}),
        "Portfolio/GET-portfolio-accounts.json": ("GET", "portfolio/accounts", None),
        "Portfolio/GET-portfolio-subaccounts.json": ("GET", "portfolio/subaccounts", None),
        "Portfolio/GET-subaccounts2.json": ("GET", "portfolio/subaccounts2?page=0", None),
        "Portfolio/GET-portfolio-meta.json": ("GET", f"portfolio/{A}/meta", None),
        "Portfolio/GET-portfolio-summary.json": ("GET", f"portfolio/{A}/summary", None),
        "Portfolio/GET-portfolio-ledger.json": ("GET", f"portfolio/{A}/ledger", None),
        "Portfolio/GET-portfolio-allocation.json": ("GET", f"portfolio/{A}/allocation", None),
        "Portfolio/POST-portfolio-consolidated-allocation.json": ("POST", "portfolio/allocation", {"acctIds": [A]}),
        "Portfolio/GET-portfolio-positions-page0.json": ("GET", f"portfolio/{A}/positions/0", None),
        "Portfolio/GET-portfolio-positions-empty.json": ("GET", f"portfolio/{A}/positions/999", None),
        "Portfolio/GET-portfolio-position-by-conid.json": ("GET", f"portfolio/{A}/position/{AAPL}", None),
        "Portfolio/GET-portfolio2-positions.json": ("GET", f"portfolio2/{A}/positions", None),
        "Portfolio/GET-portfolio-combo-positions-empty.json": ("GET", f"portfolio/{A}/combo/positions", None),
        "Portfolio/POST-portfolio-invalidate.json": ("POST", f"portfolio/{A}/positions/invalidate", None),
        "Portfolio/GET-iserver-account-pnl-partitioned.json": ("GET", "iserver/account/pnl/partitioned", None),
        "Portfolio/POST-pa-performance.json": ("POST", "pa/performance", performance),
        "Portfolio/POST-pa-transactions.json": ("POST", "pa/transactions", transactions),
        "Contracts/GET-secdef-search.json": ("GET", "iserver/secdef/search?symbol=ES", None),
        "Contracts/POST-contract-rules.json": ("POST", "iserver/contract/rules", {"conid": AAPL, "isBuy": True}),
        "Contracts/GET-trsrv-futures.json": ("GET", "trsrv/futures?symbols=ES", None),
        "Contracts/GET-trsrv-stocks.json": ("GET", "trsrv/stocks?symbols=AAPL", None),
        "Contracts/GET-trsrv-secdef.json": ("GET", f"trsrv/secdef?conids={AAPL}", None),
        "Contracts/GET-trsrv-all-conids.json": ("GET", "trsrv/all-conids?exchange=NASDAQ", None),
        "Contracts/GET-contract-info.json": ("GET", f"iserver/contract/{AAPL}/info", None),
        "Contracts/GET-contract-info-and-rules.json": ("GET", f"iserver/contract/{AAPL}/info-and-rules", None),
        "Contracts/GET-currency-pairs.json": ("GET", "iserver/currency/pairs?currency=USD", None),
        "Contracts/GET-exchangerate.json": ("GET", "iserver/exchangerate?source=EUR&target=USD", None),
        "MarketData/GET-history.json": (
            "GET", f"iserver/marketdata/history?conid={AAPL}&period=1d&bar=1min&outsideRth=False", None),
        "MarketData/GET-snapshot.json": ("GET", snapshot, None),
        "MarketData/GET-scanner-params.json": ("GET", "iserver/scanner/params", None),
        "MarketData/POST-scanner-run.json": ("POST", "iserver/scanner/run", scan),
        "MarketData/POST-unsubscribe.json": ("POST", "iserver/marketdata/unsubscribe", {"conid": AAPL}),
        "MarketData/GET-unsubscribeall.json": ("GET", "iserver/marketdata/unsubscribeall", None),
        "Scanner/GET-scanner-params.json": ("GET", "iserver/scanner/params", None),
        "Scanner/POST-scanner-run.json": ("POST", "iserver/scanner/run", scan),
        "Orders/GET-live-orders.json": ("GET", "iserver/account/orders?filters=filled", None),
        "Orders/GET-live-orders-empty.json": ("GET", "iserver/account/orders?force=true", None),
        "Orders/GET-order-status.json": ("GET", f"iserver/account/order/status/{names['filled']}", None),
        "Orders/GET-trades.json": ("GET", "iserver/account/trades", None),
        "Orders/POST-whatif-order.json": ("POST", f"iserver/account/{A}/orders/whatif", ordered),
        "Orders/POST-place-order-submitted.json": ("POST", f"iserver/account/{A}/orders", ordered),
        "Orders/POST-place-order-confirmation.json": (
            "POST", f"iserver/account/{A}/orders", {"orders": [order(quantity=501)]}),
        "Orders/POST-modify-order-submitted.json": (
            "POST", f"iserver/account/{A}/order/{names['working']}", order(price=99)),
        "Orders/DELETE-cancel-order.json": ("DELETE", f"iserver/account/{A}/order/{names['working']}", None),
        "Orders/POST-dismiss-notification.json": ("POST", "iserver/notification", {"orderId": 1, "reqId": "1"}),
        "Alerts/GET-alerts-list.json": ("GET", f"iserver/account/{A}/alerts", None),
        "Alerts/GET-alert-detail.json": ("GET", f"iserver/account/alert/{names['alert']}", None),
        "Alerts/POST-create-alert.json": ("POST", f"iserver/account/{A}/alert", alert),
        "Alerts/POST-activate-alert.json": (
            "POST", f"iserver/account/{A}/alert/activate", {"alertId": int(names["alert"]), "alertActive": 1}),
        "Alerts/DELETE-alert.json": ("DELETE", f"iserver/account/{A}/alert/{names['alert']}", None),
        "Watchlists/GET-watchlists.json": ("GET", "iserver/watchlists?SC=USER_WATCHLIST", None),
        "Watchlists/GET-watchlist-by-id.json": ("GET", "iserver/watchlist?id=99999", None),
        "Watchlists/POST-create-watchlist.json": (
            "POST", "iserver/watchlist", {"id": "1", "name": "n", "rows": [{"C": AAPL}]}),
        "Watchlists/DELETE-watchlist.json": ("DELETE", "iserver/watchlist?id=99999", None),
        "Fyi/GET-unread-count.json": ("GET", "fyi/unreadnumber", None),
        "Fyi/GET-settings.json": ("GET", "fyi/settings", None),
        "Fyi/POST-update-setting.json": ("POST", "fyi/settings/BA", {"enabled": True}),
        "Fyi/GET-disclaimer.json": ("GET", "fyi/disclaimer/BA", None),
        "Fyi/PUT-mark-disclaimer-read.json": ("PUT", "fyi/disclaimer/BA", None),
        "Fyi/GET-delivery-options.json": ("GET", "fyi/deliveryoptions", None),
        "Fyi/PUT-set-email-delivery.json": ("PUT", "fyi/deliveryoptions/email?enabled=true", None),
        "Fyi/POST-register-device.json": (
            "POST", "fyi/deliveryoptions/device", {"deviceId": "e", "deviceName": "n", "uiName": "u", "enabled": True}),
        "Fyi/DELETE-device.json": ("DELETE", "fyi/deliveryoptions/d", None),
        "Fyi/PUT-mark-notification-read.json": ("PUT", "fyi/notifications/1", None),
    }  # fmt: skip


KNOWN = {
    # A synthetic recording, unlike the documentation and real answers (B and S, price as a text).
    "Orders/GET-trades.json": {"[]/price"},
    # Names of sectors and groups are data.
    "Portfolio/GET-portfolio-allocation.json": {"/sector/long/Others", "/group/long/Others"},
    "Portfolio/POST-portfolio-consolidated-allocation.json": {"/sector/long/Others", "/group/long/Others"},
}

KNOWN_CONFLICTS: dict[str, set[str]] = {}
"""Where an answer is unlike the document without a recording that is."""


@pytest.mark.shared
@pytest.mark.parametrize("name", sorted(requests({"filled": "0", "working": "0", "alert": "0"})))
async def test_an_answer_has_the_names_and_types_of_the_recording(
    name: str, ready: Http, gateway: PaperGateway, shared_dir: Path
) -> None:
    method, path, body = requests(await stage(ready, gateway))[name]
    answer = await ready.ok(method, path, body)
    recorded = body_of(shared_dir / "fixtures" / "web_api" / name, ACCOUNT)
    found = differences(recorded, answer)
    assert [each for each in found if not any(each.startswith(known) for known in KNOWN.get(name, ()))] == []


@pytest.mark.shared
async def test_no_answer_contradicts_the_document_except_where_recordings_do(
    ready: Http, gateway: PaperGateway, shared_dir: Path
) -> None:
    folder = shared_dir / "fixtures" / "web_api"
    document = OpenApi(folder / "openapi-v2.28.0.json")
    found: dict[str, set[str]] = {}
    looked_at = 0
    for name, (method, path, body) in requests(await stage(ready, gateway)).items():
        template = document.template(method, path.partition("?")[0])
        if method == "DELETE" or template is None:
            continue  # what deletes would take from the others what they ask for
        answer = await ready.ok(method, path, body)
        looked_at += 1
        schema = document.schema(method, template)
        recorded = set(document.conflicts(schema, body_of(folder / name, ACCOUNT)))
        found[name] = set(document.conflicts(schema, answer)) - recorded
    assert looked_at > 50
    assert {name: conflicts for name, conflicts in found.items() if conflicts} == KNOWN_CONFLICTS
