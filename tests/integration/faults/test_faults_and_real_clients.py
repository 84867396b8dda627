"""What the TWS library of this environment (ib_insync or ib_async) lives through, unmodified."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest

from ibkr_connector.paper import PaperGateway

from ..gateway.conftest import tws, until  # noqa: F401 - a fixture
from .kit import SECONDS, fault, over, works


@pytest.fixture
async def ib(tws: ModuleType, gateway: PaperGateway) -> AsyncIterator[Any]:  # noqa: F811
    client = tws.IB()
    await client.connectAsync("127.0.0.1", gateway.tws_port, clientId=1, timeout=SECONDS)
    yield client
    client.disconnect()


def limit(tws: ModuleType, ref: str) -> Any:  # noqa: F811
    return tws.LimitOrder("BUY", 10, 50, orderRef=ref, tif="DAY")


async def test_an_order_that_was_reset_after_the_write_is_found_again(
    tws: ModuleType,  # noqa: F811
    gateway: PaperGateway,
    ib: Any,
) -> None:
    gateway.inject("reset_after_write")
    trade = ib.placeOrder(tws.Stock("AAPL", "SMART", "USD"), limit(tws, "mine"))
    await fault(gateway, order_ref="mine", phase="new")
    await until(lambda: not ib.isConnected())
    assert trade.orderStatus.status == "PendingSubmit"
    await ib.connectAsync("127.0.0.1", gateway.tws_port, clientId=1, timeout=SECONDS)
    assert [order.orderRef for order in ib.openOrders()] == ["mine"]
    await works(gateway)


async def test_frames_in_pieces_doubled_and_late_replies_are_no_trouble(
    tws: ModuleType,  # noqa: F811
    gateway: PaperGateway,
    ib: Any,
) -> None:
    gateway.inject("split_frames", for_=60)
    gateway.inject("slow", for_=60, delay=0.05)
    gateway.inject("duplicate_reply", on="place_order", count=3)
    gateway.inject("late_commission", delay=0.1)
    trade = ib.placeOrder(tws.Stock("AAPL", "SMART", "USD"), tws.MarketOrder("BUY", 10, tif="DAY"))
    await until(lambda: trade.isDone() and trade.fills and trade.fills[0].commissionReport.execId)
    assert trade.orderStatus.filled == 10
    assert (await over(gateway, fault="duplicate_reply")).fields["reason"] == "over"


async def test_a_forked_order_hides_behind_one_trade(
    tws: ModuleType,  # noqa: F811
    gateway: PaperGateway,
    ib: Any,
) -> None:
    trade = ib.placeOrder(tws.Stock("AAPL", "SMART", "USD"), limit(tws, "mine"))
    await until(lambda: trade.orderStatus.status == "Submitted")
    gateway.inject("fork_on_modify")
    trade.order.lmtPrice = 51
    ib.placeOrder(trade.contract, trade.order)
    await gateway.truth.wait_for("forked", timeout=SECONDS)
    ib.cancelOrder(trade.order)
    await until(lambda: trade.orderStatus.status == "Cancelled")
    # The library believes it has ended; one of the two works on.
    assert [view.ticket.order_ref for view in gateway.exchange.open_orders(1)] == ["mine"]


async def test_an_outage_is_heard_of_and_ends(
    tws: ModuleType,  # noqa: F811
    gateway: PaperGateway,
    ib: Any,
) -> None:
    codes: list[int] = []
    ib.errorEvent += lambda request_id, code, text, contract: codes.append(code)
    gateway.inject("error", code=1100, on="place_order", for_=0.1)
    trade = ib.placeOrder(tws.Stock("AAPL", "SMART", "USD"), limit(tws, "mine"))
    await until(lambda: trade.orderStatus.status == "Submitted")
    assert codes[:2] == [1100, 1102]
    await works(gateway)
