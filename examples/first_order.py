"""Buy 100 shares, protect them, and see what the broker says. Needs a paper gateway (`ibkr-connector paper`) or TWS."""

import asyncio
from decimal import Decimal

from ibkr_connector import OrderError, get_ibkr_connector


async def main() -> None:
    async with get_ibkr_connector() as connector:
        summary = await connector.get_account_summary()
        print(f"{summary.account_id}: {summary.net_liquidation:,.2f} {summary.currency}")
        try:
            order = await connector.place_market_order("AAPL", 100, "BUY")
            done = await order.filled(timeout=30)
        except OrderError as error:  # refused by a limit, rejected, in doubt: the text says what to do
            raise SystemExit(str(error)) from error
        price = done.fills[-1].price
        print(f"bought {done.filled} at {price}")
        stop = await connector.place_stop_order("AAPL", 100, "SELL", round(price * Decimal("0.99"), 2))
        print(f"protected by {stop!r}")


asyncio.run(main())
