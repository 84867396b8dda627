"""Asking the gates, and making one decision of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ibkr_connector.logs import get_logger
from ibkr_connector.models.order import OrderRequest
from ibkr_connector.risk.daily_loss import DailyLoss
from ibkr_connector.risk.decision import DataMissing, GateResult, RiskDecision
from ibkr_connector.risk.gates import Gate
from ibkr_connector.risk.legs import Leg
from ibkr_connector.risk.order_check import OrderCheck, Role
from ibkr_connector.risk.reservation import Reservation, ReservationBook
from ibkr_connector.risk.state import TradingRecord
from ibkr_connector.risk.view import RiskView

_log = get_logger(__name__)
INTEGRITY = "order"
"""The name under which the engine itself refuses."""


def ask(gates: Sequence[Gate], check: OrderCheck, *, many: bool = False) -> list[GateResult]:
    """Every gate's answer about an order; `many`: it is one of several, and the answers name it."""
    return [_ask_one(gate, check, many=many) for gate in gates]


def _ask_one(gate: Gate, check: OrderCheck, *, many: bool) -> GateResult:
    try:
        result = gate.check(check)
    except DataMissing as missing:
        result = GateResult(gate.name, False, None, None, f"it cannot judge without {missing.what}", missing.remedy)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a gate, it must not let the order through
        _log.exception("a gate failed; the order is refused", gate=gate.name)
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


def broken(leg: Leg, message: str, remedy: str) -> GateResult:
    """The engine's own refusal: the order makes no sense as it is."""
    return GateResult(INTEGRITY, False, None, None, message, remedy, leg.request.order_ref)


def integrity(legs: Sequence[Leg], book: ReservationBook) -> list[GateResult]:
    """What is wrong with an order, or a group, whatever the limits are."""
    results: list[GateResult] = []
    for leg in legs:
        request, account = leg.request, leg.view.account
        if request.contract.con_id <= 0:
            results.append(broken(leg, "its contract has no con_id", "Look the contract up (`get_contract`)."))
        if request.account not in {None, account}:
            results.append(broken(leg, f"it is for account {request.account}, not {account}", "Correct the account."))
        if book.get(request.order_ref) is not None:
            results.append(broken(leg, "its order_ref is in use", "Use a new order_ref for a new order."))
    entry = legs[0].request
    results += [
        broken(
            leg,
            "an exit is larger than its entry, or in another contract",
            "Give the exits at most the entry's quantity, in the same contract.",
        )
        for leg in legs
        if leg.role is Role.EXIT
        and (leg.request.quantity > entry.quantity or leg.request.contract.con_id != entry.contract.con_id)
    ]
    if len({leg.request.order_ref for leg in legs}) < len(legs):
        results.append(broken(legs[0], "its legs share one order_ref", "Give each leg its own order_ref."))
    return results


def refused_change(request: OrderRequest, view: RiskView, message: str, remedy: str) -> RiskDecision:
    """The engine's own refusal of a change."""
    result = GateResult(INTEGRITY, False, message=message, remedy=remedy)
    return RiskDecision(request.order_ref, False, (result,), view.now, view.account)


def worth_of(check: OrderCheck) -> tuple[Decimal | None, Decimal | None]:
    """Value of one unit, and initial margin of the whole order by the broker's preview, base currency."""
    try:
        return abs(check.price[0]) * check.unit, check.view.margin(check.request.order_ref)
    except DataMissing:
        return None, check.view.margin(check.request.order_ref)


def loss_of(check: OrderCheck) -> Decimal:
    """What to reserve for the daily loss. Without the data the gate that needs it has spoken, or is switched off."""
    try:
        return check.loss
    except DataMissing:
        return Decimal(0)


def reservation_of(leg: Leg, check: OrderCheck, entry: str, *, with_worth: bool) -> Reservation:
    """What the limits are to hold for an order; `entry`: the ref of its bracket's entry."""
    request = leg.request
    unit_value, margin = worth_of(check) if with_worth else (None, None)
    return Reservation(
        request.order_ref,
        request.contract.con_id,
        request.action.sign,
        request.quantity,
        request.quantity,
        loss_of(check),
        group=entry,
        oca=leg.oca,
        stop=leg.stop,
        agent=(request.agent or "").lower(),
        unit_value=unit_value,
        margin=margin,
    )


def decision_of(results: Sequence[GateResult], first: OrderCheck, *, again: bool = False) -> RiskDecision:
    """The answers as one decision: allowed if nobody objects. What they saw is noted, but for a repeated yes."""
    allowed, view = all(result.passed for result in results), first.view
    inputs = () if again and allowed else _inputs(first)
    return RiskDecision(first.request.order_ref, allowed, tuple(results), view.now, view.account, inputs)


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


def status_of(record: TradingRecord, day: DailyLoss, gates: Sequence[Gate], book: ReservationBook) -> dict[str, Any]:
    """How things stand, as plain values."""
    known = day.record
    return {
        "trading_state": record.state.value,
        "reason": record.reason,
        "since": None if record.at is None else record.at.isoformat(),
        "gates": [gate.name for gate in gates],
        "open_orders": len(book),
        "in_flight_loss": str(book.loss_open()),
        "daily_loss_baseline": None if known is None or known.baseline is None else str(known.baseline),
        "daily_loss_baseline_source": "unknown" if known is None else known.source,
        "daily_loss_tripped": known is not None and known.tripped,
        "highest_value": None if known is None or known.peak is None else str(known.peak),
        "problem": day.problem,
    }
