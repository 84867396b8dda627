"""Every order method of the facade, over both backends, against one gateway, field by field.

What differs is declared here, and documented in docs/IMPLEMENTATION/web-backend.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import OrderError, OrderRejected, OrderValidationError, RiskRejected, TradingError
from ibkr_connector.models.order import OrderSnapshot, OrderState
from ibkr_connector.orders.handle import Order
from ibkr_connector.paper import PaperGateway
from support.connector import FAST, reaches
from support.web import web_settings

from .conftest import SECONDS

LIMITS = {"daily_loss_limit": None, "check_market_hours": False}
OWN = {
    "parent_ref", "oca_group", "order_id", "perm_id", "order_ref", "fills", "timestamp", "created_at", "updated_at",
    "why", "warning",
}  # fmt: skip
"""Names and times of each order, and the broker's words."""
PRICES = {"avg_fill_price", "commission", "contract"}
"""The market goes on between the one order and the other; the forms of contracts are compared with the reads."""
Place = Callable[[IBKRConnector], Awaitable[Order]]


@pytest.fixture
async def both(gateway: PaperGateway, tmp_path: Path) -> AsyncIterator[tuple[IBKRConnector, IBKRConnector]]:
    """A connector over each backend, TWS first."""
    tws = IBKRConnector(
        profile="orders-tws", port=gateway.tws_port, state_dir=tmp_path / "tws", risk_limits=LIMITS, **FAST
    )
    settings = web_settings(gateway, risk_limits=LIMITS, web={"confirm": "o163, o383, o451, o10331", "watch_every": 1})
    web = IBKRConnector(profile="orders-web", state_dir=tmp_path / "web", **settings)
    try:
        await tws.connect()
        await web.connect()
        yield tws, web
    finally:
        await tws.close()
        await web.close()


def differing(one: OrderSnapshot, other: OrderSnapshot, *, but: set[str] = frozenset()) -> set[str]:  # type: ignore[assignment]
    mine, theirs = one.to_dict(), other.to_dict()
    assert mine.keys() == theirs.keys()
    return {name for name in mine if mine[name] != theirs[name]} - OWN - PRICES - but


async def rests(order: Order) -> OrderSnapshot:
    return await reaches(order, lambda one: one.broker_status in {"Submitted", "PreSubmitted"} and one.perm_id > 0)


RESTING: dict[str, Place] = {
    "limit": lambda one: one.place_limit_order("AAPL", 5, "BUY", 200.5, tif="GTC", outside_rth=True),
    "limit of the day": lambda one: one.place_limit_order("AAPL", 5, "SELL", 300),
    "stop": lambda one: one.place_stop_order("AAPL", 5, "SELL", 200, tif="GTC"),
    "stop limit": lambda one: one.place_stop_limit_order("AAPL", 5, "SELL", 200, 199.5),
    "trailing amount": lambda one: one.place_trailing_stop_order("AAPL", 5, "SELL", trail_amount=20),
    "trailing percent": lambda one: one.place_trailing_stop_order("AAPL", 5, "SELL", trail_percent=10),
    "by request": lambda one: one.place_order("AAPL", 5, "LMT", "BUY", 200),
}


@pytest.mark.parametrize("kind", RESTING)
async def test_an_order_that_rests_is_shown_listed_and_cancelled_alike(
    both: tuple[IBKRConnector, IBKRConnector], kind: str
) -> None:
    orders = [await RESTING[kind](one) for one in both]
    tws, web = [await rests(order) for order in orders]
    assert differing(tws, web) <= {"broker_status", "status"}
    for connector, order in zip(both, orders, strict=True):
        listed = [one for one in await connector.get_open_orders(refresh=True) if one.order_ref == order.ref]
        assert [differing(one, order.snapshot) for one in listed] == [set()]
        assert (await connector.get_order(order.ref)).snapshot.perm_id == order.snapshot.perm_id
        # Neither sees a drift in its own order.
        assert not connector.orders._manager.desk.table.by_ref(order.ref).record.drift  # type: ignore[union-attr]
    ended = [await connector.cancel_order(order.ref) for connector, order in zip(both, orders, strict=True)]
    assert [one.state for one in ended] == [OrderState.CANCELLED] * 2
    assert differing(ended[0], ended[1]) <= {"broker_status", "status"}
    for connector, order in zip(both, orders, strict=True):
        completed = [one for one in await connector.get_completed_orders() if one.order_ref == order.ref]
        assert [one.state for one in completed] == [OrderState.CANCELLED]
        assert not connector.orders_in_doubt()


async def test_a_market_order_fills_alike(both: tuple[IBKRConnector, IBKRConnector]) -> None:
    orders = [await one.place_market_order("AAPL", 10, "BUY") for one in both]
    for order in orders:
        await order.filled(SECONDS)
        async with asyncio.timeout(SECONDS):
            while order.snapshot.commission is None:  # noqa: ASYNC110 - updates end with the order, costs come later
                await asyncio.sleep(0.02)
    tws, web = [order.snapshot for order in orders]
    assert differing(tws, web) == set()
    assert (tws.commission, len(tws.fills)) == (web.commission, len(web.fills))
    assert {fill.commission_currency for fill in (*tws.fills, *web.fills)} == {"USD"}


async def test_a_change_is_made_alike(both: tuple[IBKRConnector, IBKRConnector]) -> None:
    orders = [await one.place_limit_order("AAPL", 5, "BUY", 200, tif="GTC") for one in both]
    for order in orders:
        await rests(order)
    tws, web = [
        await one.modify_order(order.ref, quantity=7, limit_price=201) for one, order in zip(both, orders, strict=True)
    ]
    assert differing(tws, web) <= {"broker_status", "status"}


async def test_a_bracket_is_made_alike(both: tuple[IBKRConnector, IBKRConnector]) -> None:
    brackets = [
        await one.place_bracket_order("AAPL", 5, 200, take_profit_price=260, stop_loss_price=190) for one in both
    ]
    for leg in ("entry", "take_profit", "stop_loss"):
        tws, web = [await rests(getattr(bracket, leg)) for bracket in brackets]
        assert differing(tws, web) <= {"broker_status", "status"}, leg
    ended = [await one.cancel_all_orders() for one in both]
    assert [sorted(one.state.value for one in several) for several in ended] == [["cancelled"] * 3] * 2


async def test_an_oca_group_is_made_alike(both: tuple[IBKRConnector, IBKRConnector]) -> None:
    leg = {"symbol": "AAPL", "quantity": 5, "action": "BUY", "order_type": "LMT"}
    groups = [await one.place_oca_group([{**leg, "price": 200}, {**leg, "price": 201}]) for one in both]
    for number in range(2):
        tws, web = [await rests(group.legs[number]) for group in groups]
        assert differing(tws, web) <= {"broker_status", "status"}
    for one in both:
        assert {order.state for order in await one.cancel_all_orders()} == {OrderState.CANCELLED}


async def test_a_preview_is_the_same(both: tuple[IBKRConnector, IBKRConnector]) -> None:
    tws, web = [await one.preview_order("AAPL", 10, "LMT", "BUY", 200) for one in both]
    for field in ("init_margin_change", "maint_margin_change"):
        assert abs(getattr(tws, field) - getattr(web, field)) <= 1, field  # whole dollars over the Web API
    assert web.commission_currency == "USD"


@pytest.mark.parametrize(
    ("place", "error"),
    [
        (lambda one: one.place_limit_order("AAPL", -1, "BUY", 200), OrderValidationError),
        (lambda one: one.place_limit_order("AAPL", 5, "BUY", 200.123), TradingError),
        (lambda one: one.place_limit_order("AAPL", 100_000, "BUY", 200), RiskRejected),
        (lambda one: one.cancel_order("unknown"), OrderError),
        (lambda one: one.get_order("unknown"), OrderError),
    ],
)
async def test_what_is_wrong_is_refused_alike(
    both: tuple[IBKRConnector, IBKRConnector], place: Any, error: type[TradingError]
) -> None:
    told = []
    for one in both:
        with pytest.raises(error) as caught:
            await place(one)
        told.append(type(caught.value))
    assert told[0] is told[1]


async def test_a_refusal_of_the_broker_is_the_same_error(
    both: tuple[IBKRConnector, IBKRConnector], gateway: PaperGateway
) -> None:
    gateway.inject("reject", on="place_order", times=2, text="Order rejected - reason:not today")
    for one in both:
        with pytest.raises(OrderRejected, match="not today") as caught:
            await one.place_limit_order("AAPL", 5, "BUY", 200)
        assert caught.value.code == 201


async def test_each_sees_the_others_orders_as_a_strangers(both: tuple[IBKRConnector, IBKRConnector]) -> None:
    tws, web = both
    placed = [await one.place_limit_order("AAPL", 5, "BUY", 200, tif="GTC") for one in both]
    for order in placed:
        await rests(order)
    for one, theirs in ((tws, placed[1]), (web, placed[0])):
        listed = {order.perm_id: order for order in await one.get_open_orders(refresh=True)}
        assert len(listed) == 2
        assert not listed[theirs.snapshot.perm_id].ours
        assert differing(listed[theirs.snapshot.perm_id], theirs.snapshot, but={"client_id", "ours"}) == set()
        with pytest.raises(OrderError):
            await one.cancel_order(listed[theirs.snapshot.perm_id].order_ref)
    ended = await web.cancel_all_orders(scope="account", timeout=SECONDS)
    assert {order.state for order in ended} == {OrderState.CANCELLED}
    assert (await reaches(placed[0], lambda one: one.state.is_done)).state is OrderState.CANCELLED


async def test_flatten_closes_positions_alike(both: tuple[IBKRConnector, IBKRConnector]) -> None:
    for one in both:
        await (await one.place_market_order("AAPL", 10, "BUY")).filled(SECONDS)
        await one.get_positions(refresh=True)
        await one.flatten("the end of the day")
        one.resume("the next test")
        assert [held for held in await one.get_positions(refresh=True) if held.quantity] == []
