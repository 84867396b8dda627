"""What the Web API keeps of orders, as records and facts: live orders, ended ones, trades."""

from __future__ import annotations

from typing import Any

from ibkr_connector.backends.base import ExecutionRecords, OrderRecords
from ibkr_connector.backends.web.shared import WebRoom


class Records:
    """The reads of `Backend` that are about orders. Until they are built nothing they say is complete."""

    def __init__(self, room: WebRoom) -> None:
        self._room = room

    async def start(self, timeout: float) -> None:
        """See `Part`."""

    async def stop(self) -> None:
        """See `Part`."""

    def back(self) -> None:
        """See `Part`."""

    def on_orders(self, changed: Any) -> None:
        """A `sor` frame: whole rows, or an order's number and what changed of it."""

    def on_trades(self, listed: Any) -> None:
        """A `str` frame."""

    async def open_orders(self, timeout: float, *, all_clients: bool = True) -> OrderRecords:
        """See `Backend.open_orders`."""
        return OrderRecords(complete=False)

    async def completed_orders(self, timeout: float) -> OrderRecords:
        """See `Backend.completed_orders`."""
        return OrderRecords(complete=False)

    async def executions(self, timeout: float, *, account: str = "") -> ExecutionRecords:
        """See `Backend.executions`."""
        return ExecutionRecords(complete=False)
