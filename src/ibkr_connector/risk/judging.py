"""Asking the gates, and making one decision of their answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from decimal import Decimal

from ibkr_connector.risk.decision import DataMissing, GateResult, RiskDecision
from ibkr_connector.risk.gates import Gate
from ibkr_connector.risk.order_check import OrderCheck
from ibkr_connector.risk.view import RiskView

_log = logging.getLogger("ibkr_connector.risk.judging")
INTEGRITY = "order"
"""The name under which the engine itself refuses."""


def ask(gates: Sequence[Gate], checks: Sequence[OrderCheck]) -> list[GateResult]:
    """Every gate's answer about every leg."""
    return [_ask_one(gate, check, many=len(checks) > 1) for check in checks for gate in gates]


def _ask_one(gate: Gate, check: OrderCheck, *, many: bool) -> GateResult:
    try:
        result = gate.check(check)
    except DataMissing as missing:
        result = GateResult(gate.name, False, None, None, f"it cannot judge without {missing.what}", missing.remedy)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a gate, it must not let the order through
        _log.exception("gate %s failed; the order is refused", gate.name)
        result = GateResult(
            gate.name,
            False,
            message=f"the gate itself failed ({type(error).__name__}: {error})",
            remedy="Report it, with the debug log of `ibkr_connector`.",
        )
    if not many:
        return result
    return GateResult(
        result.gate, result.passed, result.limit, result.value, result.message, result.remedy, check.request.order_ref
    )


def broken(check: OrderCheck, message: str, remedy: str) -> GateResult:
    """The engine's own refusal: the order makes no sense as it is."""
    return GateResult(INTEGRITY, False, None, None, message, remedy, check.request.order_ref)


def loss_of(check: OrderCheck) -> Decimal:
    """What to reserve for the daily loss. Without the data the gate that needs it has spoken, or is switched off."""
    try:
        return check.loss
    except DataMissing:
        return Decimal(0)


def decision_of(
    ref: str, results: Sequence[GateResult], view: RiskView, checks: Sequence[OrderCheck], *, again: bool = False
) -> RiskDecision:
    """The answers as one decision: allowed if nobody objects. What they saw is noted, but for a repeated yes."""
    allowed = all(result.passed for result in results)
    inputs = () if again and allowed else _inputs(checks[0])
    return RiskDecision(ref, allowed, tuple(results), view.now, view.account, inputs)


def _inputs(check: OrderCheck) -> tuple[tuple[str, str], ...]:
    exposure = check.exposure
    known = [
        ("trading_state", check.trading.state.value),
        ("open_buys", f"{exposure.buys:f}"),
        ("open_sells", f"{exposure.sells:f}"),
        ("in_flight_loss", f"{check.in_flight_loss:f}"),
        ("daily_loss", "unknown" if check.day.loss is None else f"{check.day.loss:f}"),
    ]
    for name, figure in (("position", _position), ("price", _price), ("value", _value)):
        try:
            known.append((name, figure(check)))
        except DataMissing:
            known.append((name, "unknown"))
    return tuple(known)


def _position(check: OrderCheck) -> str:
    return f"{check.position:f}"


def _price(check: OrderCheck) -> str:
    price, source = check.price
    return f"{price:f} ({source.value})"


def _value(check: OrderCheck) -> str:
    return f"{check.value:f} {check.view.currency}"
