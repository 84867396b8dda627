"""Contracts in which the broker made several orders of one."""

from __future__ import annotations

from typing import ClassVar

from ibkr_connector.risk.decision import GateResult
from ibkr_connector.risk.gates.base import passed, refused
from ibkr_connector.risk.order_check import OrderCheck


class ForkedOrderGate:
    """While an order of ours lives several times at the broker, only what reduces the position passes in its contract.

    Nobody knows what such an order will still do (INV-02). No setting switches this gate off.
    """

    name: ClassVar[str] = "forked_order"
    again: ClassVar[bool] = True

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        if not order.forked:
            return passed(self)
        refs = ", ".join(order.forked)
        if order.reduces:
            return passed(self, value=refs, message="it reduces the position")
        return refused(
            self,
            "reducing orders only",
            refs,
            f"the broker made several orders of {refs} in this contract, and what they will still fill is not known",
            f"Cancel {refs} (a cancel reaches all of them), then place the order again.",
        )
