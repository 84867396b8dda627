"""The link between the gateway and the broker.

While it is cut the gateway shows what it knew and keeps what it is told. Working orders live at the broker: they go on
matching during a cut, and nobody hears of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .orders import Order
from .registry import ExecutionRecord
from .types import OrderView, PositionView

OrderKey = tuple[int, int]
"""Client id and order id."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the gateway knew when the link broke."""

    open_orders: list[OrderView]
    completed: list[Order]
    executions: list[ExecutionRecord]
    positions: list[PositionView]


class BrokerLink:
    """Passes requests on to the broker, or keeps them in order until they can be."""

    def __init__(self) -> None:
        self.known: Known | None = None
        """None while the link is up."""
        self._waiting: list[tuple[OrderKey | None, Callable[[], None]]] = []

    @property
    def waiting(self) -> list[OrderKey]:
        """The orders with requests that wait, oldest first."""
        return list(dict.fromkeys(key for key, _ in self._waiting if key is not None))

    def holds(self, key: OrderKey) -> bool:
        """Whether a request about this order waits."""
        return any(key == waiting for waiting, _ in self._waiting)

    def pass_on(self, key: OrderKey | None, action: Callable[[], None]) -> bool:
        """Do it now, or (False) when the link is up again; requests about one order keep their order."""
        if self.known is None and (key is None or not self._waiting or not self.holds(key)):
            action()
            return True
        self._waiting.append((key, action))
        return False

    def cut(self, known: Known) -> None:
        """Break. A second cut changes nothing."""
        if self.known is None:
            self.known = known

    def mend(self) -> None:
        """Up again. What waits goes on waiting for `release` or `forget`."""
        self.known = None

    def release(self) -> list[OrderKey]:
        """Pass on everything that waits, unless the link is cut; the orders it was about."""
        if self.known is not None:
            return []
        keys, waiting, self._waiting = self.waiting, self._waiting, []
        for _, action in waiting:
            action()
        return keys

    def forget(self) -> list[OrderKey]:
        """Lose everything that waits; the orders it was about."""
        keys, self._waiting = self.waiting, []
        return keys
