"""An order's way from its transmission to its end, with the statuses a real gateway shows in their real order.

The sequences were taken from captured sessions: a limit order is echoed PreSubmitted, then Submitted; a stop is shown
PreSubmitted twice while it waits; IOC and FOK orders show nothing between the echo and their end; a cancel is
PendingCancel, Cancelled, error 202; a refusal by the broker is Inactive, error 201, Inactive.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import partial

from ..instruments import Instrument
from . import rules, stops
from .core import Core
from .fills import Fills
from .groups import quantity_left_to_children
from .matching import Book
from .orders import AT_CLOSE, IMMEDIATE, Order, Stage
from .reports import identity
from .rules import Refusal
from .types import OrderStatus

BY_TRADER = "Cancelled by Trader"
BY_SYSTEM = "Cancelled by System:\n"
JUST_BEFORE = timedelta(microseconds=1)
"""Orders for the close match at the last moment of the session: its end is no part of it."""


class Lifecycle:
    """Everything that happens to orders once they are transmitted, changes and cancel requests apart."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.fills = Fills(core, self)
        self._books: dict[int, Book] = {}

    def book(self, instrument: Instrument) -> Book:
        """The working orders of an instrument."""
        book = self._books.get(instrument.con_id)
        if book is None:
            book = Book(self.core.tape(instrument), self.fills.book, self._triggered)
            self._books[instrument.con_id] = book
        return book

    # --- from transmission to the venue ---

    def release(self, order: Order) -> None:
        """Transmit an order. The last of a bracket takes the held rest of it along, the parent first."""
        parent = order.parent
        family = [order] if parent is None else [parent, *parent.children]
        for member in family:
            if member.stage is Stage.HELD:
                member.stage = Stage.SENT
                member.amend(transmit=True)
                due = self.core.in_lane(member.ticket.client_id, self.core.behavior.ack_latency)
                self.core.timeline.at(due, partial(self._acknowledge, member))

    def _acknowledge(self, order: Order) -> None:
        if order.stage is not Stage.SENT:
            return
        core = self.core
        refusal = self._admit(order)
        if refusal is not None:
            self.reject(order, refusal)
            return
        ticket, now = order.ticket, core.now
        if rules.drops_outside_rth(ticket):
            order.amend(outside_rth=False)
            self._say(order, 2109, rules.IGNORED_OUTSIDE_RTH)
        order.stage = Stage.ACKNOWLEDGED
        self.reckon(order)
        core.report.record("accepted", **identity(order))
        is_child = order.parent is not None and order.workable <= 0
        tape = core.tape(ticket.instrument)
        is_open = tape.is_open(now, order.extended)
        if not is_open and not is_child and ticket.tif not in IMMEDIATE:
            self._say(order, 399, self._held_until(order))
        order.status = OrderStatus.PRE_SUBMITTED
        order.why_held = ",".join(["child"] * is_child + ["trigger"] * order.is_waiting_trigger)
        if order.route.direct and ticket.order_type == "MKT" and is_open and not is_child:
            order.status = OrderStatus.SUBMITTED
            order.announced = True
        core.report.order(order, status=ticket.tif not in IMMEDIATE)
        self.set_expiry(order)
        if self._needs_locate(order):
            order.stage = Stage.LOCATING
            order.why_held = "locate"
            self._say(order, 404, "Order held while securities are located.")
            core.report.order(order)
            return
        core.timeline.at(core.after(core.behavior.fill_latency), partial(self._route, order))

    def _route(self, order: Order) -> None:
        if order.stage is Stage.ACKNOWLEDGED:
            self.activate(order)

    def activate(self, order: Order) -> None:
        """Bring an order to the venue, or to where it waits: for its parent, for the open, for its trigger."""
        if order.parent is not None and order.workable <= 0:
            order.stage = Stage.WAITING_PARENT
            return
        core, ticket = self.core, order.ticket
        tape, book = core.tape(ticket.instrument), self.book(ticket.instrument)
        order.why_held = "trigger" if order.is_waiting_trigger else ""
        if not tape.is_open(core.now, order.extended) and ticket.tif not in IMMEDIATE:
            if order.stage is Stage.WAITING_PARENT:
                core.report.order(order)
            order.stage = Stage.WAITING_OPEN
            order.wake_timer = core.timeline.at(tape.next_open(core.now, order.extended), partial(self.activate, order))
            return
        order.stage = Stage.WORKING
        if order.is_waiting_trigger:
            core.report.order(order)
            book.add_stop(order, core.now)
        elif ticket.order_type in AT_CLOSE:
            close = tape.next_close(core.now, order.extended) - JUST_BEFORE
            order.wake_timer = core.timeline.at(max(close, core.now), partial(self._at_close, order))
        elif ticket.tif in IMMEDIATE:
            self._immediate(order, book)
        else:
            self._enter(order, book)

    def _enter(self, order: Order, book: Book) -> None:
        order.status = OrderStatus.SUBMITTED
        if order.limit is not None:
            order.announced = True
            self.core.report.order(order)
        book.arrive(order, self.core.now)
        if order.stage is Stage.WORKING and not order.announced:
            order.announced = True
            self.core.report.order(order)

    def _immediate(self, order: Order, book: Book) -> None:
        now = self.core.now
        if order.ticket.tif == "FOK" and book.available(order, now) < order.workable:
            self.finish(order, OrderStatus.INACTIVE, BY_SYSTEM)
            self.core.report.order(order, echo=False)
            return
        book.arrive(order, now)
        if order.stage is Stage.WORKING:
            order.status = OrderStatus.PENDING_CANCEL
            self.core.report.order(order, echo=False)
            self.end(order, BY_SYSTEM, tell=None)

    def _at_close(self, order: Order) -> None:
        order.status = OrderStatus.SUBMITTED
        self.book(order.ticket.instrument).arrive(order, self.core.now)
        if order.stage is Stage.WORKING:
            self._expire(order)

    def _triggered(self, order: Order) -> None:
        order.triggered = True
        order.why_held = ""
        order.status = OrderStatus.SUBMITTED
        limit = stops.limit_after_trigger(order)
        if limit != order.ticket.limit_price:
            order.amend(limit_price=limit)
        order.announced = True
        self.core.report.order(order)
        self.book(order.ticket.instrument).arrive(order, self.core.now)

    # --- refusals ---

    def _admit(self, order: Order) -> Refusal | None:
        if order.group is not None and order.group.filled:
            return rules.rejected("OCA group is already filled.")
        return self.check_margin(order, order.remaining)

    def check_margin(self, order: Order, quantity: Decimal) -> Refusal | None:
        """Whether `quantity` more of this order fits in the account."""
        core, ticket = self.core, order.ticket
        account = core.accounts[ticket.account]
        price = core.price(ticket.instrument, ticket.limit_price)
        short = core.margin.shortfall(
            account, ticket.instrument, is_buy=order.is_buy, quantity=quantity, price=price, now=core.now
        )
        return None if short is None else rules.rejected(short.reason(account.base))

    def reject(self, order: Order, refusal: Refusal) -> None:
        """Refuse an order the gateway had passed on: it becomes Inactive."""
        order.reject_text = refusal.text
        self.finish(order, OrderStatus.INACTIVE, BY_SYSTEM)
        self.core.report.order(order)
        self._say(order, refusal.code, refusal.text)
        self.core.report.order(order)
        self.core.report.record("rejected", **identity(order), code=refusal.code, text=refusal.text)
        self._end_children(order)

    def _needs_locate(self, order: Order) -> bool:
        instrument = order.ticket.instrument
        if order.is_buy or instrument.sec_type != "STK" or instrument.shortable or order.parent is not None:
            return False
        return self.core.accounts[order.ticket.account].held(instrument) < order.remaining

    def _held_until(self, order: Order) -> str:
        instrument = order.ticket.instrument
        opens = self.core.tape(instrument).next_open(self.core.now, order.extended)
        return rules.held_until(order.ticket, opens)

    # --- ends ---

    def finish(self, order: Order, status: OrderStatus, completed_status: str) -> None:
        """Take an order off the venue and the books of working orders. Says nothing."""
        core = self.core
        order.status = status
        order.why_held = ""
        order.completed_status = completed_status
        order.pending_change = None
        for timer in (order.expiry, order.wake_timer):
            if timer is not None:
                timer.cancel()
        self.book(order.ticket.instrument).remove(order)
        core.registry.finish(order, core.now)
        self.reckon(order)
        core.mind(order.ticket.instrument)

    def end(self, order: Order, completed_status: str, *, tell: int | None) -> None:
        """Cancel a transmitted order: Cancelled, and error 202 to the client `tell` if there is one."""
        order.pending_change = None
        self.finish(order, OrderStatus.CANCELLED, completed_status)
        self.core.report.order(order, echo=False)
        if tell is not None:
            self.core.report.message(tell, order.ticket.order_id, 202, "Order Canceled - reason:")
        self.core.report.record("cancelled", **identity(order), filled=order.filled, by=completed_status.strip())
        self._end_children(order)

    def withdraw(self, order: Order) -> None:
        """Cancel an order that was never transmitted: ApiCancelled, and nothing else."""
        self.finish(order, OrderStatus.API_CANCELLED, BY_TRADER)
        self.core.report.order(order, echo=False)
        self.core.report.record("cancelled", **identity(order), filled=order.filled, by=BY_TRADER)
        self._end_children(order)

    def end_by_trader(self, order: Order, client_id: int) -> None:
        """Cancel at a client's request; the rest of its OCA group goes with it."""
        others = [] if order.group is None else order.group.others(order)
        self.end(order, BY_TRADER, tell=client_id)
        for other in others:
            if other.stage is not Stage.DONE:
                self.end_by_group(other)

    def end_by_group(self, order: Order) -> None:
        """Cancel because another member of the OCA group filled or was cancelled."""
        if order.stage is not Stage.DONE:
            self.end(order, BY_SYSTEM, tell=order.ticket.client_id)

    def _end_children(self, parent: Order) -> None:
        for child in tuple(parent.children):
            if child.stage is Stage.DONE:
                continue
            if child.stage is Stage.HELD:
                self.withdraw(child)
            elif parent.filled <= 0:
                self.end(child, BY_SYSTEM, tell=child.ticket.client_id)
            else:
                self._keep_for_filled(parent, child)

    def _keep_for_filled(self, parent: Order, child: Order) -> None:
        # What the parent did fill stays protected; the child only shrinks to that.
        keep = quantity_left_to_children(parent, child)
        if keep <= child.filled:
            self.end(child, BY_SYSTEM, tell=child.ticket.client_id)
            return
        child.parent = None
        child.amend(quantity=keep)
        self.reckon(child)
        self.core.report.order(child)

    def set_expiry(self, order: Order) -> None:
        """(Re)set the time at which the order ends by itself: DAY at the end of its hours, GTD at its date."""
        if order.expiry is not None:
            order.expiry.cancel()
            order.expiry = None
        core, ticket = self.core, order.ticket
        if ticket.tif == "DAY" and ticket.order_type not in AT_CLOSE:
            when = core.tape(ticket.instrument).next_close(core.now, order.extended)
        elif ticket.tif == "GTD":
            until = rules.good_till(ticket)
            if until is None:  # refused by the rules before it gets here
                return
            when = until
        else:
            return
        order.expiry = core.timeline.at(when, partial(self._expire, order))

    def _expire(self, order: Order) -> None:
        if order.stage is not Stage.DONE:
            self.core.report.record("expired", **identity(order), filled=order.filled)
            self.end(order, BY_SYSTEM, tell=None)

    # --- groups and brackets ---

    def shrink(self, order: Order, remaining: Decimal) -> None:
        """Reduce an order's remaining quantity because its OCA group filled in part."""
        order.amend(quantity=order.filled + remaining)
        self.reckon(order)
        self.core.report.order(order)

    def wake_child(self, order: Order) -> None:
        """A parent has filled: its child starts to work, or works for more. A resting child keeps its place."""
        if order.stage is Stage.WAITING_PARENT:
            self.activate(order)
        elif order.stage is Stage.WORKING and not order.is_waiting_trigger and order.rest_key is None:
            book = self.book(order.ticket.instrument)
            book.remove(order)
            book.arrive(order, self.core.now)

    # --- small things ---

    def reckon(self, order: Order) -> None:
        """Bring the account's sums of working quantities up to date with the order."""
        working = order.stage is not Stage.DONE and order.parent is None
        quantity = order.remaining if working else Decimal(0)
        change = quantity - order.margin_quantity
        if change:
            order.margin_quantity = quantity
            account = self.core.accounts[order.ticket.account]
            account.work(order.ticket.instrument, **{"buys" if order.is_buy else "sells": change})

    def _say(self, order: Order, code: int, text: str) -> None:
        self.core.report.message(order.ticket.client_id, order.ticket.order_id, code, text)
