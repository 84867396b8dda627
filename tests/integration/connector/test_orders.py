"""Orders from the caller's hand to their end, judged by the gateway's truth."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import (
    ContractNotFound,
    InsufficientFunds,
    ModifyNotPossible,
    OrderCancelled,
    OrderNotFound,
    OrderValidationError,
    PriceIncrementError,
)
from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway
from support.connector import MakeConnector, incident


def placed(gateway: PaperGateway, ref: str) -> int:
    """How many new orders with this ref the gateway received."""
    return len([entry for entry in gateway.truth.of("recv_place") if entry.fields.get("order_ref") == ref])


async def test_market_order_fills_and_both_sides_agree(connector: IBKRConnector, gateway: PaperGateway) -> None:
    order = await connector.place_market_order("AAPL", 100, "BUY")
    result = await order.filled(10)
    assert result.state is OrderState.FILLED
    fills = gateway.truth.of("fill")
    assert sum((Decimal(str(fill.fields["quantity"])) for fill in fills), Decimal(0)) == 100
    assert {fill.fields["exec_id"] for fill in fills} == {fill.exec_id for fill in order.fills}
    assert placed(gateway, order.ref) == 1


async def test_position_follows_the_fill(connector: IBKRConnector) -> None:
    order = await connector.place_market_order("MSFT", 30, "SELL")
    await order.filled(10)
    positions = await connector.get_positions(refresh=True)
    assert [(p.contract.symbol, p.quantity) for p in positions] == [("MSFT", Decimal(-30))]


async def test_limit_order_rests_is_modified_and_cancelled(connector: IBKRConnector, gateway: PaperGateway) -> None:
    order = await connector.place_limit_order("AAPL", 100, "BUY", 150.25)
    assert order.state is OrderState.WORKING
    changed = await connector.modify_order(order, quantity=50, price=151.5)
    assert (changed.quantity, changed.limit_price) == (Decimal(50), Decimal("151.5"))
    result = await connector.cancel_order(order.order_id)
    assert result.state is OrderState.CANCELLED
    assert result.filled == 0
    assert placed(gateway, order.ref) == 1
    assert len(gateway.truth.of("recv_modify")) == 1
    assert await connector.get_open_orders(refresh=True) == []


async def test_a_filled_order_cannot_be_modified(connector: IBKRConnector) -> None:
    order = await connector.place_market_order("AAPL", 1, "BUY")
    await order.filled(10)
    with pytest.raises(ModifyNotPossible):
        await connector.modify_order(order, quantity=5)


async def test_stop_stop_limit_and_trailing_orders_work_at_the_broker(connector: IBKRConnector) -> None:
    stop = await connector.place_stop_order("AAPL", 10, "SELL", 150)
    stop_limit = await connector.place_stop_limit_order("AAPL", 10, "SELL", 150, 149.5)
    trail = await connector.place_trailing_stop_order("AAPL", 10, "SELL", trail_amount=20)
    percent = await connector.place_trailing_stop_order("AAPL", 10, "SELL", trail_percent=10)
    types = {snapshot.order_ref: snapshot.order_type for snapshot in await connector.get_open_orders(refresh=True)}
    assert types == {stop.ref: "STP", stop_limit.ref: "STP LMT", trail.ref: "TRAIL", percent.ref: "TRAIL"}
    results = await connector.cancel_all_orders()
    assert {result.state for result in results} == {OrderState.CANCELLED}


async def test_bracket_is_one_group_and_a_filled_entry_keeps_its_exits(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    quote = await connector.get_live_quote("AAPL")
    assert quote.ask is not None
    bracket = await connector.place_bracket_order("AAPL", 10, entry_price=round(quote.ask + 1, 2))
    await bracket.entry.filled(10)
    frames = [entry.fields for entry in gateway.truth.of("recv_place")]
    assert [frame["parent_id"] for frame in frames] == [0, frames[0]["order_id"], frames[0]["order_id"]]
    assert [frame["transmit"] for frame in frames] == [False, False, True]
    open_refs = {snapshot.order_ref for snapshot in await connector.get_open_orders(refresh=True)}
    assert open_refs == {bracket.take_profit.ref, bracket.stop_loss.ref}
    await bracket.cancel(10)
    assert bracket.stop_loss.state is OrderState.CANCELLED


async def test_bracket_entry_does_not_grow_beyond_what_its_exits_protect(connector: IBKRConnector) -> None:
    bracket = await connector.place_bracket_order("AAPL", 10, entry_price=150)
    with pytest.raises(ModifyNotPossible, match="protect"):
        await bracket.entry.modify(quantity=20)
    assert (await bracket.entry.modify(quantity=10, limit_price=151)).limit_price == 151
    other = await connector.place_bracket_order("AAPL", 10, entry_price=149)  # the first is still being changed (2102)
    assert (await other.entry.modify(quantity=5)).quantity == 5


async def test_bracket_entry_that_is_cancelled_takes_its_exits_along(connector: IBKRConnector) -> None:
    bracket = await connector.place_bracket_order("AAPL", 10, entry_price=150)
    await bracket.cancel(10)
    assert {leg.state for leg in bracket.legs} == {OrderState.CANCELLED}


@pytest.fixture
async def unchecked(gateway: PaperGateway, make: MakeConnector) -> IBKRConnector:
    """Leaves prices off the tick to the broker."""
    made = make(gateway.tws_port, risk_limits={"check_ticks": False})
    await made.connect()
    return made


async def test_entry_whose_exit_is_refused_is_taken_back(unchecked: IBKRConnector, gateway: PaperGateway) -> None:
    """INV-10: no entry works on without its exits."""
    connector = unchecked
    async with incident(connector, "bracket_incomplete"):
        with pytest.raises(PriceIncrementError):
            await connector.place_bracket_order("AAPL", 10, 150, stop_loss_price=140.123, take_profit_price=160)
    parent = gateway.truth.of("recv_place")[0].fields["order_id"]
    await gateway.truth.wait_for("cancelled", timeout=20, order_id=parent)
    entry = await connector.get_order(int(str(parent)))
    assert (await entry.done(10)).state is OrderState.CANCELLED


async def test_same_ref_twice_is_one_order(connector: IBKRConnector, gateway: PaperGateway) -> None:
    first = await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="mine-1")
    again = await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="mine-1")
    assert again.order_id == first.order_id
    assert placed(gateway, "mine-1") == 1


async def test_same_ref_at_the_same_time_is_one_order(connector: IBKRConnector, gateway: PaperGateway) -> None:
    orders = await asyncio.gather(
        *(connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="mine-2") for _ in range(20))
    )
    assert {order.order_id for order in orders} == {orders[0].order_id}
    assert placed(gateway, "mine-2") == 1


async def test_same_ref_for_another_order_is_refused(connector: IBKRConnector, gateway: PaperGateway) -> None:
    await connector.place_limit_order("AAPL", 10, "BUY", 150, order_ref="mine-3")
    with pytest.raises(OrderValidationError, match="mine-3"):
        await connector.place_limit_order("AAPL", 11, "BUY", 150, order_ref="mine-3")
    with pytest.raises(OrderValidationError, match="mine-3"):
        await connector.place_limit_order("MSFT", 10, "BUY", 150, order_ref="mine-3")
    assert placed(gateway, "mine-3") == 1


async def test_wrong_tick_is_the_brokers_own_refusal_with_its_code_where_no_gate_asks(unchecked: IBKRConnector) -> None:
    connector = unchecked
    with pytest.raises(PriceIncrementError) as caught:
        await connector.place_limit_order("AAPL", 10, "BUY", 150.123)
    assert caught.value.code == 110
    assert await connector.get_open_orders(refresh=True) == []


async def test_too_large_for_the_account_is_rejected_by_the_broker(gateway: PaperGateway, make: MakeConnector) -> None:
    unlimited = make(
        gateway.tws_port,
        risk_limits={
            "max_order_size": None,
            "max_order_value": None,
            "max_position_size": None,
            "daily_loss_limit": None,
        },
    )
    await unlimited.connect()
    with pytest.raises(InsufficientFunds) as caught:
        await unlimited.place_limit_order("AAPL", 900_000, "BUY", 150)
    assert caught.value.code == 201
    assert await unlimited.get_open_orders(refresh=True) == []


async def test_unknown_symbol_is_refused_before_anything_is_sent(
    connector: IBKRConnector, gateway: PaperGateway
) -> None:
    with pytest.raises(ContractNotFound):
        await connector.place_market_order("NOSUCH", 1, "BUY")
    assert gateway.truth.of("recv_place") == []


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"quantity": 0}, "quantity"),
        ({"quantity": -5}, "quantity"),
        ({"quantity": float("nan")}, "quantity"),
        ({"action": "HOLD"}, "action"),
        ({"limit_price": -1}, "limit_price"),
        ({"limit_price": float("inf")}, "limit_price"),
        ({"tif": "SOON"}, "tif"),
        ({"order_ref": "spaces are bad"}, "order_ref"),
        ({"good_till": "tomorrow"}, "good_till"),
    ],
)
async def test_bad_argument_names_its_field_and_nothing_is_sent(
    connector: IBKRConnector, gateway: PaperGateway, arguments: dict[str, object], field: str
) -> None:
    good = {"symbol": "AAPL", "quantity": 10, "action": "BUY", "limit_price": 150}
    with pytest.raises(OrderValidationError) as caught:
        await connector.place_limit_order(**{**good, **arguments})  # type: ignore[arg-type]
    assert caught.value.context["field"] == field
    assert caught.value.context["legal"]
    assert gateway.truth.of("recv_place") == []


async def test_ioc_that_cannot_fill_ends_cancelled_and_filled_raises(connector: IBKRConnector) -> None:
    order = await connector.place_limit_order("AAPL", 10, "BUY", 150, tif="IOC")
    with pytest.raises(OrderCancelled):
        await order.filled(10)
    assert order.state is OrderState.CANCELLED


async def test_updates_stream_tells_every_step_up_to_the_end(connector: IBKRConnector) -> None:
    order = await connector.place_limit_order("AAPL", 10, "BUY", 150)
    async with order.updates() as updates:
        cancelling = asyncio.create_task(order.cancel())
        seen = [snapshot.state async for snapshot in updates]
        await cancelling
    assert seen[0] is OrderState.WORKING
    assert seen[-1] is OrderState.CANCELLED


async def test_preview_tells_margin_and_places_nothing(connector: IBKRConnector, gateway: PaperGateway) -> None:
    preview = await connector.preview_order("AAPL", 100, "LMT", "BUY", 150)
    assert preview.init_margin_change is not None
    assert preview.init_margin_change > 0
    assert gateway.truth.of("accepted") == []


async def test_unknown_order_is_named(connector: IBKRConnector) -> None:
    with pytest.raises(OrderNotFound, match="424242"):
        await connector.cancel_order(424242)


async def test_guides_keys_are_in_the_dicts(connector: IBKRConnector) -> None:
    order = await connector.place_order("AAPL", 10, "LMT", "BUY", 150)
    keys = set((await connector.get_order_status(order)).to_dict())
    assert {
        "success",
        "order_id",
        "symbol",
        "action",
        "quantity",
        "order_type",
        "status",
        "filled_quantity",
        "remaining_quantity",
        "avg_fill_price",
        "lmt_price",
        "timestamp",
    } <= keys


async def test_orders_of_another_client_are_seen_and_not_ours(
    connector: IBKRConnector, gateway: PaperGateway, make: MakeConnector
) -> None:
    other = make(gateway.tws_port, client_id=77, read_only=True)
    order = await connector.place_limit_order("AAPL", 10, "BUY", 150)
    await other.connect()
    seen = await other.get_open_orders(refresh=True)
    assert [(snapshot.perm_id, snapshot.ours) for snapshot in seen] == [(order.perm_id, False)]
