"""The position an order may lead to: quantity and value."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from ibkr_connector.risk.decision import GateResult
from ibkr_connector.risk.gates.base import passed, refused
from ibkr_connector.risk.order_check import OrderCheck, Role


def _away(order: OrderCheck) -> Decimal:
    """How far the position may get in the order's direction (negative: still on the other side)."""
    return order.sign * order.reach


class PositionLimitGate:
    """|position + everything open on this side + this order| is at most `limit` shares or contracts.

    Worst case: everything on the order's side fills and nothing on the other. What only reduces a position that is too
    large already passes. A bracket's exits only give back what the entry brought, and are counted with it.
    """

    name: ClassVar[str] = "position_limit"
    again: ClassVar[bool] = False

    def __init__(self, limit: Decimal) -> None:
        self._limit = limit

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        if order.role is Role.EXIT:
            return passed(self, self._limit, message="counted with its entry")
        away = _away(order)
        if away <= self._limit:
            return passed(self, self._limit, order.reach)
        return refused(
            self,
            self._limit,
            order.reach,
            f"the position could reach {order.reach:f} (now {order.position:f}, open on this side "
            f"{order.exposure.side(order.sign):f}, this order {order.quantity:f}), beyond max_position_size "
            f"{self._limit:f}",
            "Make the order smaller, cancel open orders, or raise max_position_size in [risk_limits].",
        )


class PositionValueGate:
    """The same in money: the position it could reach, at the market's price, is worth at most `limit` base currency."""

    name: ClassVar[str] = "position_value"
    again: ClassVar[bool] = False

    def __init__(self, limit: Decimal) -> None:
        self._limit = limit

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        if order.role is Role.EXIT:
            return passed(self, self._limit, message="counted with its entry")
        away = _away(order)
        if away <= 0:
            return passed(self, self._limit, Decimal(0), "it reduces the position")
        value = away * order.unit_value_of(order.con_id)
        if value <= self._limit:
            return passed(self, self._limit, value)
        return refused(
            self,
            self._limit,
            value,
            f"the position could reach {order.reach:f}, worth {value:,.2f} {order.view.currency}, beyond "
            f"max_position_value {self._limit:,.2f}",
            "Make the order smaller, cancel open orders, or raise max_position_value in [risk_limits].",
        )
