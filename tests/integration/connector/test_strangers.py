"""Orders that are not ours, gateways that forget, lists that lack something: what is known, and what is only asked."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import OrderInDoubt, OrderNotCancellable, OrderValidationError
from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector, arrived, link_reaches, reaches
from support.proxy import Frame, Proxy, error_frame, is_kind

SECONDS = 20.0
ANSWERS_ABOUT_ORDERS = is_kind("3", "5", "11", "59", "101")


@pytest.fixture
async def stranger(gateway: PaperGateway, make: MakeConnector, tmp_path: Path) -> IBKRConnector:
    """Another program of the same account: its own client id and journal."""
    connector = make(gateway.tws_port, client_id=33, state_dir=tmp_path / "stranger")
    await connector.connect()
    return connector


async def test_another_programs_order_with_our_ref_is_neither_ours_nor_touched(
    connector: IBKRConnector, stranger: IBKRConnector, gateway: PaperGateway
) -> None:
    mine = await connector.place_limit_order("AAPL", 20, "BUY", 101, order_ref="entry")
    theirs = await stranger.place_limit_order("AAPL", 33, "BUY", 100, order_ref="entry")
    listed = await connector.get_open_orders(refresh=True)
    assert sorted(int(order.quantity) for order in listed) == [20, 33]
    assert (mine.state, mine.snapshot.perm_id != theirs.snapshot.perm_id) == (OrderState.WORKING, True)
    assert not connector.orders_in_doubt()
    assert (await mine.cancel()).state is OrderState.CANCELLED
    assert [entry.fields["order_id"] for entry in gateway.truth.of("recv_cancel")] == [mine.order_id]
    assert (await stranger.get_order("entry")).state is OrderState.WORKING
    found = next(order for order in listed if order.quantity == 33)
    with pytest.raises(OrderNotCancellable, match="client id 33"):
        await connector.cancel_order(found.order_ref)


async def test_ended_order_of_another_program_is_told_with_its_own_terms(
    connector: IBKRConnector, stranger: IBKRConnector
) -> None:
    await connector.disconnect()
    theirs = await stranger.place_limit_order("AAPL", 7, "BUY", 100, tif="GTC", outside_rth=True)
    await theirs.cancel()
    await connector.connect()
    (ended,) = [order for order in await connector.get_completed_orders() if order.quantity == 7]
    assert (ended.order_type, ended.limit_price, ended.tif, ended.outside_rth) == ("LMT", Decimal(100), "GTC", True)


async def test_executions_of_another_program_under_our_ref_do_not_fill_our_order(
    connector: IBKRConnector, stranger: IBKRConnector
) -> None:
    mine = await connector.place_limit_order("AAPL", 20, "BUY", 101, order_ref="entry")
    theirs = await stranger.place_market_order("AAPL", 7, "BUY", order_ref="entry")
    await theirs.filled(SECONDS)
    await connector.disconnect()
    await connector.connect()
    assert mine.state is OrderState.WORKING
    assert mine.filled_quantity == 0
    completed = [order for order in await connector.get_completed_orders() if order.quantity == 7]
    assert [order.ours for order in completed] == [False]


async def test_nothing_is_judged_while_the_gateway_has_no_link_to_the_broker(
    proxy: Proxy, make: MakeConnector, gateway: PaperGateway
) -> None:
    connector = make(proxy.port)
    await connector.connect()
    await connector.get_live_quote("AAPL")
    proxy.swallow_answers = ANSWERS_ABOUT_ORDERS
    with pytest.raises(OrderInDoubt):
        await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="dark-1")

    def lost_link(answer: Frame) -> list[Frame]:
        """1100 as soon as the handshake is over, in the middle of the sync; nobody tells of the orders."""
        return [error_frame(1100, "Connectivity between IBKR and TWS has been lost.")] if answer[0] == "49" else []

    proxy.say_before = lost_link
    async with link_reaches(connector, "ready"):
        proxy.cut()
    order = await connector.get_order("dark-1")
    assert not connector.get_connection_status()["broker_link"]
    with pytest.raises(TimeoutError):  # ten times as long as two rounds of evidence take with these settings
        await reaches(order, lambda known: known.state.is_done, seconds=3.0)
    assert [doubtful.order_ref for doubtful in connector.orders_in_doubt()] == ["dark-1"]
    proxy.heal()
    async with link_reaches(connector, "ready"):  # the sync is made anew
        proxy.say_error(1102, "Connectivity between IBKR and TWS has been restored - data maintained.")
    assert (await reaches(order, lambda known: known.state is not OrderState.IN_DOUBT)).state is OrderState.WORKING
    assert arrived(gateway, "dark-1") == 1


async def test_working_order_that_the_broker_lists_no_more_becomes_a_question(make: MakeConnector) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    connector = make(port)
    async with PaperGateway(tws_port=port, seed=7, accounts=(ACCOUNT,)):
        await connector.connect()
        began = await connector.get_server_time()
        order = await connector.place_limit_order("AAPL", 10, "BUY", 150, tif="GTC")
        disconnected = link_reaches(connector, "reconnecting")
        await disconnected.__aenter__()
    await disconnected.__aexit__(None, None, None)
    later = began + timedelta(minutes=30)
    async with PaperGateway(tws_port=port, seed=7, accounts=(ACCOUNT,), start=later) as forgetful:
        doubtful = await reaches(order, lambda known: known.state is OrderState.IN_DOUBT)
        assert "list" in doubtful.why
        await connector.resolve(order, "cancelled", "the broker's statement")
        assert order.state is OrderState.CANCELLED
        assert not forgetful.truth.of("recv_place")
        await connector.close()


async def test_one_name_at_once_for_two_orders_is_refused(connector: IBKRConnector, gateway: PaperGateway) -> None:
    await connector.get_live_quote("AAPL")
    results = await asyncio.gather(
        connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="dup"),
        connector.place_limit_order("SPY", 7, "SELL", 900, order_ref="dup"),
        connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="dup"),
        connector.place_bracket_order("AAPL", 10, 150, order_ref="dup"),
        return_exceptions=True,
    )
    assert [type(result) for result in results[1::2]] == [OrderValidationError, OrderValidationError]
    assert results[0].order_id == results[2].order_id  # type: ignore[union-attr]
    assert arrived(gateway, "dup") == 1
    with pytest.raises(OrderValidationError):
        await connector.place_bracket_order("AAPL", 10, 150, order_ref="dup")
    assert (await connector.get_order("dup")).state is OrderState.WORKING


async def test_names_of_a_brackets_exits_are_taken_from_the_start(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    await connector.get_live_quote("AAPL")
    bracket, other = await asyncio.gather(
        connector.place_bracket_order("AAPL", 10, 150, order_ref="b2"),
        connector.place_limit_order("AAPL", 10, "BUY", 140, order_ref="b2.tp"),
        return_exceptions=True,
    )
    assert [type(one) for one in (bracket, other)].count(OrderValidationError) == 1  # whoever comes second
    assert arrived(gateway, "b2.tp") == 1
    placed = await connector.place_bracket_order("AAPL", 10, 150, order_ref="b3")
    with pytest.raises(OrderValidationError):
        await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="b3")
    again = await connector.place_bracket_order("AAPL", 10, 150, order_ref="b3")
    assert again.entry.order_id == placed.entry.order_id


async def test_caller_that_leaves_does_not_take_the_order_from_another_that_waits(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    await connector.get_live_quote("AAPL")
    first = asyncio.create_task(connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="shared"))
    second = asyncio.create_task(connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="shared"))
    await asyncio.sleep(0)
    first.cancel()
    order = await second
    assert order.state is OrderState.WORKING
    assert arrived(gateway, "shared") == 1


async def test_lost_journal_does_not_make_a_second_order_of_one_at_the_broker(
    connector: IBKRConnector, make: MakeConnector, gateway: PaperGateway, tmp_path: Path
) -> None:
    await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="kept-1")
    await connector.close()
    amnesiac = make(gateway.tws_port, state_dir=tmp_path / "fresh")
    await amnesiac.connect()
    with pytest.raises(OrderValidationError, match="journal"):
        await amnesiac.place_limit_order("AAPL", 10, "BUY", 150, order_ref="kept-1")
    assert arrived(gateway, "kept-1") == 1
    assert (await amnesiac.cancel_all_orders(scope="client"))[0].state is OrderState.CANCELLED
