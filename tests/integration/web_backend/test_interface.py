"""The six blocking calls, over the Web API, from a thread of their own as a small bot calls them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ibkr_connector.errors import (
    IBKRConnectionError,
    InvalidRequest,
    LiveTradingRefused,
    NotConnected,
    OrderValidationError,
)
from ibkr_connector.interface import IBIndClient, IBInterface
from ibkr_connector.paper import PaperGateway
from support.connector import ACCOUNT
from support.web import web_settings

MakeClient = Callable[..., IBIndClient]


@pytest.fixture
async def make_client(gateway: PaperGateway, tmp_path: Path) -> AsyncIterator[MakeClient]:
    """Makes clients with files of their own, and disconnects them all."""
    made: list[IBIndClient] = []

    def build(base_url: str = "", **arguments: Any) -> IBIndClient:
        settings = web_settings(gateway)
        for name in ("backend", "web", "handshake_timeouts"):
            settings.pop(name)
        client = IBIndClient(
            base_url or gateway.web.url,
            profile=f"test-{uuid.uuid4().hex[:8]}",
            state_dir=tmp_path / "state",
            **{**settings, **arguments},
        )
        made.append(client)
        return client

    yield build
    for client in made:
        await asyncio.to_thread(client.disconnect)


async def test_a_small_bot_trades_with_six_calls(make_client: MakeClient, gateway: PaperGateway) -> None:
    client: IBInterface = make_client()
    assert not client.is_connected()
    await asyncio.to_thread(client.connect)
    assert client.is_connected()
    assert await asyncio.to_thread(client.get_account) == ACCOUNT
    quote = await asyncio.to_thread(client.get_market_data, "AAPL")
    assert quote.bid is not None
    assert quote.ask is not None
    assert quote.bid < quote.ask
    assert (quote.ticker, quote.last_price is not None) == ("AAPL", True)
    order_id = await asyncio.to_thread(client.place_order, "AAPL", "BUY", 3)
    assert isinstance(order_id, int)
    await gateway.truth.wait_for("fill", timeout=20)
    await asyncio.to_thread(client.disconnect)
    assert not client.is_connected()
    assert [position.quantity for position in gateway.exchange.positions(None)] == [3]


async def test_it_can_connect_again_after_a_disconnect(make_client: MakeClient) -> None:
    client = make_client()
    for _ in range(2):
        await asyncio.to_thread(client.connect)
        assert client.is_connected()
        await asyncio.to_thread(client.disconnect)
    await asyncio.to_thread(client.disconnect)


async def test_host_and_port_must_be_those_of_the_url(make_client: MakeClient) -> None:
    client = make_client()
    with pytest.raises(InvalidRequest, match="base_url"):
        await asyncio.to_thread(client.connect, "ibeam", 5000)
    with pytest.raises(InvalidRequest, match="base_url"):
        await asyncio.to_thread(client.connect, "", 1)
    assert not client.is_connected()


async def test_before_connect_it_says_what_to_call(make_client: MakeClient) -> None:
    client = make_client()
    for call in (client.get_account, lambda: client.place_order("AAPL", "BUY", 1)):
        with pytest.raises(NotConnected, match="connect"):
            await asyncio.to_thread(call)


async def test_a_gateway_that_is_not_there_is_an_error(make_client: MakeClient, unused_tcp_port: int) -> None:
    client = make_client(f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(IBKRConnectionError):
        await asyncio.to_thread(client.connect)


async def test_bad_orders_are_refused_before_anything_is_sent(make_client: MakeClient, gateway: PaperGateway) -> None:
    client = make_client()
    await asyncio.to_thread(client.connect)
    for order in (("AAPL", "HOLD", 1), ("AAPL", "BUY", 0)):
        with pytest.raises(OrderValidationError):
            await asyncio.to_thread(client.place_order, *order)
    assert gateway.truth.of("recv_place") == []


class TestLiveAccount:
    @pytest.fixture
    def gateway_arguments(self) -> dict[str, Any]:
        return {"accounts": ("U7654321",)}

    async def test_a_live_account_is_refused_unless_asked_for(self, make_client: MakeClient) -> None:
        client = make_client()
        with pytest.raises(LiveTradingRefused):
            await asyncio.to_thread(client.connect)
        assert not client.is_connected()
