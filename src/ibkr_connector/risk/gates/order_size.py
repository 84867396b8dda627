"""The size of one order: quantity and value."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from ibkr_connector.risk.decision import GateResult
from ibkr_connector.risk.gates.base import passed, refused
from ibkr_connector.risk.order_check import OrderCheck


class OrderSizeGate:
    """The quantity of an order (of a change: the whole new quantity) is at most `limit`.

    Counted in shares or contracts; a currency pair in units of its base currency.
    """

    name: ClassVar[str] = "order_size"
    again: ClassVar[bool] = False

    def __init__(self, limit: Decimal) -> None:
        self._limit = limit

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        quantity = order.request.quantity
        if quantity <= self._limit:
            return passed(self, self._limit, quantity)
        return refused(
            self,
            self._limit,
            quantity,
            f"{quantity:f} is more than max_order_size {self._limit:f}",
            "Make the order smaller, or raise max_order_size in [risk_limits]"
            + (" (a currency pair counts its base currency)." if order.request.contract.sec_type == "CASH" else "."),
        )


class OrderValueGate:
    """The value of what the order can still fill is at most `limit`, in base currency.

    value = quantity x price x multiplier x exchange rate; the price is the worst the order may come to (a buy's limit,
    else the market's price on its side or the order's own, whichever is higher).
    """

    name: ClassVar[str] = "order_value"
    again: ClassVar[bool] = False

    def __init__(self, limit: Decimal) -> None:
        self._limit = limit

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        value = order.value
        if value <= self._limit:
            return passed(self, self._limit, value)
        return refused(
            self,
            self._limit,
            value,
            f"it is worth {value:,.2f} {order.view.currency} (at {order.price[0]:f}, {order.price[1].value}), "
            f"more than max_order_value {self._limit:,.2f}",
            "Make the order smaller, or raise max_order_value in [risk_limits].",
        )
