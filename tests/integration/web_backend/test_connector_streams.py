"""Streams over the Web API through the connector's public interface, also across gaps."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.backends import factory
from ibkr_connector.backends.web.calls import WebCalls
from ibkr_connector.connector import IBKRConnector
from ibkr_connector.errors import NoMarketData
from ibkr_connector.events import BrokerLinkChanged, Event
from ibkr_connector.paper import PaperGateway, WebOptions
from support.connector import link_reaches
from support.webstreams import QUICK, SECONDS, asked_of, count

from .conftest import MakeWeb


@pytest.fixture
def times() -> Any:
    """How patient streams are; tests override this fixture."""
    return QUICK


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch, times: Any) -> None:
    plain = factory.web_endpoint
    monkeypatch.setattr(factory, "web_endpoint", lambda settings: replace(plain(settings), streams=times))


async def test_a_stream_goes_on_across_a_closed_websocket(gateway: PaperGateway, web: IBKRConnector) -> None:
    async with asyncio.timeout(SECONDS * 2), web.stream_quotes("AAPL") as stream:
        first = await anext(stream)
        assert first.bid is not None
        async with link_reaches(web, "syncing"), link_reaches(web, "ready"):
            gateway.inject("websocket_close")
        async for quote in stream:
            if quote.at is not None and first.at is not None and quote.at > first.at and web.connected:
                break
        assert web.connected
        await web.ready(SECONDS)


async def test_the_state_is_read_again_after_a_gap(
    gateway: PaperGateway, web: IBKRConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    get = WebCalls.get

    async def noting(calls: WebCalls, path: str, params: Any = None, *, timeout: float) -> Any:
        asked.append(path)
        return await get(calls, path, params, timeout=timeout)

    monkeypatch.setattr(WebCalls, "get", noting)
    epoch = web.get_connection_status()["epoch"]
    async with link_reaches(web, "syncing"), link_reaches(web, "ready"):
        gateway.inject("websocket_close")
    await web.ready(SECONDS)
    for path in ("positions", "summary", "ledger"):
        assert any(one.endswith(path) for one in asked), path
    assert web.get_connection_status()["epoch"] == epoch


@pytest.mark.parametrize("web_options", [WebOptions(limits=None, heartbeat=0.2)], ids=["quick"])
@pytest.mark.parametrize("times", [replace(QUICK, silence=1.0, retry_first=0.5)], ids=["quick"])
async def test_nothing_is_ready_for_orders_while_the_websocket_is_silent(
    gateway: PaperGateway, web: IBKRConnector
) -> None:
    down = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen(event: Event) -> None:
        if isinstance(event, BrokerLinkChanged) and not event.up and not web.get_connection_status()["reconciled"]:
            loop.call_soon_threadsafe(down.set)

    stop = web.on_event(listen)
    gateway.inject("websocket_silent", for_=600.0)
    async with asyncio.timeout(SECONDS):
        await down.wait()
    stop()
    await web.ready(SECONDS)


async def test_a_quote_that_is_too_old_is_asked_for_again(
    gateway: PaperGateway, web: IBKRConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asked_of(monkeypatch) as asked:
        await web.get_live_quote("AAPL")
        with contextlib.suppress(NoMarketData):  # the market may stand still for that second: it was asked all the same
            await web.get_live_quote("AAPL", max_age=1e-9, timeout=1.0)
        await asked.until(lambda texts: count(texts, "smd") >= 2)


async def test_profit_comes_by_itself(gateway: PaperGateway, web: IBKRConnector) -> None:
    async with asyncio.timeout(SECONDS):
        # The portfolio has no event of its own for it.
        while (await web.get_portfolio_pnl()).daily is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_two_connectors_in_one_process_are_independent(
    gateway: PaperGateway, make_web: MakeWeb, tmp_path: Path
) -> None:
    one, two = make_web(), make_web(state_dir=tmp_path / "other")
    await one.connect()
    await two.connect()
    async with asyncio.timeout(SECONDS), two.stream_quotes("AAPL") as stream:
        await anext(stream)
        await one.close()
        for _ in range(3):
            await anext(stream)
        assert two.connected


async def test_an_orders_updates_trades_and_position_come_by_themselves(
    gateway: PaperGateway, web: IBKRConnector
) -> None:
    async with asyncio.timeout(SECONDS * 2):
        order = await web.place_market_order("AAPL", 5, "BUY")
        done = await order.filled()
        assert done.filled == 5
        # The position has no event of its own.
        while not [held for held in await web.get_positions() if held.quantity == 5 and held.market_value]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert (await web.get_portfolio_pnl()).positions_count == 1
