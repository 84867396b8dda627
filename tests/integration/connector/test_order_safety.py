"""An order that left the caller is accounted for: swallowed, unanswered, cut off, killed in between.

The judge is the gateway's truth: how often an order ref arrived, and what became of it.
"""

from __future__ import annotations

import asyncio

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import CancelInDoubt, OrderInDoubt, OrderNotSent
from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway
from support.connector import MakeConnector, arrived, link_reaches, reaches, settled
from support.proxy import PLACE_ORDER, Proxy, is_kind

SECONDS = 20.0
ANSWERS_ABOUT_ORDERS = is_kind("3", "5", "11", "59")


@pytest.fixture
async def through(proxy: Proxy, make: MakeConnector) -> IBKRConnector:
    """A connector whose traffic passes the man in the middle."""
    connector = make(proxy.port)
    await connector.connect()
    await connector.get_live_quote("AAPL")
    return connector


async def test_a_position_that_no_known_execution_explains_makes_the_executions_be_asked_for(
    make: MakeConnector, gateway: PaperGateway
) -> None:
    """Else a new snapshot would hold a fill that the order's reservation does not know: the limits would be wrong."""
    connector = make(gateway.tws_port, orders={"ack_timeout": 60.0, "order_deadline": 10.0})
    await connector.connect()
    await connector.get_live_quote("AAPL")
    gateway.inject("swallow_reply", on="place_order", for_=5.0)
    placing = asyncio.create_task(connector.place_market_order("AAPL", 10, "BUY", order_ref="silent-1"))
    await gateway.truth.wait_for("fill", timeout=10, order_ref="silent-1")
    order = await connector.get_order("silent-1")
    await reaches(order, lambda snapshot: snapshot.filled == 10)
    assert (await placing).filled_quantity == 10


async def test_order_that_never_arrives_is_in_doubt_then_settled_as_never_sent(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    proxy.swallow_requests = is_kind(PLACE_ORDER)
    with pytest.raises(OrderInDoubt) as caught:
        await through.place_limit_order("AAPL", 10, "BUY", 150, order_ref="lost-1")
    assert not isinstance(caught.value, OSError)
    assert [doubtful.order_ref for doubtful in through.orders_in_doubt()] == ["lost-1"]
    result = await settled(through, "lost-1")
    assert result.state is OrderState.NOT_SENT
    assert arrived(gateway, "lost-1") == 0
    assert through.get_connection_status()["epoch"] > 1  # absence is proven on a new connection only


async def test_lost_order_is_never_sent_again_whatever_the_caller_does(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    proxy.swallow_requests = is_kind(PLACE_ORDER)
    for _ in range(3):
        with pytest.raises(OrderInDoubt):
            await through.place_limit_order("AAPL", 10, "BUY", 150, order_ref="lost-2")
    assert proxy.swallowed == 1
    await settled(through, "lost-2")
    proxy.heal()
    with pytest.raises(OrderNotSent):
        await through.place_limit_order("AAPL", 10, "BUY", 150, order_ref="lost-2")
    assert arrived(gateway, "lost-2") == 0


async def test_unanswered_order_is_in_doubt_then_found_at_the_broker(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    proxy.swallow_answers = ANSWERS_ABOUT_ORDERS
    with pytest.raises(OrderInDoubt):
        await through.place_limit_order("AAPL", 10, "BUY", 150, order_ref="mute-1")
    assert arrived(gateway, "mute-1") == 1
    proxy.heal()
    result = await settled(through, "mute-1")
    assert result.state is OrderState.WORKING
    assert result.perm_id > 0
    assert (await through.cancel_order("mute-1")).state is OrderState.CANCELLED


async def test_connection_cut_right_after_the_write_loses_nothing(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    proxy.cut_after_request = is_kind(PLACE_ORDER)
    with pytest.raises(OrderInDoubt):
        await through.place_market_order("AAPL", 10, "BUY", order_ref="cut-1")
    proxy.heal()
    result = await settled(through, "cut-1")
    assert arrived(gateway, "cut-1") == 1
    filled = await (await through.get_order("cut-1")).filled(SECONDS)
    assert result.order_ref == "cut-1"
    assert filled.filled == 10


async def test_connection_cut_right_before_the_write_sends_nothing_and_says_so(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    proxy.cut_before_request = is_kind(PLACE_ORDER)
    with pytest.raises(OrderInDoubt):
        await through.place_limit_order("AAPL", 10, "BUY", 150, order_ref="cut-2")
    proxy.heal()
    assert (await settled(through, "cut-2")).state is OrderState.NOT_SENT
    assert arrived(gateway, "cut-2") == 0


async def test_fill_during_an_outage_is_known_after_the_reconnect(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    quote = await through.get_live_quote("AAPL")
    assert quote.ask is not None
    proxy.swallow_answers = is_kind("11", "59", "3")
    order = await through.place_limit_order("AAPL", 10, "BUY", round(quote.ask + 1, 2), order_ref="out-1")
    await gateway.truth.wait_for("fill", timeout=SECONDS, order_ref="out-1")
    assert order.filled_quantity == 0
    proxy.heal()
    proxy.cut()
    done = await order.filled(SECONDS)
    assert done.filled == 10
    await through.ready(SECONDS)
    assert [p.quantity for p in await through.get_positions(refresh=True)] == [10]


async def test_no_order_is_written_while_the_connection_is_down(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    async with link_reaches(through, "reconnecting"):
        proxy.refuse = True
        proxy.cut()
    with pytest.raises(OrderNotSent):
        await through.place_limit_order("AAPL", 10, "BUY", 150, order_ref="down-1")
    proxy.heal()
    await through.ready(SECONDS)
    order = await through.place_limit_order("AAPL", 10, "BUY", 150, order_ref="down-1")
    assert order.state is OrderState.WORKING
    assert arrived(gateway, "down-1") == 1


async def test_cancel_that_is_not_answered_is_in_doubt_and_settles(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    order = await through.place_limit_order("AAPL", 10, "BUY", 150)
    proxy.swallow_answers = is_kind("3", "4", "5")
    with pytest.raises(CancelInDoubt):
        await through.cancel_order(order, timeout=0.5)
    await gateway.truth.wait_for("cancelled", timeout=SECONDS, order_id=order.order_id)
    proxy.heal()
    assert (await order.done(SECONDS)).state is OrderState.CANCELLED


async def test_cancel_during_an_outage_is_sent_after_the_reconnect(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    order = await through.place_limit_order("AAPL", 10, "BUY", 150)
    async with link_reaches(through, "reconnecting"):
        proxy.refuse = True
        proxy.cut()
    cancelling = asyncio.create_task(through.cancel_order(order, timeout=SECONDS))
    await asyncio.sleep(0)
    proxy.heal()
    assert (await cancelling).state is OrderState.CANCELLED
    assert gateway.truth.of("cancelled")


async def test_caller_that_gives_up_after_the_commit_leaves_the_order_alive(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    proxy.swallow_answers = ANSWERS_ABOUT_ORDERS
    placing = asyncio.create_task(through.place_limit_order("AAPL", 10, "BUY", 150, order_ref="left-1"))
    await gateway.truth.wait_for("recv_place", timeout=SECONDS, order_ref="left-1")
    placing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await placing
    proxy.heal()
    result = await settled(through, "left-1")
    assert result.state in (OrderState.WORKING, OrderState.IN_DOUBT, OrderState.SENDING)
    assert arrived(gateway, "left-1") == 1


async def test_order_ids_rise_across_restarts_even_when_the_gateway_forgets(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    first = make(gateway.tws_port)
    await first.connect()
    before = await first.place_limit_order("AAPL", 10, "BUY", 150)
    await first.close()
    second = make(gateway.tws_port)
    await second.connect()
    known = await second.get_order(before.ref)
    assert known.state is OrderState.WORKING
    after = await second.place_limit_order("AAPL", 10, "BUY", 150)
    assert after.order_id > before.order_id
    assert (await known.cancel()).state is OrderState.CANCELLED
