"""The breakers from the outside: an operator's word holds everywhere, and what moves is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import CircuitOpen, InvalidRequest, OrderNotSent
from ibkr_connector.events import BreakerChanged, Event
from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway
from ibkr_connector.session.operator import OperatorWord
from support.connector import MakeConnector, incident, link_reaches
from support.proxy import Proxy


async def test_orders_held_back_by_an_operator_are_refused_and_cancels_pass(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    working = await connector.place_limit_order("AAPL", 1, "BUY", 1.0, reference_price=1.0)
    async with incident(connector, "breaker_open"):
        connector.breakers.force_open("orders", "the desk is being moved")
    with pytest.raises(OrderNotSent, match="the desk is being moved"):
        await connector.place_limit_order("AAPL", 1, "BUY", 1.0, reference_price=1.0)
    reasons = connector.get_connection_status()["not_ready"]["orders"]
    assert any("until an operator resets it: the desk is being moved" in reason for reason in reasons)
    assert (await connector.cancel_order(working)).state is OrderState.CANCELLED
    connector.breakers.reset("orders")
    await connector.place_limit_order("AAPL", 1, "BUY", 1.0, reference_price=1.0)


async def test_what_another_program_says_holds_at_the_next_try_and_after_a_restart(
    gateway: PaperGateway, make: MakeConnector, tmp_path: Path
) -> None:
    connector = make(gateway.tws_port)
    await connector.connect()
    elsewhere = OperatorWord(tmp_path / "state", f"127.0.0.1:{gateway.tws_port}", connector._house.clock)
    elsewhere.force_open("reads", "too noisy")
    with pytest.raises(CircuitOpen, match="too noisy"):
        await connector.get_server_time()
    await connector.close()
    elsewhere.reset("reads")
    elsewhere.force_open("connect", "closed for the weekend")
    after = make(gateway.tws_port)
    with pytest.raises(CircuitOpen, match="until an operator resets it: closed for the weekend"):
        await after.connect()
    assert not after.should_attempt_connection()
    elsewhere.reset("connect")
    await after.connect()
    assert {plane: one["state"] for plane, one in after.breakers.status().items()} == {
        "connect": "closed",
        "orders": "closed",
        "reads": "closed",
    }


async def test_planes_that_do_not_exist_are_refused(connector: IBKRConnector) -> None:
    with pytest.raises(InvalidRequest, match="connect, orders, reads"):
        connector.breakers.force_open("cancels", "x")
    with pytest.raises(InvalidRequest, match="connect, orders, reads"):
        connector.breakers.reset("")
    with pytest.raises(InvalidRequest):
        connector.breakers.force_open("reads", " ")


async def test_every_move_of_a_breaker_is_an_event(make: MakeConnector, proxy: Proxy) -> None:
    proxy.refuse = True
    connector = make(proxy.port, breaker={"cooldown": 0.05, "max_cooldown": 0.05})
    moves: list[tuple[str, str, str]] = []
    closed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen(event: Event) -> None:
        if isinstance(event, BreakerChanged):
            moves.append((event.plane, event.previous, event.state))
            if event.state == "closed":
                loop.call_soon_threadsafe(closed.set)

    connector.on_event(listen)
    with pytest.raises(ConnectionError):
        await connector.connect()
    proxy.refuse = False
    async with asyncio.timeout(20.0), link_reaches(connector, "ready"):
        while True:
            try:
                await connector.connect()
                break
            except CircuitOpen as error:
                await asyncio.sleep(float(error.context["retry_after"]))  # as it asks for
    await asyncio.wait_for(closed.wait(), 20.0)
    assert moves == [
        ("connect", "closed", "open"),
        ("connect", "open", "half_open"),
        ("connect", "half_open", "closed"),
    ]
