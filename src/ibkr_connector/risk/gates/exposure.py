"""The whole account: gross and net exposure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from ibkr_connector.risk.decision import DataMissing, GateResult
from ibkr_connector.risk.gates.base import passed, refused
from ibkr_connector.risk.order_check import OrderCheck, Role

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class _Line:
    """One contract at its worst on either side, base currency."""

    up: Decimal
    """Value if everything on the buy side fills (signed)."""
    down: Decimal
    """Value if everything on the sell side fills (signed)."""

    @property
    def gross(self) -> Decimal:
        return max(abs(self.up), abs(self.down))


def _lines(order: OrderCheck, *, with_order: bool) -> list[_Line]:
    """Every contract that is held or has orders; premium counts for options, the whole value for futures."""
    held, found = order.view.holdings(), order.open_contracts
    if held is None:
        raise DataMissing("the positions", "Wait until the account is synchronised, then try again.")
    lines = []
    for con_id in {*held, *found, order.con_id}:
        least, most = held.get(con_id, (_ZERO, _ZERO))
        other = found.get(con_id)
        buys, sells = (_ZERO, _ZERO) if other is None else (other.exposure.buys, other.exposure.sells)
        if con_id == order.con_id and with_order:
            buys, sells = (buys + order.quantity, sells) if order.sign > 0 else (buys, sells + order.quantity)
        up, down = most + buys, least - sells
        if up or down:
            unit = order.unit_value_of(con_id, None if other is None else other.unit_value)
            lines.append(_Line(up * unit, down * unit))
    return lines


class GrossExposureGate:
    """The values of all positions and open orders, long and short added up, come to at most `limit`, base currency.

    Each contract counts at its worst: everything on one side fills, nothing on the other. An order that makes no
    contract's worst any worse passes.
    """

    name: ClassVar[str] = "gross_exposure"
    again: ClassVar[bool] = False

    def __init__(self, limit: Decimal) -> None:
        self._limit = limit

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        if order.role is Role.EXIT:
            return passed(self, self._limit, message="counted with its entry")
        if order.reduces:
            return passed(self, self._limit, message="it reduces the position")
        gross = sum((line.gross for line in _lines(order, with_order=True)), _ZERO)
        if gross <= self._limit:
            return passed(self, self._limit, gross)
        if gross <= sum((line.gross for line in _lines(order, with_order=False)), _ZERO):
            return passed(self, self._limit, gross, "it adds nothing to it")
        return refused(
            self,
            self._limit,
            gross,
            f"all positions and open orders could come to {gross:,.2f} {order.view.currency}, beyond "
            f"max_gross_exposure {self._limit:,.2f}",
            "Make the order smaller, close positions, cancel orders, or raise max_gross_exposure in [risk_limits].",
        )


class NetExposureGate:
    """Long minus short of the whole account stays within `limit` either way, base currency, at its worst."""

    name: ClassVar[str] = "net_exposure"
    again: ClassVar[bool] = False

    def __init__(self, limit: Decimal) -> None:
        self._limit = limit

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        if order.role is Role.EXIT:
            return passed(self, self._limit, message="counted with its entry")
        lines = _lines(order, with_order=True)
        net = sum((line.up if order.sign > 0 else line.down for line in lines), _ZERO)
        if order.sign * net <= self._limit:
            return passed(self, self._limit, net)
        return refused(
            self,
            self._limit,
            net,
            f"long minus short could come to {net:,.2f} {order.view.currency}, beyond max_net_exposure "
            f"{self._limit:,.2f}",
            "Make the order smaller, balance it first, cancel open orders, or raise max_net_exposure in [risk_limits].",
        )
