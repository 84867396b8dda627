"""Many cancels at once under a narrow message rate: each is owed, whatever its caller's patience, and written once."""

from __future__ import annotations

import asyncio

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import CancelInDoubt, TradingError
from ibkr_connector.models.order import OrderSnapshot, OrderState
from ibkr_connector.orders.handle import Order
from ibkr_connector.paper import PaperGateway
from support.connector import MakeConnector

SECONDS = 40.0
MANY = 40
RATE = 10
"""Messages a second: forty cancels take four seconds, and the orders' own deadline is one."""


async def many(connector: IBKRConnector) -> list[Order]:
    return list(
        await asyncio.gather(
            *(connector.place_limit_order("AAPL", 1, "BUY", 100 + number / 100, tif="GTC") for number in range(MANY))
        )
    )


def cancels(gateway: PaperGateway) -> list[int]:
    return [int(str(entry.fields["order_id"])) for entry in gateway.truth.of("recv_cancel")]


@pytest.fixture
async def orders(make: MakeConnector, gateway: PaperGateway) -> tuple[IBKRConnector, list[Order]]:
    """A connector that may write ten messages a second, and forty of its orders, placed by a faster one before."""
    fast = make(gateway.tws_port)
    await fast.connect()
    placed = await many(fast)
    refs = [order.ref for order in placed]
    await fast.close()
    slow = make(gateway.tws_port, messages_per_second=RATE, cancel_reserve=2, orders={"order_deadline": 1.0})
    await slow.connect()
    return slow, [await slow.get_order(ref) for ref in refs]


async def test_cancels_that_wait_longer_than_the_order_deadline_are_written_and_callers_get_their_answer(
    orders: tuple[IBKRConnector, list[Order]], gateway: PaperGateway
) -> None:
    _, working = orders
    results = await asyncio.gather(*(order.cancel(SECONDS) for order in working))
    assert {snapshot.state for snapshot in results} == {OrderState.CANCELLED}
    assert sorted(cancels(gateway)) == sorted(order.order_id for order in working)


async def test_cancels_whose_callers_left_early_are_all_written_once(
    orders: tuple[IBKRConnector, list[Order]], gateway: PaperGateway
) -> None:
    _, working = orders
    results: list[OrderSnapshot | BaseException] = await asyncio.gather(
        *(order.cancel(0.3) for order in working), return_exceptions=True
    )
    doubts = [result for result in results if isinstance(result, TradingError)]
    assert doubts
    assert {type(doubt) for doubt in doubts} == {CancelInDoubt}
    assert all("still being pursued" in str(doubt) for doubt in doubts)
    ended = await asyncio.gather(*(order.done(SECONDS) for order in working))
    assert {snapshot.state for snapshot in ended} == {OrderState.CANCELLED}
    assert sorted(cancels(gateway)) == sorted(order.order_id for order in working)


async def test_cancelling_all_tells_that_the_rest_is_pursued(
    orders: tuple[IBKRConnector, list[Order]], gateway: PaperGateway
) -> None:
    connector, working = orders
    with pytest.raises(CancelInDoubt, match="still being pursued"):
        await connector.cancel_all_orders(timeout=0.3)
    ended = await asyncio.gather(*(order.done(SECONDS) for order in working))
    assert {snapshot.state for snapshot in ended} == {OrderState.CANCELLED}
    assert len(cancels(gateway)) == MANY
