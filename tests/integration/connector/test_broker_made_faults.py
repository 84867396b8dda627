"""What the broker or its gateway does wrong, injected at the gateway, seen through the connector.

The judge is the gateway: its truth log and its books.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import (
    ContractNotFound,
    ModifyInDoubt,
    OrderInDoubt,
    OrderNotSent,
    RiskRejected,
)
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.handle import Order
from ibkr_connector.paper import PaperGateway
from support.connector import MakeConnector, arrived, incident, link_reaches, reaches, settled
from support.proxy import Proxy, is_kind

SECONDS = 20.0
ANSWERS_ABOUT_ORDERS = is_kind("3", "5", "11", "59")


def working(gateway: PaperGateway, ref: str) -> list[Decimal]:
    """The quantities of the orders that work at the broker under a ref."""
    return sorted(o.ticket.quantity for o in gateway.exchange.open_orders(None) if o.ticket.order_ref == ref)


# --- a change becomes a second order (INV-02) -------------------------------------------------------------------------


@pytest.fixture
async def careful(proxy: Proxy, make: MakeConnector) -> IBKRConnector:
    """Behind the man in the middle, with a limit on the position; it gives no connection up to settle a change."""
    made = make(proxy.port, risk_limits={"max_position_size": 1000}, orders={"settle_interval": 60.0})
    await made.connect()
    await made.get_live_quote("AAPL")
    return made


async def fork(connector: IBKRConnector, gateway: PaperGateway, ref: str) -> Order:
    """Buy 100, change it to 150, and have the broker make two orders of it."""
    order = await connector.place_limit_order("AAPL", 100, "BUY", 1, order_ref=ref)
    gateway.inject("fork_on_modify")
    with pytest.raises(ModifyInDoubt):
        await order.modify(quantity=150)
    assert working(gateway, ref) == [100, 150]
    return order


async def test_fork_is_told_counted_in_full_blocks_new_risk_and_one_cancel_reaches_both(
    careful: IBKRConnector, gateway: PaperGateway
) -> None:
    async with incident(careful, "order_forked"):
        order = await fork(careful, gateway, "forked-1")
    with pytest.raises(RiskRejected) as caught:
        await careful.place_limit_order("AAPL", 1, "BUY", 1)
    assert caught.value.gates == ["forked_order"]
    assert "forked-1" in str(caught.value)
    with pytest.raises(RiskRejected) as caught:
        await careful.place_limit_order("AAPL", 701, "BUY", 1)  # 100 + 150, each as the larger: 300 may still fill
    assert caught.value.gates == ["forked_order", "position_limit"]
    other = await careful.place_limit_order("MSFT", 1, "BUY", 1)
    assert (await order.cancel(SECONDS)).state is OrderState.CANCELLED
    assert working(gateway, "forked-1") == []
    await settled(careful, "forked-1")
    await careful.ready(SECONDS)  # the change that got no answer may have cost the connection
    again = await careful.place_limit_order("AAPL", 701, "BUY", 1)
    assert {again.state, other.state} == {OrderState.WORKING}


async def test_fork_that_nobody_spoke_of_is_found_by_the_next_reconciliation(
    careful: IBKRConnector, gateway: PaperGateway, proxy: Proxy
) -> None:
    order = await careful.place_limit_order("AAPL", 100, "BUY", 1, order_ref="forked-2")
    proxy.swallow_answers = ANSWERS_ABOUT_ORDERS
    gateway.inject("fork_on_modify")
    modifying = asyncio.create_task(order.modify(quantity=150))
    await gateway.truth.wait_for("forked", timeout=SECONDS)
    async with incident(careful, "order_forked"):
        proxy.heal()
        await careful.get_open_orders(refresh=True)
    with pytest.raises(RiskRejected):
        await careful.place_limit_order("AAPL", 1, "BUY", 1)
    await asyncio.gather(modifying, return_exceptions=True)
    await order.cancel(SECONDS)
    assert working(gateway, "forked-2") == []


async def test_forked_order_blocks_new_risk_also_after_a_restart_and_lets_its_position_out(
    careful: IBKRConnector, gateway: PaperGateway, make: MakeConnector
) -> None:
    bought = await careful.place_market_order("AAPL", 10, "BUY")
    await bought.filled(SECONDS)
    await fork(careful, gateway, "forked-3")
    await careful.close()
    again = make(gateway.tws_port)
    await again.connect()
    with pytest.raises(RiskRejected, match="forked-3"):
        await again.place_limit_order("AAPL", 1, "BUY", 1)
    sold = await again.place_market_order("AAPL", 10, "SELL")
    assert (await sold.filled(SECONDS)).filled == 10
    assert (await again.cancel_order("forked-3")).state is OrderState.CANCELLED
    assert working(gateway, "forked-3") == []


# --- an order in doubt holds its contract up --------------------------------------------------------------------------


async def test_new_orders_wait_for_the_doubt_about_another_in_their_contract_and_others_go_on(
    make: MakeConnector, gateway: PaperGateway, proxy: Proxy
) -> None:
    careful = make(proxy.port, orders={"settle_interval": 60.0})  # nothing is settled before this test asks for it
    await careful.connect()
    for symbol in ("AAPL", "MSFT"):
        await careful.get_live_quote(symbol)
    proxy.swallow_answers = ANSWERS_ABOUT_ORDERS
    with pytest.raises(OrderInDoubt):
        await careful.place_limit_order("AAPL", 10, "BUY", 1, order_ref="mute")
    with pytest.raises(OrderNotSent, match="mute") as caught:
        await careful.orders.place(
            careful.orders.request("AAPL", 10, "BUY", "LMT", limit_price=1, order_ref="behind"), timeout=0.3
        )
    assert "orders_in_doubt" in caught.value.remedy
    behind = asyncio.create_task(careful.place_limit_order("AAPL", 10, "BUY", 1, order_ref="behind"))
    with pytest.raises(OrderInDoubt):  # it went: only its answer was swallowed
        await careful.place_limit_order("MSFT", 10, "BUY", 1, order_ref="beside")
    assert (arrived(gateway, "beside"), arrived(gateway, "behind")) == (1, 0)
    proxy.heal()
    await careful.get_open_orders(refresh=True)
    assert (await behind).state is OrderState.WORKING
    assert (await careful.get_order("mute")).state is OrderState.WORKING


# --- orders held back by a gateway that lost its link -----------------------------------------------------------------


@pytest.fixture
async def patient(gateway: PaperGateway, make: MakeConnector) -> IBKRConnector:
    """Believes in absence only long after the link is back."""
    made = make(gateway.tws_port, orders={"settle_link_up": 60.0})
    await made.connect()
    await made.get_live_quote("AAPL")
    return made


async def test_order_held_back_and_forwarded_later_is_one_order_known_to_both(
    patient: IBKRConnector, gateway: PaperGateway
) -> None:
    gateway.inject("hold_then_forward", on="place_order", for_=60, delay=60)
    with pytest.raises(OrderInDoubt):
        await patient.place_limit_order("AAPL", 10, "BUY", 1, order_ref="held")
    assert [doubtful.order_ref for doubtful in patient.orders_in_doubt()] == ["held"]
    gateway.faults.clear()
    order = await patient.get_order("held")
    await reaches(order, lambda seen: seen.state is OrderState.WORKING)
    assert (arrived(gateway, "held"), working(gateway, "held")) == (1, [Decimal(10)])
    assert (await order.cancel()).state is OrderState.CANCELLED


async def test_order_forwarded_after_it_was_taken_for_lost_is_revived_counted_and_never_sent_again(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    """No evidence is better than what the gateway shows: an operator is told, and the ref stays used."""
    connector = make(gateway.tws_port, risk_limits={"max_position_size": 100})
    await connector.connect()
    await connector.get_live_quote("AAPL")
    gateway.inject("hold_then_forward", on="place_order", for_=0.2, delay=600)
    async with incident(connector, "order_revived"):
        with pytest.raises(OrderInDoubt):
            await connector.place_limit_order("AAPL", 60, "BUY", 1, order_ref="late")
        order = await connector.get_order("late")
        assert (await order.done(SECONDS)).state is OrderState.NOT_SENT
        with pytest.raises(OrderNotSent):
            await connector.place_limit_order("AAPL", 60, "BUY", 1, order_ref="late")
        gateway.faults.clear()
    assert order.state is OrderState.WORKING
    with pytest.raises(RiskRejected) as caught:
        await connector.place_limit_order("AAPL", 41, "BUY", 1)
    assert caught.value.gates == ["position_limit"]
    assert arrived(gateway, "late") == 1
    assert (await order.cancel()).state is OrderState.CANCELLED


async def test_ids_that_a_restarted_gateway_gives_again_are_not_used_again(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    """INV-08, Lean.IB #242."""
    before = [await connector.place_limit_order("AAPL", 1, "BUY", price) for price in (1, 2, 3)]
    async with link_reaches(connector, "ready"):
        gateway.inject("restart", for_=0.3, rollback_ids=4)
    after = await connector.place_limit_order("AAPL", 1, "BUY", 4)
    assert after.order_id > max(order.order_id for order in before)
    ids = [entry.fields["order_id"] for entry in gateway.truth.of("recv_place")]
    assert ids == sorted(set(ids))  # type: ignore[type-var]
    for order in before:
        assert (await order.cancel()).state is OrderState.CANCELLED
    assert after.state is OrderState.WORKING


# --- executions -------------------------------------------------------------------------------------------------------


async def test_correction_replaces_the_execution_it_corrects_also_after_a_restart(
    connector: IBKRConnector, gateway: PaperGateway, make: MakeConnector
) -> None:
    """INV-04, INV-14: one fill, at the corrected price, wherever it is read."""
    gateway.inject("execution_correction", ticks=3, delay=0.05)
    order = await connector.place_market_order("AAPL", 10, "BUY", order_ref="corrected")
    await reaches_fill(order, lambda exec_id: exec_id.endswith(".02"))
    [correction] = gateway.truth.of("correction")
    (fill,) = order.fills
    assert fill.exec_id == correction.fields["exec_id"]
    assert fill.price == correction.fields["price"]
    assert order.filled_quantity == 10
    await connector.close()
    again = make(gateway.tws_port)
    await again.connect()
    (read,) = (await again.get_order("corrected")).fills
    assert (read.exec_id, read.price, read.quantity) == (fill.exec_id, fill.price, fill.quantity)
    assert [p.quantity for p in await again.get_positions(refresh=True)] == [10]
    (kept,) = [one for one in await again.get_executions() if one.order_ref == "corrected"]
    assert (kept.exec_id, kept.price) == (fill.exec_id, fill.price)


async def test_correction_that_got_lost_is_asked_for_when_its_commission_comes(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    """INV-14: else only a restart would tell of it."""
    gateway.inject("execution_correction", ticks=3, delay=0.05)
    lost = gateway.inject("swallow_reply", on="exec_details", nth=2, count=1)
    order = await connector.place_market_order("AAPL", 10, "BUY", order_ref="corrected")
    hit = await gateway.truth.wait_for("fault_hit", timeout=SECONDS)
    assert (hit.fields["number"], hit.fields["reply"]) == (lost, "exec_details")
    await reaches_fill(order, lambda exec_id: exec_id.endswith(".02"))
    [correction] = gateway.truth.of("correction")
    (kept,) = await connector.get_executions()
    assert (kept.exec_id, kept.price) == (correction.fields["exec_id"], correction.fields["price"])
    assert [p.quantity for p in await connector.get_positions()] == [10]


async def test_late_commission_finds_its_fill_and_is_unknown_until_then(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    gateway.inject("late_commission", delay=1.0)
    order = await connector.place_market_order("AAPL", 10, "BUY")
    assert (await order.filled(SECONDS)).commission is None
    await reaches_fill(order, lambda _: order.commission is not None)
    [told] = gateway.truth.of("commission")
    assert order.commission == told.fields["amount"]


async def reaches_fill(order: Order, condition: Callable[[str], bool]) -> None:
    """Wait until an execution of an order that has ended, or not yet, fulfils a condition."""
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def woken(_: object) -> None:
        loop.call_soon_threadsafe(changed.set)

    stop = order._live.listen(woken)
    try:
        async with asyncio.timeout(SECONDS):
            while not any(condition(fill.exec_id) for fill in order.fills):
                changed.clear()
                await changed.wait()
    finally:
        stop()


# --- contracts denied -------------------------------------------------------------------------------------------------


async def test_denied_contract_sends_nothing_ends_nothing_and_is_asked_for_again(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    """False 200s come right after an outage: what they deny is neither gone nor unknown for ever."""
    order = await connector.place_limit_order("AAPL", 10, "BUY", 1)
    number = gateway.inject("false_200", for_=60)
    with pytest.raises(ContractNotFound):
        await connector.place_limit_order("MSFT", 10, "BUY", 1, order_ref="denied")
    assert arrived(gateway, "denied") == 0
    assert order.state is OrderState.WORKING
    gateway.faults.clear()
    assert number
    again = await connector.place_limit_order("MSFT", 10, "BUY", 1, order_ref="denied")
    assert (again.state, arrived(gateway, "denied")) == (OrderState.WORKING, 1)
    assert (await order.cancel()).state is OrderState.CANCELLED
