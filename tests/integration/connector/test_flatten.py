"""Closing everything: never more than is held, whatever stands in the way is told."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import CancelInDoubt, FlattenIncomplete, OrderNotSent, RiskRejected
from ibkr_connector.events import Event, Incident
from ibkr_connector.models import OrderSnapshot
from ibkr_connector.paper import PaperGateway
from ibkr_connector.resilience import CallOutcome
from support.connector import MakeConnector, incident
from support.shell import Shell

WIDE: dict[str, Any] = {
    "max_order_size": 500,
    "max_position_size": 5000,
    "max_order_value": None,
    "daily_loss_limit": None,
}


def net(gateway: PaperGateway) -> dict[str, Decimal]:
    """Positions, from what the gateway filled."""
    found: dict[str, Decimal] = {}
    for entry in gateway.truth.of("fill"):
        signed = Decimal(str(entry.fields["quantity"])) * (1 if entry.fields["side"] == "BOT" else -1)
        (placed, *_) = gateway.truth.of("recv_place", order_ref=entry.fields["order_ref"])
        symbol = str(placed.fields["symbol"])
        found[symbol] = found.get(symbol, Decimal(0)) + signed
    return {symbol: quantity for symbol, quantity in found.items() if quantity}


@pytest.fixture
async def holder(gateway: PaperGateway, make: MakeConnector) -> IBKRConnector:
    """Long AAPL beyond the size of one order, short MSFT, with orders working."""
    connector = make(gateway.tws_port, risk_limits=WIDE)
    await connector.connect()
    for symbol, action in (("AAPL", "BUY"), ("AAPL", "BUY"), ("MSFT", "SELL")):
        await (await connector.place_market_order(symbol, 400, action)).filled(30)
    await connector.place_limit_order("AAPL", 100, "BUY", 50)
    await connector.place_stop_order("MSFT", 400, "BUY", 5000)
    return connector


async def test_flatten_cancels_closes_all_and_leaves_reducing_only(
    holder: IBKRConnector, gateway: PaperGateway
) -> None:
    report = await holder.flatten("end of the test", timeout=60)
    assert report.flat
    assert len(report.cancelled) == 2
    assert net(gateway) == {}
    assert holder.risk.trading.state.value == "reducing"
    with pytest.raises(RiskRejected) as caught:
        await holder.place_limit_order("AAPL", 1, "BUY", 100)
    assert caught.value.gates == ["trading_state"]
    assert holder.resume("done")
    await holder.place_limit_order("AAPL", 1, "BUY", 100)


async def test_orders_held_back_by_hand_do_not_keep_anybody_in(holder: IBKRConnector, gateway: PaperGateway) -> None:
    holder.breakers.force_open("orders", "the desk is being moved")
    with pytest.raises(OrderNotSent, match="the desk is being moved") as caught:
        await holder.place_limit_order("AAPL", 1, "BUY", 100)
    assert "`ibkr-connector breaker reset orders`" in caught.value.remedy
    assert not caught.value.retryable
    exit_ = await holder.place_limit_order("AAPL", 100, "SELL", 5000)
    assert (await exit_.modify(limit_price=4999)).limit_price == Decimal(4999)
    with pytest.raises(OrderNotSent, match="the desk is being moved"):
        await holder.place_limit_order(
            "MSFT", 100, "BUY", 1
        )  # beside the stop for all of it: it could turn the position
    assert (await holder.flatten("end of the test", timeout=60)).flat
    assert net(gateway) == {}
    assert holder.breakers.status()["orders"]["state"] == "forced_open"
    with pytest.raises(OrderNotSent, match="the desk is being moved"):
        holder.resume("done")
        await holder.place_limit_order("AAPL", 1, "BUY", 100)


async def test_exits_that_turn_the_position_together_do_not_both_pass_a_held_breaker(
    holder: IBKRConnector, gateway: PaperGateway
) -> None:
    holder.breakers.force_open("orders", "the desk is being moved")
    both = (holder.place_limit_order("AAPL", 500, "SELL", 5000) for _ in range(2))
    results = await asyncio.gather(*both, return_exceptions=True)
    refused = [str(one) for one in results if isinstance(one, OrderNotSent)]
    assert len(refused) == 1
    assert "it does not only reduce the position any more" in refused[0]
    assert len([1 for one in gateway.truth.of("recv_place") if one.fields["action"] == "SELL"]) == 2, "MSFT and one"


async def test_tripped_orders_breaker_does_not_keep_anybody_in(holder: IBKRConnector, gateway: PaperGateway) -> None:
    breaker, now = holder._house.session.guard.orders, holder._house.clock.monotonic()
    for _ in range(breaker.policy.failures):
        breaker.record(breaker.acquire(now), CallOutcome.FAILURE, now)
    with pytest.raises(OrderNotSent, match="failures in a row"):
        await holder.place_limit_order("AAPL", 1, "BUY", 100)
    assert (await holder.flatten("end of the test", timeout=60)).flat
    assert net(gateway) == {}


async def test_flatten_after_a_kill_is_a_kill_again_afterwards(holder: IBKRConnector, gateway: PaperGateway) -> None:
    holder.kill("fire")
    assert (await holder.flatten("get out", timeout=60)).flat
    assert net(gateway) == {}
    assert (holder.risk.trading.state.value, holder.risk.trading.reason) == ("halted", "fire")


async def test_flatten_stops_with_an_alert_where_a_strangers_order_could_turn_the_position(
    holder: IBKRConnector, gateway: PaperGateway, make: MakeConnector, tmp_path: Path
) -> None:
    stranger = make(gateway.tws_port, client_id=9, state_dir=tmp_path / "elsewhere")
    await stranger.connect()
    await stranger.place_limit_order("AAPL", 100, "SELL", 5000)
    await holder.get_open_orders(refresh=True)
    async with incident(holder, "flatten_incomplete"):
        with pytest.raises(FlattenIncomplete) as caught:
            await holder.flatten("get out", timeout=30)
    assert caught.value.context["report"]["remaining"] == {"AAPL": "800"}
    assert "open: 800 AAPL" in caught.value.message
    assert "MSFT" not in caught.value.message  # that one was closed
    assert "in TWS" in caught.value.remedy
    assert 'scope="account"' in caught.value.remedy
    assert net(gateway) == {"AAPL": Decimal(800)}
    assert (await holder.flatten("everything", scope="account", timeout=60)).flat
    assert net(gateway) == {}


async def test_flatten_that_could_not_ask_for_positions_names_those_last_told_and_what_to_do(
    holder: IBKRConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unconfirmed(scope: str, timeout: float | None) -> list[OrderSnapshot]:
        raise CancelInDoubt(f"{scope}: no answer")

    monkeypatch.setattr(holder.orders._manager, "cancel_all", unconfirmed)
    told: list[Event] = []
    stop = holder.on_event(told.append)
    async with incident(holder, "flatten_incomplete"):
        with pytest.raises(FlattenIncomplete) as caught:
            await holder.flatten("get out", timeout=5)
    stop()
    error = caught.value
    assert "800 AAPL" in error.message
    assert "-400 MSFT" in error.message
    assert "as last told" in error.message
    assert "orders doubt" in error.remedy
    assert error.context["report"]["remaining"] == {"AAPL": "800", "MSFT": "-400"}
    (alert,) = [event for event in told if isinstance(event, Incident) and event.kind == "flatten_incomplete"]
    assert "800 AAPL" in alert.text
    assert "in TWS" in alert.text


async def test_flatten_in_another_process_is_done_by_the_program_that_trades(
    holder: IBKRConnector, gateway: PaperGateway, tmp_path: Path
) -> None:
    shell = Shell(gateway.tws_port, tmp_path)
    told = await shell.run("flatten", "get out")
    assert (told["positions"], told["trading_state"]) == ({}, "reducing")
    assert net(gateway) == {}
    sold = gateway.truth.of("recv_place", client_id=holder.settings.connection.client_id, symbol="AAPL", action="SELL")
    assert sold


async def test_flatten_without_a_running_program_is_done_by_the_command(
    holder: IBKRConnector, gateway: PaperGateway, tmp_path: Path
) -> None:
    await holder.close()
    told = await Shell(gateway.tws_port, tmp_path).run("flatten", "get out")
    assert (told["connector_pid"], told["positions"]) == (None, {})
    assert net(gateway) == {}


async def test_two_flattens_at_once_do_not_close_twice(holder: IBKRConnector, gateway: PaperGateway) -> None:
    reports = await asyncio.gather(holder.flatten("one", timeout=60), holder.flatten("two", timeout=60))
    assert [report.flat for report in reports] == [True, True]
    assert net(gateway) == {}
