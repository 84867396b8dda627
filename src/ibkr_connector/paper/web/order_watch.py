"""Waiting for what becomes of an order that was just sent to the exchange."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from ..exchange.types import ExchangeEvent, OrderChanged, OrderMessage, OrderStatus, OrderView

WARNINGS: Final = frozenset({399, 404, 2109, 10349})
"""Messages that refuse nothing."""
PATIENCE: Final = 5.0
"""Wire seconds an answer waits for the exchange's first word."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exchange's first word: what the order looks like, or why it was refused."""

    view: OrderView | None = None
    refusal: str = ""


class OrderWatch:
    """Futures by client and order id."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[tuple[int, int], asyncio.Future[Outcome]] = {}

    def expect(self, client_id: int, order_id: int) -> asyncio.Future[Outcome]:
        """Begin to wait, before the order is sent."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting[client_id, order_id] = future
        return future

    async def result(self, future: asyncio.Future[Outcome]) -> Outcome | None:
        """The outcome, or None when nothing was heard in time."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await future
        except TimeoutError:
            return None

    def forget(self, client_id: int, order_id: int) -> None:
        """Wait no longer."""
        future = self._waiting.pop((client_id, order_id), None)
        if future is not None and not future.done():
            future.cancel()

    def on_event(self, event: ExchangeEvent) -> None:
        """Something was said about an order."""
        if isinstance(event, OrderMessage):
            if event.code not in WARNINGS:
                self._settle((event.client_id, event.order_id), Outcome(refusal=_words(event.text)))
        elif isinstance(event, OrderChanged) and event.order.status not in {
            OrderStatus.INACTIVE,
            OrderStatus.PENDING_SUBMIT,
        }:
            ticket = event.order.ticket
            self._settle((ticket.client_id, ticket.order_id), Outcome(view=event.order))

    def _settle(self, key: tuple[int, int], outcome: Outcome) -> None:
        future = self._waiting.pop(key, None)
        if future is not None and not future.done():
            future.set_result(outcome)


def _words(text: str) -> str:
    """A refusal without the wrapping of the TWS socket."""
    for prefix in ("Order rejected - reason:", "Error validating request.-'bF' : cause - "):
        text = text.removeprefix(prefix)
    return text
