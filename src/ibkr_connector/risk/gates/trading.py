"""Kill and trading state."""

from __future__ import annotations

from typing import ClassVar

from ibkr_connector.risk.decision import GateResult
from ibkr_connector.risk.gates.base import RESUME, passed, refused
from ibkr_connector.risk.order_check import OrderCheck
from ibkr_connector.risk.state import TradingState


class TradingStateGate:
    """HALTED refuses every order; REDUCING passes what can only bring the position nearer to zero.

    For that the position, everything open on the order's side and the order together must not cross zero. No setting
    switches this gate off.
    """

    name: ClassVar[str] = "trading_state"
    again: ClassVar[bool] = True

    def check(self, order: OrderCheck) -> GateResult:
        """See `Gate.check`."""
        record = order.trading
        if record.state is TradingState.ACTIVE:
            return passed(self, value=record.state.value)
        why = f" ({record.reason})" if record.reason else ""
        if record.state is TradingState.HALTED:
            return refused(self, "active", record.state.value, record.why_halted, f"Remove the cause, then {RESUME}.")
        if order.reduces:
            return passed(self, value=record.state.value, message="it reduces the position")
        return refused(
            self,
            "reducing orders only",
            order.reach,
            f"trading is reducing only{why}, and with what is open the position would go from {order.position:f} "
            f"to {order.reach:f}",
            f"Send an order that reduces the position without crossing zero, or {RESUME}.",
        )
