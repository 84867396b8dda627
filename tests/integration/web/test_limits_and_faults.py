"""Limits, and one fault plan for both fronts: what a client sees, and what the truth log says of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ibkr_connector.paper import PaperGateway, PlanError, WebOptions
from ibkr_connector.paper.truth import TruthEntry
from ibkr_connector.paper.web.options import Limits

from .conftest import AAPL, ACCOUNT, Http, in_thread, order, place

aiohttp = pytest.importorskip("aiohttp", reason="needs the extra paper-web")
pytest.importorskip("cryptography", reason="needs the extra paper-web")

ORDERS = f"iserver/account/{ACCOUNT}/orders"
LOST = (aiohttp.ServerDisconnectedError, aiohttp.ClientConnectionError, ConnectionError)


def refs(gateway: PaperGateway, kind: str) -> list[object]:
    return [entry.fields["order_ref"] for entry in gateway.truth.of(kind)]


def writes(gateway: PaperGateway, ref: str) -> int:
    """How often a client wrote a new order with this cOID, whatever became of it."""
    sent = gateway.truth.of("http", request="place_order")
    return sum(1 for entry in sent if entry.fields["order_refs"] == [ref])


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("web_options", [WebOptions()], ids=["default limits"])
async def test_the_global_limit_leads_into_the_penalty_box(http: Http) -> None:
    answers = await asyncio.gather(*(http("GET", "iserver/accounts") for _ in range(11)))
    assert sorted(status for status, _ in answers) == [200] * 10 + [429]
    # The box holds whatever is asked.
    assert (await http("GET", "portfolio/accounts"))[0] == 429


@pytest.mark.parametrize(
    "web_options", [WebOptions(limits=Limits(gateway_per_second=10_000, penalty=0.0))], ids=["endpoints"]
)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "iserver/account/orders", None),
        ("GET", "iserver/account/trades", None),
        ("GET", "iserver/account/pnl/partitioned", None),
        ("GET", "portfolio/accounts", None),
        ("GET", "iserver/scanner/params", None),
        ("POST", "pa/performance", {"acctIds": [ACCOUNT], "period": "1M"}),
        ("POST", "tickle", None),
        ("GET", "sso/validate", None),
    ],
)
async def test_endpoints_have_limits_of_their_own_without_a_box(http: Http, method: str, path: str, body: Any) -> None:
    assert (await http(method, path, body))[0] == 200
    assert (await http(method, path, body))[0] == 429
    assert (await http("GET", "iserver/accounts"))[0] == 200


@pytest.mark.parametrize(
    "web_options",
    [WebOptions(limits=Limits(gateway_per_second=10_000), history_latency=0.3)],
    ids=["history"],
)
async def test_five_histories_at_once_and_no_more(ready: Http) -> None:
    path = f"iserver/marketdata/history?conid={AAPL}&period=1d&bar=1h"
    answers = await asyncio.gather(*(ready("GET", path) for _ in range(6)))
    assert sorted(status for status, _ in answers) == [200] * 5 + [429]
    assert (await ready("GET", path))[0] == 200


# --- faults ----------------------------------------------------------------------------------------------------------


async def test_one_plan_drives_both_fronts(ready: Http, gateway: PaperGateway, tws_client: Any) -> None:
    ib, library = tws_client
    gateway.inject("reject", on="place_order", times=2, text="Order rejected - reason:not today")
    assert await place(ready, order(cOID="w")) == {"error": "not today"}
    trade = ib.placeOrder(
        library.Contract(conId=AAPL, exchange="SMART"), library.LimitOrder("BUY", 1, 90, orderRef="t")
    )
    await gateway.truth.wait_for("rejected", timeout=10, order_ref="t")
    assert [entry.fields["front"] for entry in gateway.truth.of("fault")] == ["web", "tws"]
    async with asyncio.timeout(10):
        # The library tells of it in its own time.
        while not trade.isDone():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_fault_for_one_front_leaves_the_other_alone(
    ready: Http, gateway: PaperGateway, tws_client: Any
) -> None:
    ib, library = tws_client
    gateway.inject("reject", on="place_order", front="web", times=0)
    ib.placeOrder(library.Contract(conId=AAPL, exchange="SMART"), library.LimitOrder("BUY", 1, 90, orderRef="t"))
    await gateway.truth.wait_for("accepted", timeout=10, order_ref="t")
    assert "error" in await place(ready, order(cOID="w"))


async def test_a_lost_request_never_reaches_the_exchange(ready: Http, gateway: PaperGateway) -> None:
    gateway.inject("drop_connection", on="place_order", front="web")
    with pytest.raises(LOST):
        await place(ready, order(cOID="lost"))
    assert (writes(gateway, "lost"), refs(gateway, "recv_place")) == (1, [])
    [fault] = gateway.truth.of("fault")
    assert (fault.fields["front"], fault.fields["order_ref"], fault.fields["phase"]) == ("web", "lost", "new")
    assert "order_id" in (await place(ready, order(cOID="lost")))[0]


@pytest.mark.parametrize("kind", ["reset_after_write", "http_error_after", "swallow_reply"])
async def test_an_order_whose_answer_is_lost_works_at_the_exchange(
    ready: Http, gateway: PaperGateway, kind: str
) -> None:
    keys = {"for_": 0.1} if kind == "swallow_reply" else {}
    gateway.inject(kind, on="place_order", **keys)
    if kind == "http_error_after":
        assert (await ready("POST", ORDERS, {"orders": [order(cOID="in doubt")]}))[0] == 503
    else:
        with pytest.raises(LOST):
            await place(ready, order(cOID="in doubt"))
    assert refs(gateway, "accepted") == ["in doubt"]
    again = await place(ready, order(cOID="in doubt"))
    assert "already registered" in again["error"]
    assert (writes(gateway, "in doubt"), refs(gateway, "accepted")) == (2, ["in doubt"])


async def test_a_list_of_live_orders_that_is_no_snapshot_is_empty(ready: Http, gateway: PaperGateway) -> None:
    await ready.ok("GET", "iserver/account/orders")
    await place(ready, order(cOID="there"))
    gateway.inject("missing_end", on="open_orders")
    assert await ready.ok("GET", "iserver/account/orders") == {"orders": [], "snapshot": False}
    told = await ready.ok("GET", "iserver/account/orders")
    assert told["snapshot"] is True
    assert [row["order_ref"] for row in told["orders"]] == ["there"]


async def test_an_answer_that_is_there_after_its_fault_is_over_hangs_nobody(ready: Http, gateway: PaperGateway) -> None:
    gateway.inject("swallow_reply", on="place_order", for_=60.0)
    carried_out = gateway.truth.record

    def ends_first(kind: str, /, **fields: Any) -> TruthEntry:
        if kind == "accepted":
            gateway.faults.clear()
        return carried_out(kind, **fields)

    gateway.truth.record = ends_first  # type: ignore[method-assign]
    with pytest.raises(LOST):
        await place(ready, order(cOID="late"))
    assert refs(gateway, "accepted") == ["late"]


async def test_ibind_sends_an_order_again_and_the_log_counts_it(gateway: PaperGateway, ready: Http) -> None:
    from ibind import IbkrClient, OrderRequest

    gateway.inject("swallow_reply", on="place_order", times=0, for_=30.0)
    client = IbkrClient(
        account_id=ACCOUNT, url=gateway.web.url, auto_register_shutdown=False, max_retries=2, timeout=0.5
    )
    request = OrderRequest(conid=AAPL, side="BUY", quantity=1, order_type="LMT", price=90, coid="r", acct_id=ACCOUNT)
    with pytest.raises(TimeoutError):
        await in_thread(lambda: client.place_order(request, {}))
    client.close_session()
    assert writes(gateway, "r") == 3
    assert refs(gateway, "accepted") == ["r"]


@pytest.mark.parametrize(("kind", "sent"), [("drop_connection", []), ("reset_after_write", ["r"])])
async def test_an_answer_can_be_lost_or_its_answer(
    ready: Http, gateway: PaperGateway, kind: str, sent: list[str]
) -> None:
    [question] = await ready.ok("POST", ORDERS, {"orders": [order(quantity=501, cOID="r")]})
    gateway.inject(kind, on="reply")
    with pytest.raises(LOST):
        await ready("POST", f"iserver/reply/{question['id']}", {"confirmed": True})
    assert refs(gateway, "accepted") == sent
    [write] = gateway.truth.of("http", request="reply")
    assert write.fields["order_refs"] == ["r"]
    [fault] = gateway.truth.of("fault")
    assert fault.fields["order_ref"] == "r"
    # The question is still open, or was answered: nothing in between.
    assert (await ready("POST", f"iserver/reply/{question['id']}", {"confirmed": True}))[0] == (400 if sent else 200)
    assert refs(gateway, "accepted") == ["r"]


async def test_a_duplicated_request_is_carried_out_twice_and_refused_once(ready: Http, gateway: PaperGateway) -> None:
    gateway.inject("duplicate_request", on="place_order")
    answer = await place(ready, order(cOID="d"))
    assert "already registered" in answer["error"]
    assert (writes(gateway, "d"), refs(gateway, "recv_place"), refs(gateway, "accepted")) == (1, ["d", "d"], ["d"])


async def test_without_an_id_a_duplicated_request_is_two_orders(ready: Http, gateway: PaperGateway) -> None:
    gateway.inject("duplicate_request", on="place_order")
    await place(ready, order())
    assert len(gateway.truth.of("accepted")) == 2


@pytest.mark.parametrize("code", [401, 410, 429, 500, 503])
async def test_a_status_is_answered_and_nothing_happens(ready: Http, gateway: PaperGateway, code: int) -> None:
    gateway.inject("http_error", on="place_order", code=code)
    assert (await ready("POST", ORDERS, {"orders": [order(cOID="x")]}))[0] == code
    assert gateway.truth.of("recv_place") == []


async def test_errors_for_a_while_hit_every_request_until_they_are_cleared(ready: Http, gateway: PaperGateway) -> None:
    gateway.inject("http_error", code=503, for_=600.0)
    assert [(await ready("GET", path))[0] for path in ("iserver/accounts", "portfolio/accounts")] == [503, 503]
    gateway.faults.clear()
    assert (await ready("GET", "iserver/accounts"))[0] == 200


async def test_slow_answers_come_late_but_come(ready: Http, gateway: PaperGateway) -> None:
    gateway.inject("slow", front="web", for_=600.0, delay=0.2)
    before = gateway.clock.wire()
    await ready.ok("GET", "iserver/accounts")
    assert gateway.clock.wire() - before >= 0.2


async def test_a_swallowed_request_hangs_until_the_fault_ends(ready: Http, gateway: PaperGateway) -> None:
    gateway.inject("swallow_request", on="accounts", for_=0.1)
    with pytest.raises(LOST):
        await ready("GET", "iserver/accounts")
    await ready.ok("GET", "iserver/accounts")


async def test_a_closed_port_opens_again(ready: Http, gateway: PaperGateway) -> None:
    gateway.inject("refuse", front="web", for_=0.2)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(gateway.web.url + "iserver/accounts")
    await gateway.truth.wait_for("fault_end", timeout=10)
    async with asyncio.timeout(10), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(gateway.web.url + "iserver/accounts") as response:
                    assert response.status == 200
                    break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.01)


async def test_a_restart_forgets_requests_and_keeps_orders(ready: Http, gateway: PaperGateway) -> None:
    await place(ready, order(cOID="kept"))
    before = (await ready.ok("POST", "tickle"))["session"]
    gateway.inject("restart", for_=0.1)
    await gateway.truth.wait_for("fault_end", timeout=10)
    after = ""
    async with asyncio.timeout(10):
        while not after:
            try:
                after = (await ready.ok("POST", "tickle"))["session"]
            except LOST:
                await asyncio.sleep(0.01)
    assert after != before
    assert (await ready("GET", f"portfolio/{ACCOUNT}/ledger"))[0] == 400
    assert await ready.ok("GET", "iserver/account/orders") == {"orders": [], "snapshot": False}
    [row] = (await ready.ok("GET", "iserver/account/orders"))["orders"]
    assert row["order_ref"] == "kept"


async def test_over_a_cut_link_there_is_no_bridge_and_orders_wait(ready: Http, gateway: PaperGateway) -> None:
    gateway.inject("error", code=1100)
    status = await ready.ok("POST", "iserver/auth/status")
    assert (status["authenticated"], status["connected"]) == (False, False)
    con_id = order()["conid"]
    needs_servers = (
        "iserver/account/orders",
        f"iserver/marketdata/history?conid={con_id}&period=1d&bar=1h",
        f"iserver/marketdata/snapshot?conids={con_id}&fields=31",
        f"iserver/contract/{con_id}/info",
        "iserver/secdef/search?symbol=SPY",
    )
    for path in needs_servers:
        assert await ready("GET", path) == (400, {"error": "Bad Request: no bridge", "statusCode": 400}), path
    assert (await ready("POST", ORDERS, {"orders": [order(cOID="held back")]}))[0] == 503
    assert gateway.truth.of("withheld")
    assert not gateway.truth.of("accepted")
    gateway.faults.clear()
    await gateway.truth.wait_for("accepted", timeout=10, order_ref="held back")


async def test_a_lost_bridge_comes_back_with_init(ready: Http, gateway: PaperGateway) -> None:
    gateway.inject("brokerage_lost")
    status, body = await ready("GET", "iserver/accounts")
    assert (status, body["error"]) == (400, "Bad Request: no bridge")
    await ready.ok("POST", "iserver/auth/ssodh/init", {"publish": True, "compete": True})
    await ready.ok("GET", "iserver/accounts")


async def test_a_forked_change_is_two_orders(ready: Http, gateway: PaperGateway) -> None:
    [placed] = await place(ready, order(cOID="f"))
    gateway.inject("fork_on_modify", front="web")
    await ready.ok("POST", f"iserver/account/{ACCOUNT}/order/{placed['order_id']}", order(price=101))
    [entry] = gateway.truth.of("forked")
    assert entry.fields["first_perm_id"] == int(placed["order_id"])


async def test_stale_quotes_stand_still_in_snapshots(ready: Http, gateway: PaperGateway) -> None:
    path = f"iserver/marketdata/snapshot?conids={AAPL}&fields=31,84,86,7762"
    await ready.ok("GET", path)
    [before] = await ready.ok("GET", path)
    gateway.inject("stale", symbol="AAPL", for_=600.0)
    gateway.jump(gateway.clock.now().replace(hour=18))
    [after] = await ready.ok("GET", path)
    assert {name: after[name] for name in ("31", "84", "86", "7762")} == {
        name: before[name] for name in ("31", "84", "86", "7762")
    }
    gateway.faults.clear()
    assert (await ready.ok("GET", path))[0]["7762"] != before["7762"]


async def test_websockets_fall_silent_and_speak_again(ready: Http, gateway: PaperGateway) -> None:
    async with ready._session.ws_connect(gateway.web.url + "ws") as socket:
        for _ in range(3):
            await socket.receive_json()
        gateway.inject("websocket_silent", for_=600.0)
        gateway.web.bulletin("unheard")
        gateway.faults.clear()
        gateway.web.bulletin("heard")
        assert (await socket.receive_json())["args"]["message"] == "heard"
        gateway.inject("duplicate_reply", front="web", count=1)
        gateway.web.bulletin("twice")
        assert [(await socket.receive_json())["args"]["message"] for _ in range(2)] == ["twice", "twice"]


async def test_websockets_are_closed_and_can_be_opened_again(ready: Http, gateway: PaperGateway) -> None:
    async with ready._session.ws_connect(gateway.web.url + "ws") as socket:
        await socket.receive_json()
        gateway.inject("websocket_close")
        async with asyncio.timeout(10):
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                continue
    async with ready._session.ws_connect(gateway.web.url + "ws") as socket:
        assert (await socket.receive_json())["topic"] == "system"


async def test_a_websocket_can_be_refused(ready: Http, gateway: PaperGateway) -> None:
    gateway.inject("http_error", on="web_socket", code=503)
    with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
        await ready._session.ws_connect(gateway.web.url + "ws")


async def test_closing_the_gateway_ends_what_hangs(web_options: WebOptions) -> None:
    gateway = PaperGateway(tws_port=0, web_port=0, seed=7, web=web_options)
    async with aiohttp.ClientSession() as session:
        async with gateway:
            gateway.inject("swallow_request", on="accounts", for_=600.0)
            asked = asyncio.create_task(Http(session, gateway.web.url)("GET", "iserver/accounts"))
            await gateway.truth.wait_for("fault", timeout=10)
        with pytest.raises(LOST):
            await asked


async def test_a_fault_of_the_web_front_needs_one() -> None:
    async with PaperGateway(tws_port=0, seed=7) as gateway:
        with pytest.raises(PlanError, match="--web-port"):
            gateway.inject("http_error")
        with pytest.raises(RuntimeError, match="web_port"):
            gateway.web


async def test_plans_can_name_every_request_of_the_web_front(gateway: PaperGateway) -> None:
    from ibkr_connector.paper.faults.messages import WEB_REQUESTS, WEB_SOCKET

    names = {endpoint.name for endpoint in gateway.web.endpoints} | {"live_session_token", WEB_SOCKET}
    assert names == WEB_REQUESTS
