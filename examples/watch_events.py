"""Hear what happens inside: link changes, order updates, incidents. Listeners run on threads of their own."""

import asyncio

from ibkr_connector import get_ibkr_connector
from ibkr_connector.events import Event, Incident, LinkChanged, OrderUpdated


def tell(event: Event) -> None:
    match event:
        case LinkChanged():
            print(f"link: {event.previous} → {event.state} ({event.reason})")
        case OrderUpdated():
            print(f"order {event.order_ref}: {event.what}, now {event.order['state']}")
        case Incident():
            print(f"LOOK: {event.text}")


async def main() -> None:
    connector = get_ibkr_connector()
    stop = connector.on_event(tell)
    async with connector:
        order = await connector.place_limit_order("AAPL", 10, "BUY", limit_price=1.00)
        await order.cancel()
    stop()


asyncio.run(main())
