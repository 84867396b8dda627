"""An entry with a profit target and a stop: one group, sent together; the exits live only once the entry fills."""

import asyncio

from ibkr_connector import get_ibkr_connector


async def main() -> None:
    async with get_ibkr_connector() as connector:
        quote = await connector.get_live_quote("MSFT")
        assert quote.ask is not None
        bracket = await connector.place_bracket_order(
            "MSFT", 10, entry_price=round(quote.ask * 1.001, 2), stop_loss_pct=0.01, take_profit_pct=0.02
        )
        await bracket.entry.filled(timeout=30)
        print(f"in at {bracket.entry.avg_fill_price}, out at {bracket.take_profit.snapshot.limit_price}")
        await bracket.stop_loss.modify(stop_price=round(quote.ask * 0.995, 2))
        await bracket.cancel()
        await connector.place_market_order("MSFT", 10, "SELL")


asyncio.run(main())
