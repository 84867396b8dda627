"""What tests of the connector share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from ibkr_connector.connector import IBKRConnector
from ibkr_connector.events import Event, Incident, LinkChanged
from ibkr_connector.models.order import OrderSnapshot
from ibkr_connector.orders.handle import Order
from ibkr_connector.paper import PaperGateway

ACCOUNT = "DU1234567"
FAST: dict[str, Any] = {
    "handshake_timeouts": (5.0, 5.0, 5.0),
    "connect_delays": (0.01, 0.01, 0.01),
    "gateway": {"nightly_reset": None, "weekly_login": None},
    "orders": {"ack_timeout": 4.0, "settle_interval": 0.1, "settle_link_up": 0.1, "order_deadline": 20.0},
}
"""Patience cut short: what is tested is what happens, not how long it takes."""

MakeConnector = Callable[..., IBKRConnector]


def arrived(gateway: PaperGateway, ref: str) -> int:
    """How often an order of this name reached the gateway, changes included."""
    return len([entry for entry in gateway.truth.of("recv_place") if entry.fields.get("order_ref") == ref])


async def reaches(order: Order, condition: Callable[[OrderSnapshot], bool], seconds: float = 20.0) -> OrderSnapshot:
    """Wait until the order's snapshot fulfils a condition."""
    async with asyncio.timeout(seconds), order.updates() as updates:
        async for snapshot in updates:
            if condition(snapshot):
                return snapshot
    msg = f"{order.ref} ended as {order.snapshot.state} without it"
    raise AssertionError(msg)


async def settled(connector: IBKRConnector, ref: str, seconds: float = 20.0) -> OrderSnapshot:
    """Wait until nothing about the order is in doubt any more."""
    order = await connector.get_order(ref)
    async with asyncio.timeout(seconds), order.updates() as updates:
        if not any(doubtful.order_ref == ref for doubtful in connector.orders_in_doubt()):
            return order.snapshot
        async for snapshot in updates:
            if not any(doubtful.order_ref == ref for doubtful in connector.orders_in_doubt()):
                return snapshot
    return order.snapshot


@asynccontextmanager
async def incident(connector: IBKRConnector, kind: str, seconds: float = 20.0) -> AsyncIterator[None]:
    """Run the block, then wait until an incident of this kind was told since the block began."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen(event: Event) -> None:
        if isinstance(event, Incident) and event.kind == kind:
            loop.call_soon_threadsafe(told.set)

    stop = connector.on_event(listen)
    try:
        yield
        async with asyncio.timeout(seconds):
            await told.wait()
    finally:
        stop()


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
