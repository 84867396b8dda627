"""Gates that need more than the order: the account, its agents, the broker's own preview. Through sockets."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import ModifyRejected, OrderError, RiskRejected
from ibkr_connector.orders.journal_read import JournalReader
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT, MakeConnector

WIDE: dict[str, Any] = {"max_order_value": None, "daily_loss_limit": None}


async def refused(connector: IBKRConnector, symbol: str, quantity: float, action: str, **more: Any) -> RiskRejected:
    with pytest.raises(RiskRejected) as caught:
        await connector.place_market_order(symbol, quantity, action, **more)
    return caught.value


async def connected(gateway: PaperGateway, make: MakeConnector, limits: dict[str, Any], **more: Any) -> IBKRConnector:
    connector = make(gateway.tws_port, risk_limits={**WIDE, **limits}, **more)
    await connector.connect()
    return connector


async def test_restricted_symbol_may_be_sold_and_not_bought(gateway: PaperGateway, make: MakeConnector) -> None:
    first = await connected(gateway, make, {})
    await (await first.place_market_order("AAPL", 10, "BUY")).filled(30)
    await first.close()
    second = await connected(gateway, make, {"restricted_symbols": "aapl"})
    assert (await refused(second, "AAPL", 1, "BUY")).gates == ["restricted"]
    await (await second.place_market_order("AAPL", 10, "SELL")).filled(30)


async def test_gross_exposure_counts_what_is_held_in_other_contracts(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    connector = await connected(gateway, make, {"max_gross_exposure": 60_000})
    quotes = {symbol: await connector.get_live_quote(symbol) for symbol in ("AAPL", "MSFT")}
    asks = {symbol: Decimal(str(quote.ask)) for symbol, quote in quotes.items()}
    half = {symbol: int(Decimal(28_000) / ask) for symbol, ask in asks.items()}
    await (await connector.place_market_order("AAPL", half["AAPL"], "BUY")).filled(30)
    error = await refused(connector, "MSFT", half["MSFT"] * 2, "BUY")
    assert error.gates == ["gross_exposure"]
    await connector.place_limit_order("MSFT", half["MSFT"], "SELL", float(round(asks["MSFT"] * Decimal("1.01"), 2)))
    assert (await refused(connector, "MSFT", half["MSFT"], "SELL")).gates == ["gross_exposure"]
    await (await connector.place_market_order("AAPL", half["AAPL"], "SELL")).filled(30)


async def test_short_sale_is_refused_where_only_what_is_held_may_be_sold(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    connector = await connected(gateway, make, {"allow_short": False})
    assert (await refused(connector, "AAPL", 1, "SELL")).gates == ["short_selling"]
    await (await connector.place_market_order("AAPL", 5, "BUY")).filled(30)
    bracket = await connector.place_bracket_order(
        "AAPL", 5, 100, take_profit_price=400, stop_loss_price=50, action="BUY"
    )
    assert not bracket.entry.is_done
    await connector.place_limit_order("AAPL", 5, "SELL", 900)
    assert (await refused(connector, "AAPL", 1, "SELL")).gates == ["short_selling"]


async def test_buying_power_is_the_brokers_by_value_and_by_its_preview(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    by_value = await connected(gateway, make, {"buying_power": "value", "max_order_size": None})
    summary, quote = await by_value.get_account_summary(), await by_value.get_live_quote("AAPL")
    assert quote.ask is not None
    too_many = int(float(summary.buying_power) / quote.ask * 1.05)
    wide = {"max_order_size": None, "max_position_size": None}
    await by_value.close()
    by_value = await connected(gateway, make, {"buying_power": "value", **wide})
    assert (await refused(by_value, "AAPL", too_many, "BUY")).gates == ["buying_power"]
    await by_value.close()
    asked = await connected(gateway, make, {"buying_power": "what_if", **wide})
    assert (await refused(asked, "AAPL", too_many, "BUY")).gates == ["buying_power"]
    order = await asked.place_limit_order("AAPL", 10, "BUY", 100)
    assert not order.is_done
    assert len(gateway.truth.of("recv_place")) == 1  # a preview is no order


async def test_an_agents_limits_hold_over_a_restart_and_leave_the_others_alone(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    agents = {"momentum-1": {"max_position_size": 100, "max_open_orders": 1}}
    first = await connected(gateway, make, {}, agents=agents)
    await (await first.place_market_order("AAPL", 60, "BUY", agent="momentum-1")).filled(30)
    await (await first.place_market_order("AAPL", 500, "BUY", agent="other")).filled(30)
    assert (await refused(first, "AAPL", 41, "BUY", agent="momentum-1")).gates == ["agent_limits"]
    await first.close()
    second = await connected(gateway, make, {}, agents=agents)
    assert (await refused(second, "AAPL", 41, "BUY", agent="Momentum-1")).gates == ["agent_limits"]
    working = await second.place_limit_order("AAPL", 40, "BUY", 50, agent="momentum-1")
    assert (await refused(second, "MSFT", 1, "BUY", agent="momentum-1")).gates == ["agent_limits"]
    with pytest.raises((RiskRejected, ModifyRejected)):
        await second.modify_order(working, quantity=41)
    await second.close()
    third = await connected(gateway, make, {}, agents=agents)  # its working order is counted again, and once
    await third.cancel_order(working.ref)
    await (await third.place_market_order("AAPL", 40, "BUY", agent="momentum-1")).filled(30)


@pytest.mark.parametrize(
    ("limits", "agents", "gate"),
    [
        ({"duplicate_window": 3600}, {}, "duplicate_order"),
        ({"max_orders": 1, "max_orders_window": 3600}, {}, "order_rate"),
        ({"max_orders_window": 3600}, {"momentum-1": {"max_orders": 1}}, "agent_limits"),
    ],
)
async def test_a_program_that_is_started_again_and_again_repeats_no_order(
    gateway: PaperGateway, make: MakeConnector, limits: dict[str, Any], agents: dict[str, Any], gate: str
) -> None:
    """A strategy that crashes and is restarted by its supervisor is the runaway these gates are for."""
    first = await connected(gateway, make, limits, agents=agents)
    placed = await first.place_limit_order("AAPL", 1, "BUY", 50, agent="momentum-1", order_ref="one")
    await first.close()
    second = await connected(gateway, make, limits, agents=agents)
    again = await second.place_limit_order("AAPL", 1, "BUY", 50, agent="momentum-1", order_ref="one")
    assert again.order_id == placed.order_id  # the same order, not another like it
    with pytest.raises(RiskRejected) as caught:
        await second.place_limit_order("AAPL", 1, "BUY", 50, agent="momentum-1")
    assert caught.value.gates == [gate]
    await second.close()
    wide = await connected(gateway, make, {**limits, "max_orders": None, "duplicate_window": None})
    await wide.place_limit_order("AAPL", 1, "BUY", 50, agent="momentum-1")
    assert len(gateway.truth.of("recv_place")) == 2


async def test_agents_of_many_loops_cannot_pass_the_limit_of_one(gateway: PaperGateway, make: MakeConnector) -> None:
    connector = await connected(gateway, make, {}, agents={"a": {"max_position_size": 50}})
    await connector.get_live_quote("AAPL")

    async def buy(agent: str) -> str:
        try:
            await (await connector.place_market_order("AAPL", 10, "BUY", agent=agent)).filled(30)
        except OrderError as error:
            return type(error).__name__
        return "filled"

    outcomes = await asyncio.gather(*(buy(agent) for agent in ["a", "b"] * 10))
    assert sorted(outcomes[0::2]) == ["RiskRejected"] * 5 + ["filled"] * 5
    assert outcomes[1::2] == ["filled"] * 10


async def test_same_order_twice_and_too_many_are_refused_and_every_refusal_is_in_the_audit_trail(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    connector = await connected(gateway, make, {"duplicate_window": 3600, "max_open_orders": 1})
    await connector.place_limit_order("AAPL", 1, "BUY", 100)
    with pytest.raises(RiskRejected) as caught:
        await connector.place_limit_order("AAPL", 1, "BUY", 100)
    assert caught.value.gates == ["duplicate_order", "open_orders"]
    await connector.close()
    reader = JournalReader.of(connector.settings.paths.state_dir, ACCOUNT)
    kept = [json.loads(entry.data) for entry in reader.audit() if entry.kind == "risk_refused"]
    assert [[gate["gate"] for gate in one["gates"] if not gate["passed"]] for one in kept] == [caught.value.gates]
    assert reader.verify().ok
    assert len(gateway.truth.of("recv_place")) == 1


async def test_price_off_the_tick_never_reaches_the_broker(connector: IBKRConnector, gateway: PaperGateway) -> None:
    with pytest.raises(RiskRejected) as caught:
        await connector.place_limit_order("AAPL", 1, "BUY", Decimal("100.001"))
    assert caught.value.gates == ["tick"]
    assert gateway.truth.of("recv_place") == []


async def test_daily_loss_trip_outlives_a_restart(gateway: PaperGateway, make: MakeConnector) -> None:
    first = make(gateway.tws_port, risk_limits={"daily_loss_limit": 10_000, "max_order_value": None})
    await first.connect()
    order = await first.place_market_order("AAPL", 10, "BUY")
    await order.filled(30)
    await first.close()
    tight = {"daily_loss_limit": "0.01", "max_order_value": None}
    second = make(gateway.tws_port, risk_limits=tight)  # the fee alone is more
    await second.connect()
    assert "daily_loss" in (await refused(second, "AAPL", 10, "BUY")).gates
    await (await second.place_market_order("AAPL", 10, "SELL")).filled(30)
    await second.close()
    third = make(gateway.tws_port, risk_limits=tight)
    await third.connect()
    assert third.risk.status()["daily_loss_tripped"] is True
    with pytest.raises(RiskRejected, match="passed daily_loss_limit"):
        await third.place_limit_order("AAPL", 1, "BUY", 1)
