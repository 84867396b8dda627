"""Buy 100 shares and protect them. Needs a paper gateway (`ibkr-connector paper`) or TWS."""

import asyncio

from ibkr_connector import OrderError, get_ibkr_connector


async def main() -> None:
    async with get_ibkr_connector() as connector:
        try:
            order = await connector.place_market_order("AAPL", 100, "BUY")
            price = (await order.filled(timeout=30)).fills[-1].price
            print(f"bought 100 at {price}")
            stop = await connector.place_stop_order("AAPL", 100, "SELL", price - 2)
            print(f"protected by {stop!r}")
        except OrderError as error:  # refused by a limit, rejected, in doubt: the text says what to do
            raise SystemExit(str(error)) from error


asyncio.run(main())
