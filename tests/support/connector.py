"""What tests of the connector share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.events import Event, LinkChanged

ACCOUNT = "DU1234567"
FAST: dict[str, Any] = {
    "handshake_timeouts": (5.0, 5.0, 5.0),
    "connect_delays": (0.01, 0.01, 0.01),
    "orders": {"ack_timeout": 1.0, "settle_interval": 0.1, "settle_link_up": 0.1, "order_deadline": 10.0},
}
"""Patience cut short: what is tested is what happens, not how long it takes."""

MakeConnector = Callable[..., IBKRConnector]


@asynccontextmanager
async def link_reaches(connector: IBKRConnector, state: str, seconds: float = 20.0) -> AsyncIterator[None]:
    """Run the block, then wait until the link has gone to `state` since the block began."""
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen(event: Event) -> None:
        if isinstance(event, LinkChanged) and event.state == state:
            loop.call_soon_threadsafe(reached.set)

    stop = connector.on_event(listen)
    try:
        yield
        async with asyncio.timeout(seconds):
            await reached.wait()
    finally:
        stop()
