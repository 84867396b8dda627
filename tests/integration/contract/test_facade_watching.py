"""Every method of the facade that watches or stops, over both backends, against one gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import RiskRejected, TradingError
from ibkr_connector.facade import Facade
from ibkr_connector.models.order import OrderState
from ibkr_connector.paper import PaperGateway
from support.connector import FAST
from support.web import web_settings

from .conftest import SECONDS

LIMITS = {"daily_loss_limit": None, "check_market_hours": False}


@pytest.fixture
async def both(gateway: PaperGateway, tmp_path: Path) -> AsyncIterator[tuple[IBKRConnector, IBKRConnector]]:
    """A connector over each backend, TWS first."""
    tws = IBKRConnector(
        profile="watching-tws", port=gateway.tws_port, state_dir=tmp_path / "tws", risk_limits=LIMITS, **FAST
    )
    settings = web_settings(gateway, risk_limits=LIMITS, web={"watch_every": 1})
    web = IBKRConnector(profile="watching-web", state_dir=tmp_path / "web", **settings)
    try:
        await tws.connect()
        await web.connect()
        yield tws, web
    finally:
        await tws.close()
        await web.close()


def shape(value: Any) -> Any:
    """Names and kinds of what is told, without the figures."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    return type(value).__name__


async def test_the_newest_bar_is_the_same(both: tuple[IBKRConnector, IBKRConnector]) -> None:
    tws, web = [await one.get_market_data("AAPL", "1 hour", "1 D") for one in both]
    assert shape(tws) == shape(web)
    assert (tws["symbol"], tws["timestamp"], tws["open"]) == (web["symbol"], web["timestamp"], web["open"])


async def test_quotes_stream_with_the_same_fields(both: tuple[IBKRConnector, IBKRConnector]) -> None:
    seen = []
    for one in both:
        async with asyncio.timeout(SECONDS), one.stream_quotes("AAPL") as quotes:
            async for quote in quotes:
                if quote.bid is not None and quote.ask is not None and quote.last is not None:
                    seen.append(quote)
                    break
    tws, web = seen
    assert tws.to_dict().keys() == web.to_dict().keys()
    assert (tws.symbol, tws.con_id, tws.delayed) == (web.symbol, web.con_id, web.delayed)


async def test_updates_of_all_orders_tell_the_same_life(both: tuple[IBKRConnector, IBKRConnector]) -> None:
    for one in both:
        states: list[OrderState] = []
        async with asyncio.timeout(SECONDS), one.order_updates(foreign=False) as updates:
            order = await one.place_limit_order("AAPL", 5, "BUY", 200)
            assert (await one.get_order_status(order.ref)).to_dict() == order.snapshot.to_dict()
            await one.cancel_order(order.ref)
            async for told in updates:
                if told.order_ref == order.ref:
                    states.append(told.state)
                    if told.state.is_done:
                        break
        assert states[-1] is OrderState.CANCELLED
        assert OrderState.WORKING in states


async def test_health_breakers_and_limits_are_told_alike(both: tuple[IBKRConnector, IBKRConnector]) -> None:
    tws, web = [one.health().to_dict() for one in both]
    assert {name: plane["ready"] for name, plane in tws["planes"].items()} == {
        name: plane["ready"] for name, plane in web["planes"].items()
    }
    tws, web = [one.breakers.status() for one in both]
    assert shape(tws) == shape(web)
    assert {name: one["state"] for name, one in tws.items()} == {name: one["state"] for name, one in web.items()}
    tws, web = [one.risk.status() for one in both]
    assert tws.keys() == web.keys()
    assert {one.should_attempt_connection() for one in both} == {False}  # there is a connection


@pytest.mark.parametrize("stop", ["kill", "reduce_only"])
async def test_what_stops_trading_stops_it_over_either(both: tuple[IBKRConnector, IBKRConnector], stop: str) -> None:
    for one in both:
        getattr(one, stop)("enough")
        with pytest.raises(RiskRejected, match="enough"):
            await one.place_limit_order("AAPL", 5, "BUY", 200)
        one.resume("again")
        order = await one.place_limit_order("AAPL", 5, "BUY", 200)
        assert (await one.cancel_order(order.ref)).state is OrderState.CANCELLED


async def test_only_an_order_in_doubt_can_be_resolved(both: tuple[IBKRConnector, IBKRConnector]) -> None:
    told: list[type[TradingError]] = []
    for one in both:
        order = await one.place_limit_order("AAPL", 5, "BUY", 200)
        with pytest.raises(TradingError) as caught:
            await one.resolve(order, "cancelled", "the operator looked")
        told.append(type(caught.value))
        await one.cancel_order(order.ref)
    assert told[0] is told[1]


def test_no_method_of_the_facade_is_left_out() -> None:
    text = "".join(file.read_text() for file in Path(__file__).parent.glob("test_facade*.py"))
    methods = {name for name in vars(Facade) if not name.startswith("_")}
    assert {name for name in methods if f".{name}(" not in text and f'"{name}"' not in text} <= {
        "orders", "account", "market", "history", "contracts", "risk", "breakers",
    }  # fmt: skip
