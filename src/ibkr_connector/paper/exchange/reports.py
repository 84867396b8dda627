"""What the exchange says, in order: an outbox that is emptied at safe points, and the truth log beside it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from datetime import datetime

from .behavior import ExchangeBehavior
from .orders import Order
from .ports import Truth
from .types import Charged, ExchangeEvent, Execution, Filled, OrderChanged, OrderMessage, OrderTicket

Listener = Callable[[ExchangeEvent], None]


class Reporter:
    """Collects events and hands them to the listeners when the exchange's state is consistent.

    A listener may call the exchange: what that causes is queued behind. A listener that raises harms neither the
    exchange nor the other listeners; its exceptions come out of the call that emptied the outbox.
    """

    def __init__(
        self, truth: Truth, behavior: ExchangeBehavior, rng: random.Random, now: Callable[[], datetime]
    ) -> None:
        self._truth = truth
        self._behavior = behavior
        self._rng = rng
        self._now = now
        self._outbox: deque[ExchangeEvent] = deque()
        self._listeners: dict[int, Listener] = {}
        self._next_listener = 0
        self._flushing = False

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hear every event from now on; call the result to stop."""
        number, self._next_listener = self._next_listener, self._next_listener + 1
        self._listeners[number] = listener

        def stop() -> None:
            self._listeners.pop(number, None)

        return stop

    def put(self, event: ExchangeEvent) -> None:
        """Queue an event."""
        self._outbox.append(event)

    def record(self, kind: str, **fields: object) -> None:
        """Write to the truth log."""
        self._truth.record(kind, at=self._now(), **fields)

    def order(self, order: Order, *, echo: bool = True, status: bool = True, ticket: OrderTicket | None = None) -> None:
        """Show an order: openOrder (echo), orderStatus (status), the latter sometimes twice as real gateways do."""
        view = order.view(ticket=ticket)
        self._outbox.append(OrderChanged(order=view, echo=echo, status=status))
        if not status:
            return
        self.record(
            "status",
            **identity(order),
            status=view.status.value,
            filled=view.filled,
            remaining=view.remaining,
            avg_fill_price=view.avg_fill_price,
            why_held=view.why_held,
        )
        chance = self._behavior.duplicate_status_probability
        if chance and self._rng.random() < chance:
            self._outbox.append(OrderChanged(order=view, echo=False, status=True))

    def message(self, client_id: int, order_id: int, code: int, text: str) -> None:
        """An error or notice about an order id."""
        self._outbox.append(OrderMessage(client_id=client_id, order_id=order_id, code=code, text=text))

    def execution(self, execution: Execution) -> None:
        """Say that an execution happened."""
        self._outbox.append(Filled(execution=execution))

    def charge(self, charged: Charged) -> None:
        """Say what an execution cost."""
        self._outbox.append(charged)
        commission = charged.commission
        self.record(
            "commission",
            client_id=charged.client_id,
            account=charged.account,
            exec_id=commission.exec_id,
            amount=commission.amount,
            currency=commission.currency,
            realized_pnl=commission.realized_pnl,
        )

    def flush(self) -> None:
        """Deliver what is queued, unless a delivery is going on further up."""
        if self._flushing:
            return
        if not self._listeners:
            self._outbox.clear()
            return
        self._flushing = True
        errors: list[Exception] = []
        try:
            while self._outbox:
                event = self._outbox.popleft()
                for listener in tuple(self._listeners.values()):
                    try:
                        listener(event)
                    except Exception as error:  # noqa: BLE001 - raised below, after everyone was served
                        errors.append(error)
        finally:
            self._flushing = False
        if errors:
            raise ExceptionGroup("listeners of the exchange failed", errors)


def identity(order: Order) -> dict[str, object]:
    """The fields every truth entry about an order carries."""
    ticket = order.ticket
    return {
        "client_id": ticket.client_id,
        "order_id": ticket.order_id,
        "perm_id": order.perm_id,
        "order_ref": ticket.order_ref,
        "account": ticket.account,
        "con_id": ticket.instrument.con_id,
    }


def request(ticket: OrderTicket) -> dict[str, object]:
    """The fields of a received order, for the truth log."""
    return {
        "source": ticket.source,
        "client_id": ticket.client_id,
        "order_id": ticket.order_id,
        "order_ref": ticket.order_ref,
        "account": ticket.account,
        "con_id": ticket.instrument.con_id,
        "symbol": ticket.instrument.symbol,
        "action": ticket.action,
        "quantity": ticket.quantity,
        "order_type": ticket.order_type,
        "limit_price": ticket.limit_price,
        "aux_price": ticket.aux_price,
        "tif": ticket.tif,
        "outside_rth": ticket.outside_rth,
        "parent_id": ticket.parent_id,
        "oca_group": ticket.oca_group,
        "oca_type": ticket.oca_type,
        "transmit": ticket.transmit,
    }
