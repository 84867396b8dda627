"""Fills: booked in the ledger at once, reported as a real gateway does, and what they do to brackets and OCA groups."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Protocol

from .core import Core
from .groups import effects_of_fill
from .orders import Order
from .reports import identity
from .types import ZERO, AccountChanged, Charged, Commission, Execution, OrderStatus


class Consequences(Protocol):
    """What fills need done to other orders."""

    def finish(self, order: Order, status: OrderStatus, completed_status: str) -> None:
        """The order's end; says nothing."""

    def end_by_group(self, order: Order) -> None:
        """Cancel an order because of its group."""

    def shrink(self, order: Order, remaining: Decimal) -> None:
        """Reduce an order because of its group."""

    def wake_child(self, order: Order) -> None:
        """The parent has filled more."""


class Fills:
    """Books and reports executions."""

    def __init__(self, core: Core, consequences: Consequences) -> None:
        self._core = core
        self._consequences = consequences

    def book(self, order: Order, quantity: Decimal, price: Decimal, liquidity: int) -> None:
        """One fill, happening now."""
        core = self._core
        ticket, instrument = order.ticket, order.ticket.instrument
        account = core.accounts[ticket.account]
        order.filled += quantity
        order.trade_value += quantity * price
        order.last_price = price
        total = core.fees.order_total(
            instrument,
            action=ticket.action,
            quantity=order.filled,
            value=order.trade_value * instrument.multiplier,
            at=core.now,
        )
        amount = max(ZERO, total - order.charged)
        order.charged += amount
        currency = core.fees.currency(instrument)
        realized = account.trade(instrument, quantity if order.is_buy else -quantity, price, amount, currency)
        release = min(quantity, order.margin_quantity)
        order.margin_quantity -= release
        account.work(instrument, **{"buys" if order.is_buy else "sells": -release})
        execution = Execution(
            exec_id=core.exec_ids.take(order.route.session),
            at=core.now,
            client_id=ticket.client_id,
            order_id=ticket.order_id,
            perm_id=order.perm_id,
            account=ticket.account,
            instrument=instrument,
            side="BOT" if order.is_buy else "SLD",
            shares=quantity,
            price=price,
            cum_qty=order.filled,
            avg_price=order.average_price,
            venue=core.venues.venue(instrument, ticket.exchange),
            order_ref=ticket.order_ref,
            liquidity=liquidity,
        )
        charge = Charged(
            client_id=ticket.client_id,
            account=ticket.account,
            commission=Commission(exec_id=execution.exec_id, amount=amount, currency=currency, realized_pnl=realized),
        )
        core.report.record(
            "fill",
            **identity(order),
            exec_id=execution.exec_id,
            side=execution.side,
            quantity=quantity,
            price=price,
            cum_qty=order.filled,
            liquidity=liquidity,
            venue=execution.venue,
        )
        final = order.remaining <= 0
        if final:
            order.cancelled_by = None
            self._consequences.finish(order, OrderStatus.FILLED, f"Filled Size: {order.filled:f}")
        elif order.status is not OrderStatus.PENDING_CANCEL:
            order.status = OrderStatus.SUBMITTED
        order.announced = True
        self._report(order, execution, charge, final=final)
        core.report.put(AccountChanged(account=ticket.account, instrument=instrument))
        self._affect_others(order, quantity)

    def _report(self, order: Order, execution: Execution, charge: Charged, *, final: bool) -> None:
        core = self._core
        early = core.behavior.filled_before_exec_probability if final else 0.0
        if early and core.chance.random() < early:
            core.report.order(order)
            late = core.after(core.behavior.late_execution_latency)
            core.timeline.at(late, partial(self._report_execution, execution, charge))
            return
        self._report_execution(execution, charge, show=order)

    def _report_execution(self, execution: Execution, charge: Charged, *, show: Order | None = None) -> None:
        core = self._core
        core.registry.note_execution(execution)
        core.report.execution(execution)
        if show is not None:
            core.report.order(show)
        due = core.after(core.behavior.commission_latency)
        if core.disturbance is not None:
            due += timedelta(seconds=core.disturbance.commission_delay(execution) * core.clock.speed)
        core.timeline.at(due, partial(self._report_commission, charge))

    def _report_commission(self, charge: Charged) -> None:
        self._core.registry.note_commission(charge.commission)
        self._core.report.charge(charge)

    def _affect_others(self, order: Order, quantity: Decimal) -> None:
        for effect in effects_of_fill(order, quantity):
            if effect.remaining <= 0:
                self._consequences.end_by_group(effect.order)
            else:
                self._consequences.shrink(effect.order, effect.remaining)
        for child in tuple(order.children):
            self._consequences.wake_child(child)
