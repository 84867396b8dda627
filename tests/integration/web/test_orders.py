"""Orders over the Web API: questions, brackets, groups, changes, cancels; one exchange with the TWS front."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ibkr_connector.paper import PaperGateway, WebOptions
from ibkr_connector.paper.web.options import Precautions

from .conftest import AAPL, ACCOUNT, Http, in_thread, order, place

for name in ("aiohttp", "cryptography"):
    pytest.importorskip(name, reason="needs the extra paper-web")

ORDERS = f"iserver/account/{ACCOUNT}/orders"


async def live(http: Http, **query: Any) -> list[dict[str, Any]]:
    """The live orders; the first request in a session has none."""
    answer = await http.ok("GET", "iserver/account/orders", **query)
    if not answer["snapshot"]:
        answer = await http.ok("GET", "iserver/account/orders", **query)
    orders: list[dict[str, Any]] = answer["orders"]
    return orders


async def test_ibind_places_changes_and_cancels_an_order(client: Any, gateway: PaperGateway) -> None:
    from ibind import OrderRequest, QuestionType

    await in_thread(client.receive_brokerage_accounts)
    request = OrderRequest(
        conid=AAPL, side="SELL", quantity=5, order_type="STP", price=100, coid="mine", acct_id=ACCOUNT
    )
    yes = {QuestionType.STOP_ORDER_RISKS: True}
    placed = (await in_thread(lambda: client.place_order(request, yes))).data
    assert (placed["order_status"], placed["local_order_id"]) == ("PreSubmitted", "mine")
    changed = OrderRequest(conid=AAPL, side="SELL", quantity=4, order_type="STP", price=101, acct_id=ACCOUNT)
    await in_thread(lambda: client.modify_order(placed["order_id"], changed, yes))
    await gateway.truth.wait_for("modified", timeout=10, order_ref="mine")
    status = (await in_thread(lambda: client.order_status(placed["order_id"]))).data
    assert (status["total_size"], status["order_status"]) == ("4.0", "PreSubmitted")
    assert (await in_thread(lambda: client.live_orders())).data == {"orders": [], "snapshot": False}
    [shown] = (await in_thread(lambda: client.live_orders())).data["orders"]
    assert (shown["orderId"], shown["order_ref"]) == (int(placed["order_id"]), "mine")
    gone = (await in_thread(lambda: client.cancel_order(placed["order_id"]))).data
    assert gone["msg"] == "Request was submitted"
    await gateway.truth.wait_for("cancelled", timeout=10, order_ref="mine")
    [received] = gateway.truth.of("recv_place", order_ref="mine")
    assert received.fields["source"] == "web"
    assert [entry.fields["confirmed"] for entry in gateway.truth.of("recv_reply")] == [True, True]


async def test_a_market_order_fills_and_becomes_a_trade_and_a_position(ready: Http, gateway: PaperGateway) -> None:
    [answer] = await place(ready, order(orderType="MKT", price=None, tif="DAY", cOID="m1"))
    await gateway.truth.wait_for("commission", timeout=10)
    [trade] = await ready.ok("GET", "iserver/account/trades/")
    assert (trade["side"], trade["size"], trade["order_ref"]) == ("B", 5.0, "m1")
    assert str(trade["order_id"]) == answer["order_id"]
    assert isinstance(trade["price"], str)
    assert trade["commission"] == "1.00"
    [position] = await ready.ok("GET", f"portfolio/{ACCOUNT}/positions/0")
    assert (position["conid"], position["position"]) == (AAPL, 5.0)
    assert "ticker" not in position
    [later] = await ready.ok("GET", f"portfolio/{ACCOUNT}/positions/0")
    assert later["ticker"] == "AAPL"
    [done] = await live(ready, filters="filled")
    assert (done["status"], done["sizeAndFills"]) == ("Filled", "5")


async def test_positions_are_cached_until_invalidated(ready: Http, gateway: PaperGateway) -> None:
    assert await ready.ok("GET", f"portfolio/{ACCOUNT}/positions/0") == []
    await place(ready, order(orderType="MKT", price=None))
    await gateway.truth.wait_for("fill", timeout=10)
    assert await ready.ok("GET", f"portfolio/{ACCOUNT}/positions/0") == []
    assert len(await ready.ok("GET", f"portfolio2/{ACCOUNT}/positions")) == 1
    assert await ready.ok("POST", f"portfolio/{ACCOUNT}/positions/invalidate") == {"message": "success"}
    assert len(await ready.ok("GET", f"portfolio/{ACCOUNT}/positions/0")) == 1


async def test_questions_chain_and_the_order_waits_for_the_last_answer(ready: Http, gateway: PaperGateway) -> None:
    body = {"orders": [order(price=300, quantity=1000, cOID="q")]}
    [first] = await ready.ok("POST", ORDERS, body)
    assert first["messageIds"] == ["o163"]
    assert "Percentage constraint of 3%" in first["message"][0]
    assert (first["isSuppressed"], first["messageOptions"]) == (False, ["Yes", "No"])
    [second] = await ready.ok("POST", f"iserver/reply/{first['id']}", {"confirmed": True})
    assert second["messageIds"] == ["o383"]
    [third] = await ready.ok("POST", f"iserver/reply/{second['id']}", {"confirmed": True})
    assert third["messageIds"] == ["o451"]
    assert not gateway.truth.of("accepted")
    [taken] = await ready.ok("POST", f"iserver/reply/{third['id']}", {"confirmed": True})
    assert taken["local_order_id"] == "q"
    assert len(gateway.truth.of("recv_place", order_ref="q")) == 1


async def test_no_for_an_answer_means_no_order(ready: Http, gateway: PaperGateway) -> None:
    [question] = await ready.ok("POST", ORDERS, {"orders": [order(quantity=501, cOID="no")]})
    answer = await ready.ok("POST", f"iserver/reply/{question['id']}", {"confirmed": False})
    assert answer == {"error": "Order not confirmed "}
    assert gateway.truth.of("declined")
    assert await live(ready) == []
    # Nothing was sent under this id: it is free.
    assert "order_id" in (await place(ready, order(cOID="no")))[0]


async def test_another_order_makes_the_open_question_unanswerable(ready: Http, gateway: PaperGateway) -> None:
    [question] = await ready.ok("POST", ORDERS, {"orders": [order(quantity=501, cOID="first")]})
    await place(ready, order(cOID="second"))
    status, body = await ready("POST", f"iserver/reply/{question['id']}", {"confirmed": True})
    assert (status, body) == (400, {"error": f"reply id not found: '{question['id']}'"})
    assert [entry.fields["order_ref"] for entry in gateway.truth.of("accepted")] == ["second"]


async def test_an_answer_counts_once(ready: Http, gateway: PaperGateway) -> None:
    [question] = await ready.ok("POST", ORDERS, {"orders": [order(quantity=501, cOID="once")]})
    await ready.ok("POST", f"iserver/reply/{question['id']}", {"confirmed": True})
    assert (await ready("POST", f"iserver/reply/{question['id']}", {"confirmed": True}))[0] == 400
    assert len(gateway.truth.of("accepted", order_ref="once")) == 1


async def test_suppressed_questions_are_not_asked_until_they_are_reset(ready: Http) -> None:
    big = {"orders": [order(quantity=501)]}
    assert await ready.ok("POST", "iserver/questions/suppress", {"messageIds": ["o383"]}) == {"status": "submitted"}
    assert "order_id" in (await ready.ok("POST", ORDERS, big))[0]
    assert await ready.ok("POST", "iserver/questions/suppress/reset") == {"status": "submitted"}
    assert "message" in (await ready.ok("POST", ORDERS, big))[0]
    many = {"messageIds": [f"o{n}" for n in range(52)]}
    assert (await ready("POST", "iserver/questions/suppress", many))[0] == 500


async def test_the_same_order_id_is_refused_the_second_time(ready: Http, gateway: PaperGateway) -> None:
    await place(ready, order(cOID="twice"))
    answer = await place(ready, order(cOID="twice"))
    assert answer == {"error": "Order couldn't be submitted: Local order ID=twice is already registered."}
    assert len(gateway.truth.of("recv_place", order_ref="twice")) == 2
    assert len(gateway.truth.of("accepted", order_ref="twice")) == 1


async def test_a_bracket_is_one_request_and_its_children_wait_for_the_parent(
    ready: Http, gateway: PaperGateway
) -> None:
    answer = await place(
        ready,
        order(cOID="entry", price=100),
        order(cOID="target", parentId="entry", side="SELL", price=400),
        order(cOID="stop", parentId="entry", side="SELL", orderType="STP", price=50),
    )
    assert [each["local_order_id"] for each in answer] == ["entry", "target", "stop"]
    assert {each["parent_order_id"] for each in answer[1:]} == {answer[0]["order_id"]}
    assert len({each["oca_group_id"] for each in answer[1:]}) == 1
    rows = {row["order_ref"]: row for row in await live(ready)}
    assert rows["entry"]["status"] == "Submitted"
    assert rows["stop"]["status"] == "PreSubmitted"
    await ready.ok("DELETE", f"iserver/account/{ACCOUNT}/order/{answer[0]['order_id']}")
    for ref in ("entry", "target", "stop"):
        await gateway.truth.wait_for("cancelled", timeout=10, order_ref=ref)


async def test_a_bracket_may_be_written_in_any_order_and_a_child_may_come_later(
    ready: Http, gateway: PaperGateway
) -> None:
    answer = await place(
        ready, order(cOID="target", parentId="entry", side="SELL", price=400), order(cOID="entry", price=100)
    )
    assert [each["local_order_id"] for each in answer] == ["entry", "target"]
    await place(ready, order(cOID="later", parentId="entry", side="SELL", price=410))
    rows = {row["order_ref"]: row for row in await live(ready)}
    assert rows["later"]["status"] == "PreSubmitted"
    lost = await place(ready, order(cOID="orphan", parentId="nobody", side="SELL", price=410))
    assert lost == {"error": "Parent order nobody was not found."}
    assert len(gateway.truth.of("recv_place")) == 4


async def test_a_changed_type_drops_the_prices_it_does_not_use(ready: Http, gateway: PaperGateway) -> None:
    [placed] = await place(ready, order(cOID="c"))
    path = f"iserver/account/{ACCOUNT}/order/{placed['order_id']}"
    await ready.ok("POST", path, {"orderType": "MKT", "quantity": 5, "side": "BUY", "tif": "GTC", "conid": AAPL})
    fill = await gateway.truth.wait_for("fill", timeout=10, order_ref="c")
    assert fill.fields["quantity"] == 5
    assert await ready.ok("POST", path, {"quantity": 6}) == {"error": f"OrderID {placed['order_id']} doesn't exist"}


@pytest.mark.parametrize("changes", [{"side": "SELL"}, {"conid": 8314}, {"acctId": "DU9999999"}])
async def test_a_change_may_not_touch_what_makes_the_order(ready: Http, changes: dict[str, Any]) -> None:
    [placed] = await place(ready, order())
    path = f"iserver/account/{ACCOUNT}/order/{placed['order_id']}"
    assert (await ready("POST", path, order(**changes)))[0] == 400


async def test_of_a_group_one_fill_cancels_the_rest(ready: Http, gateway: PaperGateway) -> None:
    await place(
        ready,
        order(cOID="low", price=100, isSingleGroup=True),
        order(cOID="now", orderType="MKT", price=None, tif="DAY", isSingleGroup=True),
    )
    await gateway.truth.wait_for("fill", timeout=10, order_ref="now")
    await gateway.truth.wait_for("cancelled", timeout=10, order_ref="low")


async def test_unrelated_orders_in_one_request_are_refused(ready: Http, gateway: PaperGateway) -> None:
    status, body = await ready("POST", ORDERS, {"orders": [order(cOID="a"), order(cOID="b")]})
    assert status == 400
    assert "bracket" in body["error"]
    assert not gateway.truth.of("accepted")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"price": "100.001"}, "minimum price variation"),
        ({"quantity": 1_000_000_000, "orderType": "MKT", "price": None}, "unable to accept your order"),
        ({"conid": None, "conidex": "28812380;;;265598/1,8314/-1"}, "Combination"),
        ({"strategy": "Adaptive"}, "Algo"),
    ],
    ids=["off tick", "margin", "combo", "algo"],
)
async def test_a_refused_order_says_why_with_status_200(ready: Http, changes: dict[str, Any], words: str) -> None:
    answer = await place(ready, order(**changes))
    assert words.lower() in answer["error"].lower()


async def test_the_word_limit_is_a_server_error(ready: Http) -> None:
    assert (await ready("POST", ORDERS, {"orders": [order(orderType="LIMIT")]}))[0] == 500


async def test_what_if_tells_margin_and_changes_nothing(ready: Http, gateway: PaperGateway) -> None:
    answer = await ready.ok("POST", f"{ORDERS}/whatif", {"orders": [order(price=300)]})
    assert answer["amount"]["amount"] == "1,500.00 USD (5 Shares)"
    assert answer["initial"]["current"] == "0"
    assert answer["warn"].startswith("163/")
    assert answer["error"] is None
    assert not gateway.truth.of("recv_place")


async def test_orders_that_do_not_exist_cannot_be_changed_cancelled_or_asked_about(ready: Http) -> None:
    path = f"iserver/account/{ACCOUNT}/order/1"
    assert await ready.ok("DELETE", path) == {"error": "OrderID 1 doesn't exist"}
    assert await ready.ok("POST", path, order()) == {"error": "OrderID 1 doesn't exist"}
    assert (await ready("GET", "iserver/account/order/status/1"))[0] == 503


async def test_minus_one_cancels_everything(ready: Http, gateway: PaperGateway) -> None:
    for ref in ("a", "b"):
        await place(ready, order(cOID=ref))
    await ready.ok("DELETE", f"iserver/account/{ACCOUNT}/order/-1")
    for ref in ("a", "b"):
        await gateway.truth.wait_for("cancelled", timeout=10, order_ref=ref)


async def test_force_makes_the_next_list_fresh_and_filters_choose(ready: Http) -> None:
    await place(ready, order(cOID="one"))
    assert await ready.ok("GET", "iserver/account/orders") == {"orders": [], "snapshot": False}
    assert len((await ready.ok("GET", "iserver/account/orders"))["orders"]) == 1
    assert await ready.ok("GET", "iserver/account/orders", force="True") == {"orders": [], "snapshot": False}
    assert len((await ready.ok("GET", "iserver/account/orders"))["orders"]) == 1
    assert (await ready.ok("GET", "iserver/account/orders", filters="filled,cancelled"))["orders"] == []
    assert len((await ready.ok("GET", "iserver/account/orders", filters="submitted"))["orders"]) == 1


async def test_cash_quantity_becomes_shares(ready: Http, gateway: PaperGateway) -> None:
    await place(ready, order(orderType="MKT", price=None, quantity=None, cashQty=1000, tif="DAY", cOID="cash"))
    fill = await gateway.truth.wait_for("fill", timeout=10, order_ref="cash")
    price, quantity = (float(str(fill.fields[name])) for name in ("price", "quantity"))
    assert 900 < price * quantity <= 1001


@pytest.mark.parametrize(
    "web_options",
    [WebOptions(limits=None, precautions=Precautions(always=frozenset({"o10151", "o354", "p12"})))],
    ids=["asked for more"],
)
async def test_questions_can_be_asked_for(ready: Http) -> None:
    [first] = await ready.ok("POST", ORDERS, {"orders": [order(orderType="MKT", price=None)]})
    assert first["messageIds"] == ["o354"]
    [second] = await ready.ok("POST", f"iserver/reply/{first['id']}", {"confirmed": True})
    assert second["messageIds"] == ["o10151"]


async def test_an_order_placed_over_one_front_is_seen_over_the_other(
    ready: Http, gateway: PaperGateway, tws_client: Any
) -> None:
    ib, library = tws_client
    contract = library.Contract(conId=AAPL, exchange="SMART")
    trade = ib.placeOrder(contract, library.LimitOrder("BUY", 3, 90, orderRef="socket"))
    await gateway.truth.wait_for("accepted", timeout=10, order_ref="socket")
    await place(ready, order(cOID="web"))
    async with asyncio.timeout(10):
        opened = await ib.reqAllOpenOrdersAsync()
    ids = {each.order.orderRef: (each.order.clientId, each.order.orderId) for each in opened}
    assert ids["web"] == (0, 0)
    assert ids["socket"] == (1, trade.order.orderId)
    rows = {row["order_ref"]: row for row in await live(ready)}
    assert set(rows) == {"web", "socket"}
    await ready.ok("DELETE", f"iserver/account/{ACCOUNT}/order/{rows['socket']['orderId']}")
    await gateway.truth.wait_for("cancelled", timeout=10, order_ref="socket")
    [cancel] = gateway.truth.of("recv_cancel")
    assert cancel.fields["source"] == "web"
    ib.reqGlobalCancel()
    await gateway.truth.wait_for("cancelled", timeout=10, order_ref="web")


async def test_a_socket_client_cannot_cancel_a_web_order_by_the_number_the_exchange_gave_it(
    ready: Http, gateway: PaperGateway, tws_client: Any
) -> None:
    ib, _ = tws_client
    await place(ready, order(cOID="web"))
    async with asyncio.timeout(10):
        await ib.reqAllOpenOrdersAsync()
    [entry] = gateway.truth.of("accepted", order_ref="web")
    answered = asyncio.Event()
    ib.errorEvent += lambda _number, code, *_: answered.set() if code in {202, 10147} else None
    ib.client.send(4, 1, entry.fields["order_id"], "")
    await asyncio.wait_for(answered.wait(), 10)
    assert [row["status"] for row in await live(ready)] == ["Submitted"]
