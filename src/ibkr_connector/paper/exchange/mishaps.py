"""What can go wrong at the broker, as far as the exchange must help: cut links, forks, corrections, ids that fall back.

Nothing here happens by itself: `paper.faults` asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from functools import partial

from .core import Core
from .link import Known, OrderKey
from .orders import Order, Stage
from .ports import Disturbance
from .reports import identity
from .types import AccountChanged, Charged, Execution, OrderStatus, OrderView, PositionView

NEW = "new"
"""The phase of an order the exchange has not seen."""
_PHASES = {
    Stage.HELD: "held",
    Stage.SENT: "sent",
    Stage.ACKNOWLEDGED: "acknowledged",
    Stage.WAITING_PARENT: "waiting",
    Stage.WAITING_OPEN: "waiting",
    Stage.LOCATING: "waiting",
}


@dataclass(frozen=True, slots=True)
class OrderPhase:
    """How far an order is."""

    client_id: int
    order_id: int
    order_ref: str
    phase: str
    """new, withheld (by a cut link), held (not transmitted), sent, acknowledged, waiting, working, partly_filled,
    modifying, cancelling, filled, cancelled, inactive."""


class Mishaps:
    """One exchange's accidents."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def disturb(self, disturbance: Disturbance | None) -> None:
        """Ask this about every execution and change from now on; None = nobody."""
        self._core.disturbance = disturbance

    # --- the link ---

    @property
    def is_cut(self) -> bool:
        """Whether the broker cannot be reached."""
        return self._core.link.known is not None

    def cut(self, open_orders: list[OrderView], positions: list[PositionView]) -> None:
        """Break the link, with this as the gateway's last knowledge."""
        registry = self._core.registry
        executions = [replace(record) for record in registry.executions]
        self._core.link.cut(Known(open_orders, list(registry.completed), executions, positions))

    def mend(self) -> None:
        """The link is back; what waited goes on waiting."""
        self._core.link.mend()

    def release(self) -> list[OrderKey]:
        """Pass what waited on to the broker."""
        keys = self._core.link.release()
        for client_id, order_id in keys:
            self._core.report.record("forwarded", client_id=client_id, order_id=order_id)
        self._core.report.flush()
        return keys

    def forget(self) -> list[OrderKey]:
        """The gateway loses what waited."""
        keys = self._core.link.forget()
        for client_id, order_id in keys:
            self._core.report.record("forgotten", client_id=client_id, order_id=order_id)
        return keys

    # --- orders ---

    def phase(self, client_id: int, order_id: int) -> OrderPhase:
        """How far the order of that id is."""
        order = self._core.registry.get(client_id, order_id)
        if order is None:
            phase = "withheld" if self._core.link.holds((client_id, order_id)) else NEW
            return OrderPhase(client_id, order_id, "", phase)
        return _phase_of(order)

    def live(self, client_id: int | None = None) -> list[OrderPhase]:
        """How far the unfinished orders of a client (None = of all) are, oldest first."""
        return [
            _phase_of(order)
            for order in self._core.registry.live()
            if client_id is None or order.ticket.client_id == client_id
        ]

    def roll_back_ids(self, by: int) -> None:
        """Every client's next order id falls back, as after a gateway's restart."""
        self._core.order_ids.roll_back(by)

    # --- executions ---

    def correct(self, execution: Execution, ticks: int, delay: float) -> None:
        """Change the price of an execution `delay` wire seconds from now, under its next correction number."""
        due = self._core.now + timedelta(seconds=delay * self._core.clock.speed)
        self._core.timeline.at(due, partial(self._correct, execution, ticks))

    def _correct(self, wrong: Execution, ticks: int) -> None:
        core, instrument = self._core, wrong.instrument
        while (newer := core.registry.execution(_next_correction(wrong.exec_id))) is not None:
            wrong = newer  # it was corrected before
        order = core.registry.by_perm_id(wrong.perm_id)
        change = core.tape(instrument).tick(wrong.price) * ticks
        if order is None or wrong.price + change <= 0:
            return
        order.trade_value += wrong.shares * change
        order.last_price += change
        right = replace(
            wrong,
            exec_id=_next_correction(wrong.exec_id),
            price=wrong.price + change,
            avg_price=wrong.avg_price + change * wrong.shares / wrong.cum_qty,
        )
        core.registry.note_execution(right)
        core.report.record(
            "correction",
            **identity(order),
            exec_id=right.exec_id,
            corrects=wrong.exec_id,
            side=right.side,
            quantity=right.shares,
            price=right.price,
            wrong_price=wrong.price,
            cum_qty=right.cum_qty,
        )
        core.report.execution(right)
        self._settle(wrong, right, change)
        core.report.put(AccountChanged(account=right.account, instrument=instrument))

    def _settle(self, wrong: Execution, right: Execution, change: Decimal) -> None:
        core = self._core
        commission = core.registry.commission_of(wrong.exec_id)
        realized = None if commission is None else commission.realized_pnl
        signed = right.shares if right.side == "BOT" else -right.shares
        value = core.accounts[right.account].correct(right.instrument, signed, change, opened=realized is None)
        if commission is None:
            return  # its report is still to come, under the first id
        corrected = replace(
            commission, exec_id=right.exec_id, realized_pnl=None if realized is None else realized - value
        )
        core.registry.note_commission(corrected)
        core.report.charge(Charged(client_id=right.client_id, account=right.account, commission=corrected))


def _phase_of(order: Order) -> OrderPhase:
    ticket = order.ticket
    return OrderPhase(ticket.client_id, ticket.order_id, ticket.order_ref, _phase_name(order))


def _phase_name(order: Order) -> str:
    if order.stage is Stage.DONE:
        if order.status is OrderStatus.FILLED:
            return "filled"
        return "inactive" if order.status is OrderStatus.INACTIVE else "cancelled"
    if order.cancelled_by is not None:
        return "cancelling"
    if order.pending_change is not None:
        return "modifying"
    if order.filled:
        return "partly_filled"
    return _PHASES.get(order.stage, "working")


def _next_correction(exec_id: str) -> str:
    """The execution id with its last part, the correction number, raised by one: .01 -> .02."""
    head, _, number = exec_id.rpartition(".")
    return f"{head}.{int(number) + 1:02d}"
