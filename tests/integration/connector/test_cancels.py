"""A cancel is owed until the order has ended: over callers that leave, lost requests, outages and restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import CancelInDoubt, InvalidRequest, OrderInDoubt, OrderNotCancellable, OrderNotSent
from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector, arrived, link_reaches, reaches
from support.proxy import CANCEL_ORDER, PLACE_ORDER, Proxy, is_kind

SECONDS = 20.0
ANSWERS_ABOUT_ORDERS = is_kind("3", "5", "11", "59", "101")
EXECUTION = "11"


@pytest.fixture
async def through(proxy: Proxy, make: MakeConnector) -> IBKRConnector:
    """A connector whose traffic passes the man in the middle; a cancel is in doubt after a second."""
    connector = make(proxy.port, orders={"order_deadline": 1.0})
    await connector.connect()
    await connector.get_live_quote("AAPL")
    return connector


async def test_cancel_whose_caller_left_and_whose_request_got_lost_is_seen_through(
    through: IBKRConnector, proxy: Proxy
) -> None:
    order = await through.place_limit_order("AAPL", 10, "BUY", 150)
    proxy.swallow_requests = is_kind(CANCEL_ORDER)
    cancelling = asyncio.create_task(order.cancel())
    async with asyncio.timeout(SECONDS):
        await proxy.seen.wait()
    cancelling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelling
    await reaches(order, lambda _: bool(through.orders_in_doubt()))
    proxy.heal()
    assert (await order.done(SECONDS)).state is OrderState.CANCELLED


async def test_cancel_that_gets_lost_again_after_an_outage_is_in_doubt_and_sent_once_more(
    through: IBKRConnector, proxy: Proxy
) -> None:
    order = await through.place_limit_order("AAPL", 10, "BUY", 150)
    async with link_reaches(through, "reconnecting"):
        proxy.refuse = True
        proxy.cut()
    with pytest.raises(CancelInDoubt):
        await order.cancel(0.2)
    proxy.heal()
    proxy.swallow_requests = is_kind(CANCEL_ORDER)
    async with asyncio.timeout(SECONDS):
        await proxy.seen.wait()
    await reaches(order, lambda _: bool(through.orders_in_doubt()))
    proxy.heal()
    assert (await order.done(SECONDS)).state is OrderState.CANCELLED


async def test_cancel_is_still_owed_after_the_program_was_started_again(
    through: IBKRConnector, proxy: Proxy, make: MakeConnector, gateway: PaperGateway
) -> None:
    order = await through.place_limit_order("AAPL", 10, "BUY", 150, order_ref="owed-1")
    async with link_reaches(through, "reconnecting"):
        proxy.refuse = True
        proxy.cut()
    with pytest.raises(CancelInDoubt):
        await order.cancel(0.2)
    await through.close()
    assert not gateway.truth.of("recv_cancel")
    again = make(gateway.tws_port)
    await again.connect()
    assert (await (await again.get_order("owed-1")).done(SECONDS)).state is OrderState.CANCELLED


async def test_a_refused_cancel_takes_no_longer_than_its_caller_waits(
    make: MakeConnector, gateway: PaperGateway
) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    order = await connector.place_limit_order("AAPL", 10, "BUY", 150)
    gateway.inject("reject", on="cancel_order", code=161, text="refused")
    async with asyncio.timeout(4.0):  # the end that may lag behind a refusal is waited for up to 5 s
        with pytest.raises(OrderNotCancellable):
            await order.cancel(0.2)
    assert (await order.cancel(SECONDS)).state is OrderState.CANCELLED


async def test_cancel_of_what_is_filled_and_lacks_its_execution_waits_for_that_and_tells_the_fill(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    proxy.swallow_answers = is_kind(EXECUTION)
    order = await through.place_market_order("AAPL", 10, "BUY")
    await gateway.truth.wait_for("fill", timeout=SECONDS)
    await reaches(order, lambda snapshot: snapshot.broker_status == "Filled")
    with pytest.raises(CancelInDoubt, match="executions"):
        await order.cancel(0.0)
    proxy.heal()
    ended = await order.cancel(SECONDS)
    assert ended.state is OrderState.FILLED
    assert ended.filled == 10
    assert not gateway.truth.of("recv_cancel")


async def test_refusal_reaches_everyone_who_waits_for_the_cancel(through: IBKRConnector, proxy: Proxy) -> None:
    order = await through.place_limit_order("AAPL", 10, "BUY", 150)
    proxy.swallow_requests = is_kind(CANCEL_ORDER)
    waiting = [asyncio.create_task(order.cancel(SECONDS)) for _ in range(2)]
    async with asyncio.timeout(SECONDS):
        await proxy.seen.wait()
    await through.get_server_time()  # went to the session after both cancels
    proxy.say_error(161, "Cancel attempted when order is not in a cancellable state.", about=order.order_id)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [OrderNotCancellable, OrderNotCancellable]
    assert order.state is OrderState.WORKING
    proxy.heal()
    assert (await order.cancel(SECONDS)).state is OrderState.CANCELLED


async def test_cancel_reaches_an_order_that_is_still_being_prepared(
    proxy: Proxy, make: MakeConnector, gateway: PaperGateway
) -> None:
    connector = make(proxy.port)
    await connector.connect()
    proxy.swallow_answers = is_kind("1", "2", "45", "46", "57", "58", "81")  # no ticks: the gates wait for a quote
    for cancel in (lambda: connector.cancel_order("early-1"), connector.cancel_all_orders):
        placing = asyncio.create_task(connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="early-1"))
        async with asyncio.timeout(SECONDS):
            await proxy.seen.wait()
        proxy.seen.clear()
        await cancel()
        with pytest.raises(OrderNotSent, match="cancelled"):
            await placing
    assert arrived(gateway, "early-1") == 0
    proxy.heal()
    order = await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="early-1")  # nothing was sent: free
    assert order.state is OrderState.WORKING


async def test_cancel_of_an_order_in_doubt_stops_it_when_it_shows_up(
    through: IBKRConnector, proxy: Proxy, gateway: PaperGateway
) -> None:
    proxy.swallow_answers = ANSWERS_ABOUT_ORDERS
    proxy.swallow_requests = is_kind(CANCEL_ORDER)
    with pytest.raises(OrderInDoubt):
        await through.place_limit_order("AAPL", 10, "BUY", 150, order_ref="held-1")
    order = await through.get_order("held-1")
    proxy.say_error(10147, f"OrderId {order.order_id} that needs to be cancelled is not found.", about=order.order_id)
    with pytest.raises(CancelInDoubt):
        await order.cancel(0.2)
    proxy.heal()
    assert (await order.done(SECONDS)).state is OrderState.CANCELLED
    assert arrived(gateway, "held-1") == 1


async def test_resolving_by_hand_is_for_orders_in_doubt_and_the_broker_has_the_last_word(
    through: IBKRConnector, proxy: Proxy
) -> None:
    working = await through.place_limit_order("AAPL", 10, "BUY", 150)
    with pytest.raises(InvalidRequest, match="not in doubt"):
        await through.resolve(working, "filled", "I say so")
    proxy.swallow_answers = ANSWERS_ABOUT_ORDERS
    with pytest.raises(OrderInDoubt):
        await through.place_limit_order("AAPL", 10, "BUY", 151, order_ref="hand-1")
    order = await through.get_order("hand-1")
    await through.resolve(order, "cancelled", "the statement does not show it")
    assert order.state is OrderState.CANCELLED
    proxy.heal()
    await through.get_open_orders(refresh=True)
    assert (await through.get_order("hand-1")).state is OrderState.WORKING


async def test_order_of_another_gateway_is_not_cancelled_by_its_number(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path
) -> None:
    first = make(gateway.tws_port)
    await first.connect()
    old = await first.place_limit_order("AAPL", 5, "BUY", 150, order_ref="old", tif="GTC")
    await first.close()
    async with PaperGateway(tws_port=0, seed=8, accounts=(ACCOUNT,)) as other:
        innocent = make(other.tws_port, state_dir=tmp_path / "another")
        await innocent.connect()
        while (theirs := await innocent.place_limit_order("SPY", 1, "BUY", 50)).order_id < old.order_id:
            pass
        await innocent.close()
        second = make(other.tws_port)
        await second.connect()
        new = await second.place_limit_order("SPY", 1, "BUY", 50)
        assert new.order_id > max(old.order_id, theirs.order_id)
        with pytest.raises(CancelInDoubt):
            await second.cancel_order("old", timeout=1.0)
        assert not other.truth.of("recv_cancel")


@pytest.mark.parametrize("kind", [PLACE_ORDER, CANCEL_ORDER])
async def test_closing_while_a_request_is_unanswered_loses_nothing(
    through: IBKRConnector, proxy: Proxy, make: MakeConnector, gateway: PaperGateway, kind: str
) -> None:
    order = await through.place_limit_order("AAPL", 10, "BUY", 150, order_ref="base-1")
    proxy.swallow_answers = is_kind("3", "4", "5")
    work = (
        through.place_limit_order("AAPL", 10, "BUY", 151, order_ref="late-1")
        if kind == PLACE_ORDER
        else through.cancel_order(order)
    )
    under_way = asyncio.create_task(work)
    if kind == PLACE_ORDER:
        await gateway.truth.wait_for("recv_place", timeout=SECONDS, order_ref="late-1")
    else:
        await gateway.truth.wait_for("recv_cancel", timeout=SECONDS)
    await through.close()
    (result,) = await asyncio.gather(under_way, return_exceptions=True)
    assert isinstance(result, Exception)
    again = make(gateway.tws_port)
    await again.connect()
    if kind == PLACE_ORDER:
        assert isinstance(result, OrderInDoubt)
        assert (await again.get_order("late-1")).state is OrderState.WORKING
    else:
        assert (await (await again.get_order("base-1")).done(SECONDS)).state is OrderState.CANCELLED


async def test_cancelling_the_account_ends_many_orders_of_other_programs_too(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path
) -> None:
    other = make(gateway.tws_port, client_id=44, state_dir=tmp_path / "other")
    await other.connect()
    theirs = [await other.place_limit_order("AAPL", 1, "BUY", 100 + number) for number in range(20)]
    connector = make(gateway.tws_port)
    await connector.connect()
    mine = await connector.place_limit_order("AAPL", 1, "BUY", 150)
    ended = await connector.cancel_all_orders("account")
    assert {order.state for order in ended} == {OrderState.CANCELLED}
    assert len(ended) == len(theirs) + 1
    assert mine.state is OrderState.CANCELLED
