"""IBKR tells changes only: a market that stands still is no reason to wait, and a dead line is none to believe."""

from __future__ import annotations

import pytest

from ibkr_connector.errors import NoMarketData
from ibkr_connector.paper import PaperGateway
from support.connector import MakeConnector
from support.proxy import Proxy, is_kind

TICKS = is_kind("1", "2", "45", "46", "57", "58", "81")


async def test_quote_of_a_standing_market_is_current_while_the_connection_lives(
    proxy: Proxy, make: MakeConnector, gateway: PaperGateway
) -> None:
    connector = make(proxy.port)
    await connector.connect()
    async with connector.stream_quotes("AAPL"):
        await connector.get_live_quote("AAPL")
        proxy.swallow_answers = TICKS  # from here on nothing changes
        quote = await connector.get_live_quote("AAPL", max_age=0.001, timeout=20)
        assert quote.bid is not None
        order = await connector.place_limit_order("AAPL", 1, "BUY", 150)
        assert not order.is_done


async def test_quote_is_not_current_while_its_data_farm_is_down(proxy: Proxy, make: MakeConnector) -> None:
    connector = make(proxy.port)
    await connector.connect()
    async with connector.stream_quotes("AAPL"):
        await connector.get_live_quote("AAPL")
        proxy.swallow_answers = TICKS
        proxy.say_error(2103, "Market data farm connection is broken:usfarm")
        await connector.get_server_time()
        with pytest.raises(NoMarketData):
            await connector.get_live_quote("AAPL", max_age=1e-9, timeout=0.2)  # the last tick may be this fresh
