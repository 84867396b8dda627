"""`QuoteStream`: quotes of one contract, read with `async for` on any event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from ibkr_connector.errors import ConnectorClosed
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.market import Quote
from ibkr_connector.session.mailbox import Mailbox

Attach = Callable[[Mailbox[Quote]], Awaitable[Contract]]
Detach = Callable[[Contract, Mailbox[Quote]], Awaitable[None]]


class QuoteStream:
    """An async context manager and iterator of `Quote`s, one per packet of changes.

        async with connector.stream_quotes("AAPL") as quotes:
            async for quote in quotes:
                ...

    It survives outages: the line is made again when the link is back. A reader slower than the market loses the oldest
    quotes (`dropped` counts them), never the newest. `aclose` is idempotent and safe after a `break`.

    When the connector is closed the `async for` ends; a stream begun afterwards raises `ConnectorClosed`.
    """

    def __init__(self, attach: Attach, detach: Detach, capacity: int) -> None:
        self._attach = attach
        self._detach = detach
        self._capacity = capacity
        self._box: Mailbox[Quote] | None = None
        self._contract: Contract | None = None

    @property
    def dropped(self) -> int:
        """Quotes lost because the reader was too slow."""
        return self._box.dropped if self._box else 0

    async def start(self) -> Self:
        """Open the stream (done by `async with` too)."""
        if self._box is None:
            box = self._box = Mailbox(asyncio.get_running_loop(), self._capacity)
            try:
                self._contract = await self._attach(box)
            except BaseException:
                box.close()  # it may have been attached already: the hub forgets a closed box
                self._box = None
                raise
        return self

    async def aclose(self) -> None:
        """Give the line back. Idempotent; after the connector was closed there is nothing left to give back."""
        box, contract = self._box, self._contract
        self._contract = None
        if box is not None:
            box.close()
        if box is not None and contract is not None:
            with contextlib.suppress(ConnectorClosed):
                await self._detach(contract, box)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Quote:
        if self._box is None:
            await self.start()
        assert self._box is not None  # noqa: S101 - start() made it
        return await self._box.get()

    async def batch(self) -> list[Quote]:
        """All quotes at hand, waiting for the first one; empty when the stream has ended."""
        try:
            first = await self.__anext__()
        except StopAsyncIteration:
            return []
        return [first, *(self._box.drain() if self._box is not None else ())]
