"""Gates in front of orders, at any concurrency, judged by what reached the gateway."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import OrderError, OrderNotSent, RiskRejected
from ibkr_connector.paper import PaperGateway
from support.connector import MakeConnector
from support.threads import in_thread

LIMITS = {"max_order_size": 500, "max_order_value": 60_000, "max_position_size": 1000, "daily_loss_limit": 100_000}


@pytest.fixture
async def limited(gateway: PaperGateway, make: MakeConnector) -> IBKRConnector:
    connector = make(gateway.tws_port, risk_limits=LIMITS)
    await connector.connect()
    return connector


async def test_order_at_the_size_limit_passes_and_one_more_is_refused(
    limited: IBKRConnector, gateway: PaperGateway
) -> None:
    order = await limited.place_limit_order("AAPL", 500, "BUY", 100)
    await limited.cancel_order(order)
    with pytest.raises(RiskRejected) as caught:
        await limited.place_limit_order("AAPL", 501, "BUY", 100)
    assert caught.value.gates == ["order_size"]
    assert len(gateway.truth.of("recv_place")) == 1


async def test_all_gates_that_refuse_are_named(limited: IBKRConnector) -> None:
    with pytest.raises(RiskRejected) as caught:
        await limited.place_market_order("AAPL", 5_000, "BUY")
    assert {"order_size", "order_value", "position_limit"} <= set(caught.value.gates)
    assert "raise" in str(caught.value)


async def test_value_limit_counts_the_market_price(limited: IBKRConnector) -> None:
    quote = await limited.get_live_quote("AAPL")
    assert quote.ask is not None
    too_many = int(60_000 / quote.ask) + 2
    with pytest.raises(RiskRejected) as caught:
        await limited.place_market_order("AAPL", too_many, "BUY")
    assert caught.value.gates == ["order_value"]


async def test_working_orders_count_towards_the_position_limit(limited: IBKRConnector) -> None:
    await limited.place_limit_order("AAPL", 500, "BUY", 100)
    held = await limited.place_limit_order("AAPL", 500, "BUY", 100)
    with pytest.raises(RiskRejected) as caught:
        await limited.place_limit_order("AAPL", 1, "BUY", 100)
    assert caught.value.gates == ["position_limit"]
    await limited.cancel_order(held)
    await limited.place_limit_order("AAPL", 1, "BUY", 100)


async def test_change_that_would_pass_the_limit_is_refused_and_the_order_stays(limited: IBKRConnector) -> None:
    order = await limited.place_limit_order("AAPL", 100, "BUY", 100)
    with pytest.raises(RiskRejected):
        await limited.modify_order(order, quantity=501)
    assert order.quantity == 100


async def test_kill_stops_orders_at_once_and_cancels_still_work(limited: IBKRConnector, gateway: PaperGateway) -> None:
    order = await limited.place_limit_order("AAPL", 100, "BUY", 100)
    limited.kill("test")
    with pytest.raises(RiskRejected) as caught:
        await limited.place_limit_order("AAPL", 100, "BUY", 100)
    assert caught.value.gates == ["trading_state"]
    assert (await limited.cancel_order(order)).state.is_done
    assert len(gateway.truth.of("recv_place")) == 1
    assert limited.resume("test is over")
    await limited.place_limit_order("AAPL", 100, "BUY", 100)


async def test_kill_outlives_the_connector(gateway: PaperGateway, make: MakeConnector) -> None:
    first = make(gateway.tws_port)
    await first.connect()
    first.kill("stop everything")
    await first.close()
    second = make(gateway.tws_port)
    await second.connect()
    with pytest.raises(RiskRejected, match="stop everything"):
        await second.place_limit_order("AAPL", 1, "BUY", 100)


class TestClosedMarket:
    """The hours of the contract, by the broker's own clock."""

    @pytest.fixture
    def gateway_arguments(self) -> dict[str, object]:
        from datetime import datetime
        from zoneinfo import ZoneInfo

        return {"start": datetime(2026, 11, 18, 21, 0, tzinfo=ZoneInfo("America/New_York"))}

    async def test_order_outside_the_hours_is_refused_with_the_next_opening(
        self, connector: IBKRConnector, gateway: PaperGateway
    ) -> None:
        with pytest.raises(RiskRejected) as caught:
            await connector.place_limit_order("AAPL", 1, "BUY", 100)
        assert caught.value.gates == ["market_hours"]
        assert gateway.truth.of("recv_place") == []


async def test_fifty_callers_from_many_loops_and_threads_cannot_pass_one_limit(
    limited: IBKRConnector, gateway: PaperGateway
) -> None:
    """INV-05: at every step |position + in flight| <= limit, whoever calls."""
    await limited.get_live_quote("AAPL")
    outcomes: list[str] = []

    async def agent(number: int) -> str:
        side = "BUY" if number % 2 else "SELL"
        try:
            order = await limited.place_market_order("AAPL", 90, side, agent=f"agent-{number}")
            await order.done(20)
        except OrderError as error:
            return type(error).__name__
        return order.state.value

    def run(numbers: range) -> None:
        async def several() -> list[str]:
            return list(await asyncio.gather(*(agent(number) for number in numbers)))

        outcomes.extend(asyncio.run(several()))

    starts = range(0, 50, 10)
    await asyncio.gather(*(in_thread(lambda start=start: run(range(start, start + 10))) for start in starts))  # type: ignore[misc]
    assert len(outcomes) == 50
    assert outcomes.count("filled") >= 22
    position, working = Decimal(0), {"BUY": Decimal(0), "SELL": Decimal(0)}
    for entry in gateway.truth.entries:
        quantity = entry.fields.get("quantity")
        if entry.kind == "recv_place":
            working[str(entry.fields["action"])] += Decimal(str(quantity))
        elif entry.kind == "fill":
            side = "BUY" if entry.fields["side"] == "BOT" else "SELL"
            working[side] -= Decimal(str(quantity))
            position += Decimal(str(quantity)) * (1 if side == "BUY" else -1)
        assert position - working["SELL"] >= -1000, entry
        assert position + working["BUY"] <= 1000, entry
    held = {p.contract.symbol: p.quantity for p in await limited.get_positions(refresh=True)}
    assert held.get("AAPL", Decimal(0)) == position


async def test_read_only_setting_refuses_orders(gateway: PaperGateway, make: MakeConnector) -> None:
    connector = make(gateway.tws_port, read_only=True)
    await connector.connect()
    with pytest.raises(OrderNotSent, match="read_only"):
        await connector.place_market_order("AAPL", 1, "BUY")
    assert gateway.truth.of("recv_place") == []
