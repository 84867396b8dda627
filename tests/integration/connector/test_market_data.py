"""Quotes of an account without market data subscriptions."""

from __future__ import annotations

from typing import Any

import pytest

from ibkr_connector.errors import MarketDataNotSubscribed
from ibkr_connector.paper import PaperGateway, TwsOptions
from support.connector import MakeConnector


@pytest.fixture
def gateway_arguments() -> dict[str, Any]:
    return {"options": TwsOptions(entitlement="delayed")}


async def test_delayed_quotes_come_only_to_who_accepts_them_and_are_flagged_also_after_a_reconnect(
    gateway: PaperGateway, make: MakeConnector
) -> None:
    live = make(gateway.tws_port, client_id=2)
    await live.connect()
    with pytest.raises(MarketDataNotSubscribed, match="market_data = delayed"):
        await live.get_live_quote("AAPL", timeout=20)
    await live.close()
    delayed = make(gateway.tws_port, client_id=3, market_data="delayed")
    for _ in range(2):
        await delayed.connect()
        quote = await delayed.get_live_quote("AAPL", timeout=20)
        assert quote.delayed
        assert quote.bid is not None
        await delayed.disconnect()
