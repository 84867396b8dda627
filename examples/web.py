"""The same over IBKR's Web API. Where it is: IBKR_WEB_URL, or `[web] url`; see the README, "Over the Web API"."""

import asyncio

from ibkr_connector import OrderError, get_ibkr_connector


async def main() -> None:
    confirm = ("o10331",)  # the broker asks back about stop orders: yes, to each of them
    async with get_ibkr_connector(backend="web", web={"confirm": confirm}) as connector:
        try:
            order = await connector.place_market_order("AAPL", 100, "BUY")
            price = (await order.filled(timeout=30)).fills[-1].price
            print(f"bought 100 at {price}")
            stop = await connector.place_stop_order("AAPL", 100, "SELL", price - 2)
            print(f"protected by {stop!r}")
        except OrderError as error:  # refused, rejected, in doubt, or a question that `confirm` does not name
            raise SystemExit(str(error)) from error


asyncio.run(main())
