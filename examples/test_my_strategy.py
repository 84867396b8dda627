"""Your own code, tested against the paper gateway: `pytest test_my_strategy.py` (with pytest-asyncio)."""

from ibkr_connector import IBKRConnector
from ibkr_connector.testing import paper_connector, paper_gateway


async def buy_the_dip(connector: IBKRConnector, symbol: str, drop: float) -> str:
    quote = await connector.get_live_quote(symbol)
    assert quote.bid is not None
    order = await connector.place_limit_order(symbol, 100, "BUY", round(quote.bid * (1 - drop), 2))
    return order.ref


async def test_the_dip_is_bid_for_below_the_market() -> None:
    async with paper_gateway(seed=7) as gateway, paper_connector(gateway) as connector:
        ref = await buy_the_dip(connector, "AAPL", drop=0.02)
        (received,) = gateway.truth.of("recv_place", order_ref=ref)  # what the gateway really got
        assert (received.fields["action"], received.fields["order_type"]) == ("BUY", "LMT")
        order = await connector.get_order(ref)
        assert order.filled_quantity == 0  # it rests
        assert await connector.get_positions() == []
