"""The loss of the day, and the drawdown."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from ibkr_connector.risk.decision import DataMissing, GateResult
from ibkr_connector.risk.gates.base import RESUME, passed, refused
from ibkr_connector.risk.order_check import OrderCheck, Role


class DailyLossGate:
    """The day's loss, what is in flight and this order together stay within `limit`, in base currency.

    The loss is the larger of net liquidation at the boundary minus now, and the broker's own figure. In flight adds
    fees and slippage (or the way to the stop). Once the loss itself has passed the limit only reducing orders pass for
    the rest of the day; they always do.
    """

    name: ClassVar[str] = "daily_loss"
    again: ClassVar[bool] = True

    def __init__(self, limit: Decimal) -> None:
        self._limit = limit

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        day = order.day
        if order.role is Role.EXIT:
            return passed(self, self._limit, message="it closes what its entry opens")
        if order.reduces:
            return passed(self, self._limit, day.loss, "it reduces the position")
        if day.loss is None:
            raise DataMissing(
                "the loss of the day (net liquidation and a baseline or the broker's daily P&L)",
                "Wait for the account values; if they do not come, run `ibkr-connector doctor`.",
            )
        if day.tripped:
            return refused(
                self,
                self._limit,
                day.loss,
                f"the day's loss passed daily_loss_limit {self._limit:,.2f} today (it is {day.loss:,.2f} "
                f"{order.view.currency} now)",
                f"Reduce positions only until the next trading day, or {RESUME}.",
            )
        ahead = order.in_flight_loss + order.loss
        total = day.loss + ahead
        if total <= self._limit:
            return passed(self, self._limit, total)
        return refused(
            self,
            self._limit,
            total,
            f"the day's loss {day.loss:,.2f} and what this and other open orders may cost ({ahead:,.2f}) come to "
            f"{total:,.2f} {order.view.currency}, beyond daily_loss_limit {self._limit:,.2f}",
            "Make the order smaller, give it a stop nearby, cancel open orders, or raise daily_loss_limit in "
            "[risk_limits].",
        )


class DrawdownGate:
    """Net liquidation is at most `limit` below the highest value it had, in base currency; orders in flight count.

    The highest value is kept over days and restarts; only `resume` begins it anew. Reducing orders pass.
    """

    name: ClassVar[str] = "drawdown"
    again: ClassVar[bool] = True

    def __init__(self, limit: Decimal) -> None:
        self._limit = limit

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        drawdown = order.day.drawdown
        if order.role is Role.EXIT:
            return passed(self, self._limit, message="it closes what its entry opens")
        if order.reduces:
            return passed(self, self._limit, drawdown, "it reduces the position")
        if drawdown is None:
            raise DataMissing(
                "net liquidation", "Wait for the account values; if they do not come, run `ibkr-connector doctor`."
            )
        total = drawdown + order.in_flight_loss + order.loss
        if total <= self._limit:
            return passed(self, self._limit, total)
        return refused(
            self,
            self._limit,
            total,
            f"the account is {drawdown:,.2f} {order.view.currency} below its highest value, and with what orders "
            f"may cost {total:,.2f}, beyond drawdown_limit {self._limit:,.2f}",
            f"Reduce positions only, or {RESUME}: the highest value then begins anew.",
        )
