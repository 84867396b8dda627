"""Streams of order snapshots: of one order, and of all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeAlias

from ibkr_connector.errors import ConnectorClosed
from ibkr_connector.models.order import OrderSnapshot
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.session.mailbox import Mailbox

Box: TypeAlias = Mailbox[OrderSnapshot]


class OrderUpdates:
    """An async context manager and iterator of `OrderSnapshot`s: first the present one, last the order's end.

    When the connector is closed the `async for` ends, whatever state the order is in; a stream begun afterwards raises
    `ConnectorClosed`.
    """

    def __init__(
        self,
        attach: Callable[[Box], Awaitable[None]],
        detach: Callable[[Box], Awaitable[None]],
        capacity: int = 10_000,
    ) -> None:
        self._attach = attach
        self._detach = detach
        self._capacity = capacity
        self._box: Box | None = None

    @property
    def dropped(self) -> int:
        """Snapshots lost because the reader was too slow: the oldest, never the newest."""
        return self._box.dropped if self._box is not None else 0

    async def aclose(self) -> None:
        """End the stream. Idempotent; after the connector was closed there is nothing left to end."""
        box = self._box
        if box is not None:
            box.close()
            with contextlib.suppress(ConnectorClosed):
                await self._detach(box)

    async def __aenter__(self) -> Self:
        if self._box is None:
            box: Box = Mailbox(asyncio.get_running_loop(), self._capacity)
            try:
                await self._attach(box)
            except BaseException:
                box.close()  # it may have been attached already: a closed box is forgotten with the next change
                raise
            self._box = box
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> OrderSnapshot:
        await self.__aenter__()
        assert self._box is not None  # noqa: S101 - entering made it
        return await self._box.get()


class AllOrderUpdates(OrderUpdates):
    """An async context manager and iterator of `OrderSnapshot`s: first every open order, then one for each change.

        async with connector.order_updates() as updates:
            async for order in updates:
                print(order.order_ref, order.state, order.filled)

    It survives outages, and what was learnt after a reconnect is in it. A reader that is too slow loses the oldest
    snapshots (`dropped` counts them), never the newest. When the connector is closed the `async for` ends; a stream
    begun afterwards raises `ConnectorClosed`.
    """


class Following:
    """One order's way into a box. Used on the session loop."""

    def __init__(self, live: LiveOrder) -> None:
        self._live = live
        self._stop: Callable[[], None] = lambda: None

    async def begin(self, box: Box) -> None:
        """Start with what is known now; the order's end ends the box too."""

        def tell(snapshot: OrderSnapshot) -> None:
            if not box.push(snapshot):  # the reader left, or its loop is gone
                self._stop()
            elif snapshot.state.is_done:
                box.close()
                self._stop()

        self._stop = self._live.listen(tell, ended=box.close)
        tell(self._live.snapshot)

    async def end(self) -> None:
        """Listen no more. Idempotent."""
        self._stop()
