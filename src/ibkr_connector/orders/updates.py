"""Streams of order snapshots: of one order, and of all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from ibkr_connector.errors import ConnectorClosed
from ibkr_connector.models.order import OrderSnapshot
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.session.mailbox import Mailbox

_CAPACITY = 10_000


class OrderUpdates:
    """An async context manager and iterator of `OrderSnapshot`s: first the present one, last the order's end.

    When the connector is closed the `async for` ends, whatever state the order is in; a stream begun afterwards raises
    `ConnectorClosed`.
    """

    def __init__(
        self,
        attach: Callable[[OrderUpdates, asyncio.AbstractEventLoop], Awaitable[None]],
        detach: Callable[[OrderUpdates], Awaitable[None]],
    ) -> None:
        self._attach = attach
        self._detach = detach
        self._box: Mailbox[OrderSnapshot] | None = None
        self._stop: Callable[[], None] | None = None

    async def attach_to(self, live: LiveOrder, loop: asyncio.AbstractEventLoop) -> None:
        """On the session loop: start with what is known now."""
        box: Mailbox[OrderSnapshot] = Mailbox(loop, _CAPACITY)
        self._box = box

        def tell(snapshot: OrderSnapshot) -> None:
            if not box.push(snapshot):  # the reader left, or its loop is gone
                self._stop_listening()
            elif snapshot.state.is_done:
                box.close()
                self._stop_listening()

        self._stop = live.listen(tell, ended=box.close)
        tell(live.snapshot)

    async def detach_now(self) -> None:
        """On the session loop: listen no more."""
        self._stop_listening()

    def _stop_listening(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None

    async def aclose(self) -> None:
        """End the stream. Idempotent; after the connector was closed there is nothing left to end."""
        box = self._box
        if box is not None:
            box.close()
            with contextlib.suppress(ConnectorClosed):
                await self._detach(self)

    async def __aenter__(self) -> Self:
        if self._box is None:
            await self._attach(self, asyncio.get_running_loop())
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


class AllOrderUpdates:
    """An async context manager and iterator of `OrderSnapshot`s: first every open order, then one for each change.

        async with connector.order_updates() as updates:
            async for order in updates:
                print(order.order_ref, order.state, order.filled)

    It survives outages, and what was learnt after a reconnect is in it. A reader that is too slow loses the oldest
    snapshots (`dropped` counts them), never the newest. When the connector is closed the `async for` ends; a stream
    begun afterwards raises `ConnectorClosed`.
    """

    def __init__(
        self,
        attach: Callable[[Mailbox[OrderSnapshot]], Awaitable[None]],
        detach: Callable[[Mailbox[OrderSnapshot]], Awaitable[None]],
        capacity: int,
    ) -> None:
        self._attach = attach
        self._detach = detach
        self._capacity = capacity
        self._box: Mailbox[OrderSnapshot] | None = None

    @property
    def dropped(self) -> int:
        """Snapshots lost because the reader was too slow."""
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
            box: Mailbox[OrderSnapshot] = Mailbox(asyncio.get_running_loop(), self._capacity)
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
