"""Quotes of several contracts at once. A stream survives outages; leaving the block gives its line back."""

import asyncio

from ibkr_connector import get_ibkr_connector


async def main() -> None:
    async with get_ibkr_connector() as connector:

        async def watch(symbol: str, count: int) -> None:
            async with connector.stream_quotes(symbol) as quotes:
                async for quote in quotes:
                    print(f"{symbol:8} {quote.bid} / {quote.ask}")
                    count -= 1
                    if not count:
                        return

        await asyncio.gather(*(watch(symbol, count=5) for symbol in ("AAPL", "EUR.USD")))


asyncio.run(main())
