"""A stream of all orders, what becomes of open orders at the end, and orders that the broker ends by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import CancelInDoubt, ConnectorClosed, InvalidRequest, OrderError, OrderNotSent
from ibkr_connector.models.order import OrderSnapshot, OrderState
from ibkr_connector.orders.updates import AllOrderUpdates
from ibkr_connector.paper import PaperGateway
from support.connector import MakeConnector, link_reaches, reaches
from support.proxy import CANCEL_ORDER, Proxy, is_kind
from support.threads import in_thread

SECONDS = 20.0


async def until(updates: AllOrderUpdates, condition: Callable[[OrderSnapshot], bool]) -> OrderSnapshot:
    async with asyncio.timeout(SECONDS):
        async for order in updates:
            if condition(order):
                return order
    raise AssertionError("the stream ended")


# --- the stream -------------------------------------------------------------------------------------------------------


async def test_a_stream_tells_open_orders_first_and_then_every_change(connector: IBKRConnector) -> None:
    resting = await connector.place_limit_order("AAPL", 1, "BUY", 1)
    async with connector.order_updates() as updates:
        assert (await until(updates, lambda _: True)).order_ref == resting.ref
        order = await connector.place_market_order("MSFT", 5, "BUY")
        filled = await until(updates, lambda one: one.order_ref == order.ref and one.state is OrderState.FILLED)
        assert filled.filled == 5
        await resting.cancel()
        await until(updates, lambda one: one.order_ref == resting.ref and one.state is OrderState.CANCELLED)
        assert updates.dropped == 0


async def test_a_stream_tells_other_programs_orders_unless_told_not_to(
    connector: IBKRConnector, gateway: PaperGateway, make: MakeConnector, tmp_path: Path
) -> None:
    other = make(gateway.tws_port, client_id=33, state_dir=tmp_path / "other")
    await other.connect()
    theirs = await other.place_limit_order("AAPL", 3, "BUY", 1)
    async with connector.order_updates() as everything, connector.order_updates(foreign=False) as ours:
        await connector.get_open_orders(refresh=True)
        assert not (await until(everything, lambda one: one.perm_id == theirs.perm_id)).ours
        mine = await connector.place_limit_order("AAPL", 1, "BUY", 1)
        assert (await until(ours, lambda _: True)).order_ref == mine.ref


async def test_a_stream_survives_an_outage_and_tells_what_happened_in_it(
    gateway: PaperGateway, proxy: Proxy, make: MakeConnector
) -> None:
    connector = make(proxy.port)
    await connector.connect()
    order = await connector.place_limit_order("AAPL", 1, "BUY", 1)
    async with connector.order_updates() as updates:
        async with link_reaches(connector, "ready"):
            proxy.cut()
        await order.cancel()
        await until(updates, lambda one: one.order_ref == order.ref and one.state is OrderState.CANCELLED)


async def test_a_slow_reader_loses_the_oldest_and_the_end_of_the_connector_ends_the_stream(
    connector: IBKRConnector,
) -> None:
    async with connector.order_updates(buffer=1) as updates:
        order = await connector.place_limit_order("AAPL", 1, "BUY", 1)
        await order.cancel()
        await connector.close()
        seen = [one async for one in updates]
        assert [one.state for one in seen] == [OrderState.CANCELLED]
        assert updates.dropped > 0
    with pytest.raises(ConnectorClosed):
        await connector.order_updates().__aenter__()


async def test_a_stream_that_was_left_is_forgotten(connector: IBKRConnector) -> None:
    async with connector.order_updates():
        assert len(connector._house.manager.desk._boxes) == 1
    assert len(connector._house.manager.desk._boxes) == 0


async def test_a_stream_whose_loop_has_ended_is_forgotten_with_the_next_change(connector: IBKRConnector) -> None:
    def leave_without_a_word() -> None:
        async def enter() -> None:
            await connector.order_updates().__aenter__()

        asyncio.run(enter())

    await in_thread(leave_without_a_word)
    assert len(connector._house.manager.desk._boxes) == 1
    await connector.place_limit_order("AAPL", 1, "BUY", 1)
    assert len(connector._house.manager.desk._boxes) == 0


async def test_the_blocking_twin_of_the_stream(connector: IBKRConnector) -> None:
    def work() -> OrderState:
        with connector.sync.order_updates() as updates:
            order = connector.sync.place_limit_order("AAPL", 1, "BUY", 1)
            connector.sync.cancel_order(order)
            return next(one.state for one in updates if one.state.is_done)

    assert await in_thread(work) is OrderState.CANCELLED


# --- the end ----------------------------------------------------------------------------------------------------------


def left(gateway: PaperGateway, *refs: str) -> set[str]:
    """Which of these orders got no cancel."""
    gone = {entry.fields["order_id"] for entry in gateway.truth.of("recv_cancel")}
    placed = {entry.fields["order_ref"]: entry.fields["order_id"] for entry in gateway.truth.of("recv_place")}
    return {ref for ref in refs if placed[ref] not in gone}


async def test_close_leaves_open_orders_unless_told_otherwise(connector: IBKRConnector, gateway: PaperGateway) -> None:
    await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref="rests")
    await connector.close()
    assert left(gateway, "rests") == {"rests"}


async def test_close_cancels_all_own_orders(connector: IBKRConnector, gateway: PaperGateway) -> None:
    order = await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref="a")
    await connector.place_limit_order("MSFT", 1, "BUY", 1, order_ref="b")
    await connector.close("cancel_all")
    assert left(gateway, "a", "b") == set()
    assert order.state is OrderState.CANCELLED


async def test_close_cancels_what_adds_and_keeps_what_protects(connector: IBKRConnector, gateway: PaperGateway) -> None:
    bought = await connector.place_market_order("AAPL", 100, "BUY")
    await bought.filled(SECONDS)
    await connector.place_stop_order("AAPL", 100, "SELL", 1, order_ref="stop")
    await connector.place_limit_order("AAPL", 10, "BUY", 1, order_ref="more")
    await connector.place_limit_order("MSFT", 10, "BUY", 1, order_ref="new")
    await connector.close("cancel_increasing")
    assert left(gateway, "stop", "more", "new") == {"stop"}


async def test_nothing_new_is_sent_behind_the_cancels(connector: IBKRConnector, gateway: PaperGateway) -> None:
    orders = connector.orders
    request = orders.request("AAPL", 1, "BUY", "LMT", limit_price=1)
    await connector.place_limit_order("AAPL", 1, "BUY", 1)
    before = len(gateway.truth.of("recv_place"))
    closing = asyncio.create_task(connector.close("cancel_all"))
    results = await asyncio.gather(
        *(orders.place(orders.request("AAPL", 1, "BUY", "LMT", limit_price=1)) for _ in range(5)),
        orders.place(request),
        return_exceptions=True,
    )
    await closing
    written = len(gateway.truth.of("recv_place")) - before
    assert all(isinstance(one, OrderNotSent | ConnectorClosed | OrderError) for one in results[written:])
    assert len(gateway.truth.of("recv_cancel")) == 1 + written


async def test_a_cancel_that_is_not_answered_is_told_after_everything_was_freed_and_sent_again_by_the_next(
    gateway: PaperGateway, proxy: Proxy, make: MakeConnector
) -> None:
    connector = make(proxy.port, orders={"order_deadline": 0.5})
    await connector.connect()
    await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref="stays")
    proxy.swallow_requests = is_kind(CANCEL_ORDER)
    with pytest.raises(CancelInDoubt, match="stays"):
        await connector.close("cancel_all")
    assert connector.closed
    proxy.heal()
    again = make(proxy.port)
    await again.connect()
    await reaches(await again.get_order("stays"), lambda one: one.state is OrderState.CANCELLED)


async def test_an_unknown_policy_closes_nothing(connector: IBKRConnector) -> None:
    with pytest.raises(InvalidRequest, match="cancel_increasing"):
        await connector.close("cancel")
    assert connector.connected


# --- the dead man's switch --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gateway_arguments", [{"speed": 300.0}])
async def test_the_broker_ends_an_order_whose_program_is_gone(gateway: PaperGateway, make: MakeConnector) -> None:
    """Three hundred times as fast: ten minutes of an order's life pass in two seconds."""
    connector = make(gateway.tws_port, time_scale=300.0)
    await connector.connect()
    order = await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref="mortal", order_ttl=600)
    assert (order.snapshot.tif, order.state) == ("GTD", OrderState.WORKING)
    await connector.close()
    again = make(gateway.tws_port, time_scale=300.0)
    await again.connect()
    await reaches(await again.get_order("mortal"), lambda one: one.state.is_done)
    assert gateway.truth.of("recv_cancel") == []
    (expired,) = gateway.truth.of("expired")
    assert expired.fields["order_ref"] == "mortal"


async def test_the_default_of_the_settings_reaches_the_wire_where_it_should(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    connector = make(gateway.tws_port, orders={"order_ttl": 600})
    await connector.connect()
    resting = await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref="rests")
    again = await connector.place_limit_order("AAPL", 1, "BUY", 1, order_ref="rests")
    assert (resting.snapshot.tif, again.order_id) == ("GTD", resting.order_id)
    bought = await connector.place_market_order("AAPL", 10, "BUY")
    await bought.filled(SECONDS)
    stop = await connector.place_stop_order("AAPL", 10, "SELL", 1)
    bracket = await connector.place_bracket_order("MSFT", 1, 2, take_profit_price=3, stop_loss_price=1)
    tifs = [one.snapshot.tif for one in (bought, stop, *bracket.legs)]
    assert tifs == ["DAY", "DAY", "GTD", "GTC", "GTC"]
    changed = await resting.modify(limit_price=2)
    assert changed.tif == "GTD"
    assert len(gateway.truth.of("recv_place", order_ref="rests")) == 1
    assert [entry.fields["tif"] for entry in gateway.truth.of("recv_modify", order_ref="rests")] == ["GTD"]


async def test_a_ttl_survives_a_restart_and_a_repeat_finds_it(gateway: PaperGateway, make: MakeConnector) -> None:
    first = make(gateway.tws_port)
    await first.connect()
    order = await first.place_limit_order("AAPL", 1, "BUY", 1, order_ref="a", order_ttl=600)
    await first.close()
    second = make(gateway.tws_port)
    await second.connect()
    again = await second.place_limit_order("AAPL", 1, "BUY", 1, order_ref="a", order_ttl=600)
    assert (again.order_id, again.snapshot.tif) == (order.order_id, "GTD")
