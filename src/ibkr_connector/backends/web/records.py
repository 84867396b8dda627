"""What the Web API keeps of orders, as records and facts: live orders, ended ones, trades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ibkr_connector.backends.base import BrokerFact, ExecutionRecords, OrderRecords
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

    def order_row_facts(self, row: Mapping[str, Any]) -> Sequence[BrokerFact]:
        """A whole row of the live orders as facts."""
        return ()

    def trade_row_facts(self, row: Mapping[str, Any], *, replayed: bool) -> Sequence[BrokerFact]:
        """A row of the trades as facts; `replayed`: it was asked for, and is no news."""
        return ()

    async def open_orders(self, timeout: float, *, all_clients: bool = True) -> OrderRecords:
        """See `Backend.open_orders`."""
        return OrderRecords(complete=False)

    async def completed_orders(self, timeout: float) -> OrderRecords:
        """See `Backend.completed_orders`."""
        return OrderRecords(complete=False)

    async def executions(self, timeout: float, *, account: str = "") -> ExecutionRecords:
        """See `Backend.executions`."""
        return ExecutionRecords(complete=False)
