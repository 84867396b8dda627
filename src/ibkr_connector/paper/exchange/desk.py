"""What clients ask for: new orders, changes, cancels. Judged at once, carried out after the wire's latency."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from . import rules
from .core import Core
from .groups import REDUCE_NON_BLOCK
from .lifecycle import Lifecycle
from .link import OrderKey
from .orders import IMMEDIATE, TRAILING, Order, Stage
from .reports import identity, request
from .rules import Refusal
from .types import OrderStatus, OrderTicket


class Desk:
    """Takes requests from clients."""

    def __init__(self, core: Core, lifecycle: Lifecycle) -> None:
        self._core = core
        self._life = lifecycle
        self._sequence = 0

    def normalized(self, ticket: OrderTicket) -> OrderTicket:
        """A copy in the exchange's own spelling: upper case words, the only account filled in, DAY by default."""
        accounts = self._core.accounts
        account = ticket.account
        if not account and len(accounts) == 1:
            account = next(iter(accounts))
        action = ticket.action.upper()
        return OrderTicket(
            client_id=ticket.client_id,
            order_id=ticket.order_id,
            instrument=ticket.instrument,
            account=account,
            action="SELL" if action == "SSHORT" else action,
            quantity=ticket.quantity,
            order_type=ticket.order_type.upper().strip(),
            limit_price=ticket.limit_price,
            aux_price=ticket.aux_price,
            trailing_percent=ticket.trailing_percent,
            trail_stop_price=ticket.trail_stop_price,
            tif=ticket.tif.upper() or "DAY",
            good_till=ticket.good_till,
            outside_rth=ticket.outside_rth,
            oca_group=ticket.oca_group,
            oca_type=ticket.oca_type,
            parent_id=ticket.parent_id,
            transmit=ticket.transmit,
            order_ref=ticket.order_ref,
            exchange=ticket.exchange or "SMART",
            what_if=ticket.what_if,
            all_or_none=ticket.all_or_none,
            hidden=ticket.hidden,
            source=ticket.source,
            extras=dict(ticket.extras),
        )

    # --- placing ---

    def place(self, ticket: OrderTicket, *, recorded: bool = False) -> None:
        """A new order, or a change of the order with the same client and order id; `recorded`: it is in the log."""
        core, ticket = self._core, self.normalized(ticket)
        key = (ticket.client_id, ticket.order_id)
        is_new = core.registry.get(*key) is None and not core.link.holds(key)
        if not recorded:
            core.report.record("recv_place" if is_new else "recv_modify", **request(ticket))
        # The gateway itself counts ids: an order that waits for the broker has used its own.
        if is_new and not core.order_ids.take(*key):
            self._refuse(ticket, rules.DUPLICATE_ID)
            return
        self._pass_on(key, partial(self._take, ticket, is_new=is_new))

    def _pass_on(self, key: OrderKey, action: Callable[[], None]) -> None:
        """Carry out a request about an order, or keep it while the broker cannot be reached."""
        if not self._core.link.pass_on(key, action):
            self._core.report.record("withheld", client_id=key[0], order_id=key[1])

    def _take(self, ticket: OrderTicket, *, is_new: bool) -> None:
        core = self._core
        known = core.registry.get(ticket.client_id, ticket.order_id)
        if is_new:
            self._place_new(ticket)
        elif known is None:
            self._refuse(ticket, rules.DUPLICATE_ID)  # what it was to change waited too, and was refused
        elif core.disturbance is not None and core.disturbance.forks(*known.key) and self._can_fork(known):
            self._fork(known, ticket)
        else:
            self._change(known, ticket)

    def _place_new(self, ticket: OrderTicket) -> None:
        core = self._core
        refusal = rules.check(ticket, core.tape(ticket.instrument), core.accounts, core.now)
        parent = None
        if refusal is None and ticket.parent_id:
            parent = core.registry.get(ticket.client_id, ticket.parent_id)
            gone = parent is None or (parent.stage is Stage.DONE and parent.status is not OrderStatus.FILLED)
            if gone:
                refusal = Refusal(135, f"Can't find order with ID ={ticket.parent_id}")
        if refusal is not None:
            self._refuse(ticket, refusal)
            return
        self._sequence += 1
        order = Order(ticket, core.perm_ids.take(), self._sequence)
        order.route = core.venues.route(ticket.instrument)
        if parent is not None:
            order.parent = parent
            parent.children.append(order)
        self._join_group(order)
        core.registry.add(order)
        core.mind(ticket.instrument)
        if ticket.transmit:
            self._life.release(order)
        else:
            core.report.record("held", **identity(order))

    def _join_group(self, order: Order) -> None:
        """Named groups, and the group of a bracket's children: named by the parent's permId, as captured."""
        ticket, parent = order.ticket, order.parent
        name = ticket.oca_group or ("" if parent is None else str(parent.perm_id))
        if not name:
            return
        if name != ticket.oca_group or not ticket.oca_type:
            order.amend(oca_group=name, oca_type=ticket.oca_type or REDUCE_NON_BLOCK)
        order.group = self._core.registry.group(ticket.account, name)
        order.group.members.append(order)

    # --- changing ---

    @staticmethod
    def _can_fork(order: Order) -> bool:
        return order.stage not in {Stage.HELD, Stage.DONE}

    def _fork(self, order: Order, ticket: OrderTicket) -> None:
        """The change becomes an order of its own for what is left; the first one works on as it was."""
        core = self._core
        ticket = self._with_inherited(order, ticket)
        ticket.quantity -= order.filled
        refusal = rules.check(ticket, core.tape(ticket.instrument), core.accounts, core.now)
        if refusal is not None:
            self._refuse(ticket, refusal)
            return
        self._sequence += 1
        fork = Order(ticket, core.perm_ids.take(), self._sequence)
        fork.route = order.route
        core.registry.add(fork)
        core.report.record("forked", **identity(fork), first_perm_id=order.perm_id)
        self._life.release(fork)

    def _change(self, order: Order, ticket: OrderTicket) -> None:
        core = self._core
        if order.stage is Stage.DONE:
            filled = order.status is OrderStatus.FILLED
            self._refuse(ticket, rules.ALREADY_FILLED if filled else rules.DUPLICATE_ID)
            return
        old = order.pending_change or order.ticket
        ticket = self._with_inherited(order, ticket)
        refusal = (
            self._check_state(order)
            or rules.check_change(old, ticket)
            or rules.check(ticket, core.tape(ticket.instrument), core.accounts, core.now)
            or self._check_size(order, ticket)
        )
        if refusal is not None:
            self._refuse(ticket, refusal)
            if order.stage not in {Stage.HELD, Stage.SENT}:
                core.report.order(order)
            return
        if order.stage is Stage.HELD:
            order.ticket = ticket
            order.initial_quantity = ticket.quantity
            if ticket.transmit:
                self._life.release(order)
            return
        if not ticket.transmit:
            # Staged in the gateway: the working order is untouched until the change is transmitted.
            core.report.record("held", **identity(order))
            return
        order.pending_change = ticket
        due = core.in_lane(ticket.client_id, core.behavior.ack_latency)
        core.timeline.at(due, partial(self._change_acknowledged, order, ticket))

    def _with_inherited(self, order: Order, ticket: OrderTicket) -> OrderTicket:
        """What the gateway gave the order stays with it when the client does not repeat it."""
        old = order.ticket
        ticket.parent_id = old.parent_id
        ticket.oca_group = old.oca_group
        ticket.oca_type = old.oca_type
        if ticket.order_type in TRAILING and ticket.trail_stop_price is None:
            ticket.trail_stop_price = order.stop_price
        return ticket

    @staticmethod
    def _check_state(order: Order) -> Refusal | None:
        busy = order.pending_change is not None or order.cancelled_by is not None
        return rules.STILL_PROCESSING if busy else None

    @staticmethod
    def _check_size(order: Order, ticket: OrderTicket) -> Refusal | None:
        if ticket.quantity > order.filled:
            return None
        return rules.rejected("The new order quantity is not above the quantity already filled.")  # (unverified)

    def _change_acknowledged(self, order: Order, ticket: OrderTicket) -> None:
        if order.pending_change is not ticket:
            self._too_late(order, ticket)
            return
        core = self._core
        more = ticket.quantity - order.ticket.quantity
        refusal = self._life.check_margin(order, more) if more > 0 else None
        if refusal is not None:
            order.pending_change = None
            self._refuse(ticket, refusal)
            core.report.order(order)
            return
        if rules.drops_outside_rth(ticket):
            ticket.outside_rth = False
            core.report.message(ticket.client_id, ticket.order_id, 2109, rules.IGNORED_OUTSIDE_RTH)
        if order.status is not OrderStatus.PENDING_CANCEL:
            order.status = OrderStatus.PRE_SUBMITTED
        core.report.order(order, ticket=ticket)
        core.timeline.at(core.after(core.behavior.fill_latency), partial(self._change_effective, order, ticket))

    def _change_effective(self, order: Order, ticket: OrderTicket) -> None:
        if order.pending_change is not ticket:
            # Ended between the echo of the change and its effect: only a fill still needs saying.
            if order.status is OrderStatus.FILLED:
                self._refuse(ticket, rules.ALREADY_FILLED)
            return
        order.pending_change = None
        if order.status is OrderStatus.PENDING_CANCEL:
            return
        core, life, old = self._core, self._life, order.ticket
        core.report.record("modified", **request(ticket), perm_id=order.perm_id)
        order.initial_quantity += ticket.quantity - old.quantity
        order.ticket = ticket
        if order.remaining <= 0:
            # It filled meanwhile at least as much as the new size asks for.
            order.amend(quantity=order.filled)
            life.finish(order, OrderStatus.FILLED, f"Filled Size: {order.filled:f}")
            core.report.order(order)
            return
        life.reckon(order)
        if (old.tif, old.good_till, old.outside_rth) != (ticket.tif, ticket.good_till, ticket.outside_rth):
            life.set_expiry(order)
        keeps_place = (
            order.rest_key is not None
            and old.order_type == ticket.order_type
            and old.limit_price == ticket.limit_price
            and ticket.quantity <= old.quantity
            and ticket.tif not in IMMEDIATE
        )
        if keeps_place:
            order.status = OrderStatus.SUBMITTED
            core.report.order(order)
            return
        self._rework(order, old)

    def _rework(self, order: Order, old: OrderTicket) -> None:
        """Bring a changed order to the venue anew: it loses its place."""
        ticket, life = order.ticket, self._life
        if order.stage in {Stage.SENT, Stage.ACKNOWLEDGED, Stage.WAITING_PARENT, Stage.LOCATING}:
            self._core.report.order(order)
            return
        if order.wake_timer is not None:
            order.wake_timer.cancel()
        life.book(ticket.instrument).remove(order)
        same_trigger = (old.order_type, old.aux_price, old.trailing_percent) == (
            ticket.order_type,
            ticket.aux_price,
            ticket.trailing_percent,
        )
        if not (order.triggered and same_trigger):
            order.triggered = False
            order.stop_price = None
        life.activate(order)
        if order.stage in {Stage.WAITING_OPEN, Stage.WAITING_PARENT}:
            self._core.report.order(order)

    def _too_late(self, order: Order, ticket: OrderTicket) -> None:
        """The order ended before its change arrived."""
        if order.status is OrderStatus.FILLED:
            self._refuse(ticket, rules.ALREADY_FILLED)
        else:
            self._refuse(ticket, Refusal(135, f"Can't find order with ID ={ticket.order_id}"))

    # --- cancelling ---

    def cancel(self, client_id: int, order_id: int, *, any_client: bool, source: str) -> None:
        """Cancel a client's order, or with `any_client` the live order of that id whoever placed it."""
        self._core.report.record("recv_cancel", source=source, client_id=client_id, order_id=order_id)
        self._pass_on((client_id, order_id), partial(self._cancel, client_id, order_id, any_client=any_client))

    def _cancel(self, client_id: int, order_id: int, *, any_client: bool) -> None:
        core = self._core
        order = core.registry.get(client_id, order_id)
        if order is None and any_client:
            order = core.registry.find_live(order_id)
        if order is None:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            core.report.message(client_id, order_id, 10147, text)
        elif order.stage is Stage.DONE or order.cancelled_by is not None:
            state = order.status if order.stage is Stage.DONE else OrderStatus.PENDING_CANCEL
            # "cannot" in every captured message; the documentation's table has "can not".
            text = f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {state}."
            core.report.message(client_id, order_id, 10148, text)
        else:
            self._request_cancel(order, client_id)

    def cancel_all(self, client_id: int, source: str) -> None:
        """Cancel every live order of every client. Children go with their parents, OCA groups with one member."""
        self._core.report.record("recv_global_cancel", source=source, client_id=client_id)
        self._core.link.pass_on(None, partial(self._cancel_all, client_id))

    def _cancel_all(self, client_id: int) -> None:
        core = self._core
        groups: set[int] = set()
        live = core.registry.live()
        for order in live:
            if order.stage is Stage.DONE:
                continue
            if order.stage is Stage.HELD and order.ticket.client_id != client_id:
                continue
            if order.parent is not None and order.parent.stage is not Stage.DONE:
                continue
            if order.group is not None and order.stage is not Stage.HELD:
                if id(order.group) in groups:
                    continue
                groups.add(id(order.group))
            if order.cancelled_by is not None:
                self._not_cancellable(order, order.ticket.client_id)
            else:
                self._request_cancel(order, order.ticket.client_id)

    def _request_cancel(self, order: Order, client_id: int) -> None:
        if order.stage is Stage.HELD:
            self._life.withdraw(order)
            return
        core = self._core
        order.cancelled_by = client_id
        due = core.in_lane(client_id, core.behavior.ack_latency)
        core.timeline.at(due, partial(self._cancel_acknowledged, order, client_id))

    def _cancel_acknowledged(self, order: Order, client_id: int) -> None:
        if order.stage is Stage.DONE:
            self._not_cancellable(order, client_id)
        elif order.stage is not Stage.WORKING or order.is_waiting_trigger:
            # Nothing at the venue to wait for: the broker itself holds it.
            self._life.end_by_trader(order, client_id)
        else:
            core = self._core
            order.status = OrderStatus.PENDING_CANCEL
            core.report.order(order, echo=False)
            due = core.after(core.behavior.cancel_latency)
            core.timeline.at(due, partial(self._cancel_confirmed, order, client_id))

    def _cancel_confirmed(self, order: Order, client_id: int) -> None:
        if order.stage is Stage.DONE:
            self._not_cancellable(order, client_id)
        else:
            self._life.end_by_trader(order, client_id)

    def _not_cancellable(self, order: Order, client_id: int) -> None:
        text = f"Cancel attempted when order is not in a cancellable state.  Order permId ={order.perm_id}"
        self._core.report.message(client_id, order.ticket.order_id, 161, text)

    def _refuse(self, ticket: OrderTicket, refusal: Refusal) -> None:
        report = self._core.report
        report.message(ticket.client_id, ticket.order_id, refusal.code, refusal.text)
        report.record("rejected", **request(ticket), code=refusal.code, text=refusal.text)
