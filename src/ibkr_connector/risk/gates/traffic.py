"""Programs that run away: too many orders, too fast, or the same one over and over."""

from __future__ import annotations

from typing import ClassVar

from ibkr_connector.risk.decision import GateResult
from ibkr_connector.risk.gates.base import passed, refused
from ibkr_connector.risk.order_check import OrderCheck, shape_of


class DuplicateOrderGate:
    """The same order (contract, side, quantity, type, prices, agent) does not come twice within `window` seconds.

    What only reduces a position passes: it ends with the position.
    """

    name: ClassVar[str] = "duplicate_order"
    again: ClassVar[bool] = False

    def __init__(self, window: float) -> None:
        self._window = window

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        now, shape = order.view.monotonic, shape_of(order.request)
        ages = [now - other.at for other in order.recent if other.shape == shape]
        if not ages or min(ages) >= self._window:
            return passed(self, self._window)
        if order.reduces:
            return passed(self, self._window, message="it reduces the position")
        return refused(
            self,
            self._window,
            round(min(ages), 3),
            f"the same order was placed {min(ages):.1f} s ago, within duplicate_window {self._window:g} s",
            "If it is meant, wait, place it as one larger order, or shorten duplicate_window in [risk_limits].",
        )


class OrderRateGate:
    """At most `limit` orders in any `window` seconds of real time. What only reduces a position passes."""

    name: ClassVar[str] = "order_rate"
    again: ClassVar[bool] = False

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        now = order.view.monotonic
        count = 1 + sum(now - other.at < self._window for other in order.recent)
        if count <= self._limit:
            return passed(self, self._limit, count)
        if order.reduces:
            return passed(self, self._limit, count, "it reduces the position")
        return refused(
            self,
            self._limit,
            count,
            f"{count} orders within {self._window:g} s, more than max_orders {self._limit}",
            "Send orders more slowly, or raise max_orders in [risk_limits].",
        )


class OpenOrdersGate:
    """At most `limit` orders of the account can still fill at a time (IBKR allows 15-20 per side and contract)."""

    name: ClassVar[str] = "open_orders"
    again: ClassVar[bool] = False

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        count = order.open_orders + 1
        if count <= self._limit:
            return passed(self, self._limit, count)
        return refused(
            self,
            self._limit,
            count,
            f"it would be open order number {count}, more than max_open_orders {self._limit}",
            "Cancel orders that are not needed, or raise max_open_orders in [risk_limits].",
        )
