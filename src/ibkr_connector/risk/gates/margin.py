"""Money for it: buying power, and the optional rule on intraday margin."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from ibkr_connector.risk.decision import DataMissing, GateResult
from ibkr_connector.risk.gates.base import passed, refused
from ibkr_connector.risk.order_check import OrderCheck, Role

_ZERO = Decimal(0)
_PDT_EQUITY = Decimal(25_000)
"""Base currency (US dollars): the former FINRA 4210 rule for pattern day traders."""
_PDT_TYPES = frozenset({"STK", "OPT"})


def _figure(order: OrderCheck, tag: str) -> Decimal:
    value = order.view.figure(tag)
    if value is None:
        raise DataMissing(f"the account's {tag}", "Wait for the account values; if they do not come, run `doctor`.")
    return value


def _open_margin(order: OrderCheck) -> Decimal:
    """What all other open orders tie up: by the broker's preview where it was asked for, else their whole value."""
    total = _ZERO
    for con_id, found in order.open_contracts.items():
        total += found.margin
        if found.unpriced:
            total += found.unpriced * order.unit_value_of(con_id, found.unit_value)
    return total


def _is_closing(order: OrderCheck) -> bool:
    return order.role is Role.EXIT or order.reduces


class BuyingPowerGate:
    """An order and all open ones together are covered by what the broker says is there, base currency.

    `value`: their values within `BuyingPower` (for futures that says nothing: `what_if` is needed). `what_if`: the
    initial margin of the broker's own preview within `AvailableFunds`. What reduces a position passes.
    """

    name: ClassVar[str] = "buying_power"
    again: ClassVar[bool] = False

    def __init__(self, how: str) -> None:
        self._what_if = how == "what_if"

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        if _is_closing(order):
            return passed(self, message="it reduces the position")
        tag = "AvailableFunds" if self._what_if else "BuyingPower"
        if self._what_if and order.view.margin(order.request.order_ref) is None:
            raise DataMissing("the broker's preview of its margin", "Try again; buying_power = value needs none.")
        limit, needed = _figure(order, tag), order.margin + _open_margin(order)
        if needed <= limit:
            return passed(self, limit, needed)
        return refused(
            self,
            limit,
            needed,
            f"this and other open orders need {needed:,.2f} {order.view.currency}, and {tag} is {limit:,.2f}",
            "Make the order smaller, cancel open orders, close positions, or switch buying_power off in [risk_limits].",
        )


class IntradayMarginGate:
    """Optional, and off: the law on pattern day trading ended on 4 June 2026, brokers follow until October 2027.

    `pdt`: below 25,000 of net liquidation a stock or option is opened only while the broker counts day trades that
    remain. `excess`: `ExcessLiquidity` covers what this and all open orders tie up.
    """

    name: ClassVar[str] = "intraday_margin"
    again: ClassVar[bool] = False

    def __init__(self, how: str) -> None:
        self._pdt = how == "pdt"

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        if _is_closing(order):
            return passed(self, message="it reduces the position")
        return self._day_trades(order) if self._pdt else self._excess(order)

    def _day_trades(self, order: OrderCheck) -> GateResult:
        if order.request.contract.sec_type not in _PDT_TYPES:
            return passed(self, message="the rule is about stocks and options")
        equity = order.view.net_liquidation
        if equity is None:
            raise DataMissing("net liquidation", "Wait for the account values.")
        if equity >= _PDT_EQUITY:
            return passed(self, _PDT_EQUITY, equity)
        left = _figure(order, "DayTradesRemaining")  # -1 = without limit
        if left != 0:
            return passed(self, 1, left)
        return refused(
            self,
            1,
            left,
            f"net liquidation is {equity:,.2f}, below {_PDT_EQUITY:,}, and no day trade remains: it could not be "
            "closed today",
            "Wait until day trades remain, or set intraday_margin = off in [risk_limits] if the broker has dropped "
            "the rule.",
        )

    def _excess(self, order: OrderCheck) -> GateResult:
        limit, needed = _figure(order, "ExcessLiquidity"), order.margin + _open_margin(order)
        if needed <= limit:
            return passed(self, limit, needed)
        return refused(
            self,
            limit,
            needed,
            f"this and other open orders tie up {needed:,.2f} {order.view.currency}, and ExcessLiquidity is "
            f"{limit:,.2f}",
            "Make the order smaller, cancel open orders, close positions, or set intraday_margin = off in "
            "[risk_limits].",
        )
