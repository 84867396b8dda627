"""What may not be traded, or not be sold short."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from ibkr_connector.risk.decision import GateResult
from ibkr_connector.risk.gates.base import passed, refused
from ibkr_connector.risk.order_check import OrderCheck, Role

_NOT_SHORT_SALES = frozenset({"FUT", "CASH", "CFD", "BAG", "IND"})
"""Selling these opens a contract, a swap or another currency: nothing is borrowed or written."""


class RestrictedGate:
    """Contracts on the list may only be reduced. Entries are symbols, local symbols or con_ids, in any case."""

    name: ClassVar[str] = "restricted"
    again: ClassVar[bool] = False

    def __init__(self, symbols: Iterable[str]) -> None:
        self._symbols = frozenset(symbol.strip().upper() for symbol in symbols)

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        contract = order.request.contract
        names = {contract.symbol.upper(), contract.local_symbol.upper(), str(contract.con_id)}
        hit = sorted(names & self._symbols)
        if not hit:
            return passed(self, value=contract.symbol)
        if order.role is Role.EXIT:
            return passed(self, value=contract.symbol, message="it closes what its entry opens")
        if order.reduces:
            return passed(self, value=contract.symbol, message="it reduces the position")
        return refused(
            self,
            "not restricted",
            hit[0],
            f"{hit[0]} is on the restricted list",
            "Trade something else, or take it off restricted_symbols in [risk_limits].",
        )


class ShortSellingGate:
    """Nothing is sold that is not held: position minus everything open on the sell side stays at zero or above.

    For stocks, options, bonds, funds, warrants and coins. Futures and currency pairs are opened in either direction and
    are not meant; their limits are those on positions. Whether shares can be borrowed only the broker knows (201).
    """

    name: ClassVar[str] = "short_selling"
    again: ClassVar[bool] = False

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        if order.sign > 0:
            return passed(self, message="a buy")
        if order.request.contract.sec_type in _NOT_SHORT_SALES:
            return passed(self, message="not a short sale")
        if order.role is Role.EXIT:
            return passed(self, message="counted with its entry")
        if order.reach >= 0:
            return passed(self, 0, order.reach)
        return refused(
            self,
            0,
            order.reach,
            f"{order.position:f} are held and {order.exposure.sells:f} of them are for sale already: it would be short "
            f"{-order.reach:f}",
            "Sell at most what is held, cancel other sells, or set allow_short in [risk_limits].",
        )
