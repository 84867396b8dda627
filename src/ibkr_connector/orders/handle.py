"""`Order`: what a caller holds after placing an order. Safe on any thread and any event loop."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ibkr_connector.errors import OrderCancelled, OrderNotSent, OrderRejected, RequestTimeout
from ibkr_connector.models.arguments import seconds, to_decimal
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import Action, Fill, OcaType, OrderSnapshot, OrderState
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.updates import Box, Following, OrderUpdates
from ibkr_connector.resilience import Deadline
from ibkr_connector.session.thread import SessionThread

if TYPE_CHECKING:
    from ibkr_connector.orders.manager import OrderManager


class Order:
    """A live view of one order: its properties tell the newest known state, its coroutines wait for a later one."""

    def __init__(self, live: LiveOrder, manager: OrderManager, thread: SessionThread) -> None:
        self._live = live
        self._manager = manager
        self._thread = thread

    # --- what is known ---------------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> OrderSnapshot:
        """Everything known at this moment, immutable."""
        return self._live.snapshot

    @property
    def ref(self) -> str:
        """The order's name for ever (IBKR's orderRef)."""
        return self.snapshot.order_ref

    @property
    def order_id(self) -> int:
        """IBKR's order id, per client id."""
        return self.snapshot.order_id

    @property
    def perm_id(self) -> int:
        """IBKR's permanent id; 0 until the broker told it."""
        return self.snapshot.perm_id

    @property
    def contract(self) -> Contract:
        """What is traded."""
        return self.snapshot.contract

    @property
    def action(self) -> Action:
        """The side."""
        return self.snapshot.action

    @property
    def quantity(self) -> Decimal:
        """The quantity ordered."""
        return self.snapshot.quantity

    @property
    def state(self) -> OrderState:
        """Where the order stands."""
        return self.snapshot.state

    @property
    def status(self) -> str:
        """IBKR's own status word."""
        return self.snapshot.status

    @property
    def is_done(self) -> bool:
        """Whether the order has ended."""
        return self.state.is_done

    @property
    def filled_quantity(self) -> Decimal:
        """Executed so far."""
        return self.snapshot.filled

    @property
    def remaining_quantity(self) -> Decimal:
        """Not executed yet."""
        return self.snapshot.remaining

    @property
    def avg_fill_price(self) -> Decimal | None:
        """Average price of what is executed."""
        return self.snapshot.avg_fill_price

    @property
    def fills(self) -> tuple[Fill, ...]:
        """The executions."""
        return self.snapshot.fills

    @property
    def commission(self) -> Decimal | None:
        """Commissions reported so far."""
        return self.snapshot.commission

    def to_dict(self) -> dict[str, Any]:
        """The guide's keys."""
        return self.snapshot.to_dict()

    def __repr__(self) -> str:
        s = self.snapshot
        return (
            f"Order({s.order_ref}: {s.action.value} {s.quantity} {s.contract.symbol} {s.order_type}, {s.state.value}, "
            f"filled {s.filled}, order_id {s.order_id})"
        )

    # --- waiting and acting ----------------------------------------------------------------------------------------

    async def done(self, timeout: float | None = None) -> OrderSnapshot:
        """Wait until the order has ended, however it ended. Raises `RequestTimeout` after `timeout` seconds."""
        timeout = seconds(timeout)
        if self.is_done:
            return self.snapshot
        ended = await self._thread.run(
            self._live.until(lambda record: record.state.is_done, self._manager.clock, timeout)
        )
        if not ended:
            raise RequestTimeout(
                f"order {self.ref} is still {self.state.value} after {timeout:g} s.",
                remedy="It works on: wait again, or cancel it.",
                order_ref=self.ref,
            )
        return self.snapshot

    async def filled(self, timeout: float | None = None) -> OrderSnapshot:
        """Wait until every unit is executed.

        Raises:
            OrderRejected, OrderCancelled: it ended otherwise (`context['filled']` says how much was done).
            OrderNotSent: it never reached the broker.
            RequestTimeout: `timeout` seconds passed; the order works on.
        """
        result = await self.done(timeout)
        if result.state is OrderState.FILLED:
            return result
        if result.state is OrderState.NOT_SENT:
            ended = self._live.record.ended
            again = ended is not None and ended.reusable
            raise OrderNotSent(
                f"order {self.ref} was never at the broker" + (f": {result.why}" if result.why else "."),
                remedy=None if again else "Nothing is at the broker; a new try needs a new order_ref.",
                order_ref=self.ref,
                filled="0",
            )
        kind = OrderRejected if result.state is OrderState.REJECTED else OrderCancelled
        raise kind(
            f"order {self.ref} ended as {result.state.value} with {result.filled} of {result.quantity} filled"
            + (f": {result.why}" if result.why else "."),
            order_ref=self.ref,
            filled=str(result.filled),
        )

    def updates(self) -> OrderUpdates:
        """A stream of snapshots, one per change, ending with the order: `async with order.updates() as updates`."""
        following = Following(self._live)

        async def attach(box: Box) -> None:
            await self._thread.run(following.begin(box))

        async def detach(_: Box) -> None:
            await self._thread.run(following.end())

        return OrderUpdates(attach, detach)

    async def cancel(self, timeout: float | None = None) -> OrderSnapshot:
        """Cancel it and wait for the end: Cancelled, or Filled if that was faster. Raises `CancelInDoubt`."""
        return await self._thread.run(self._manager.cancel(self._live, seconds(timeout)))

    async def modify(
        self,
        *,
        quantity: float | Decimal | None = None,
        limit_price: float | Decimal | None = None,
        stop_price: float | Decimal | None = None,
    ) -> OrderSnapshot:
        """Change it and wait for the broker's word; see `OrdersApi.modify` for what is raised."""
        given = {"quantity": quantity, "limit_price": limit_price, "stop_price": stop_price}
        new = {field: None if value is None else to_decimal(value, field) for field, value in given.items()}
        return await self._thread.run(self._manager.modify(self._live, **new))


class BracketOrder:
    """An entry with its target and its stop."""

    def __init__(self, entry: Order, take_profit: Order, stop_loss: Order) -> None:
        self.entry = entry
        self.take_profit = take_profit
        self.stop_loss = stop_loss

    @property
    def legs(self) -> tuple[Order, Order, Order]:
        """Entry, target, stop."""
        return (self.entry, self.take_profit, self.stop_loss)

    def to_dict(self) -> dict[str, Any]:
        """The guide's keys."""
        target, stop = self.take_profit.snapshot, self.stop_loss.snapshot
        entry = self.entry.snapshot
        return {
            "success": entry.state not in (OrderState.REJECTED, OrderState.NOT_SENT),
            "bracket_order_id": entry.order_id,
            "symbol": entry.contract.symbol,
            "quantity": float(entry.quantity),
            "entry_price": None if entry.limit_price is None else float(entry.limit_price),
            "stop_loss_price": None if stop.stop_price is None else float(stop.stop_price),
            "take_profit_price": None if target.limit_price is None else float(target.limit_price),
            "orders": [leg.to_dict() for leg in self.legs],
            "timestamp": None if entry.updated_at is None else entry.updated_at.isoformat(),
        }

    def __repr__(self) -> str:
        return f"BracketOrder(entry={self.entry!r}, take_profit={self.take_profit!r}, stop_loss={self.stop_loss!r})"

    async def cancel(self, timeout: float | None = None) -> list[OrderSnapshot]:
        """Cancel the entry, and with it the children; when the entry is filled, the children."""
        timeout = seconds(timeout)
        if not self.entry.is_done:
            await self.entry.cancel(timeout)
        return [await leg.cancel(timeout) if not leg.is_done else leg.snapshot for leg in self.legs]


class OcaGroup:
    """Orders of which a fill cancels or reduces the others."""

    def __init__(self, lives: Sequence[LiveOrder], manager: OrderManager, thread: SessionThread) -> None:
        self._lives = tuple(lives)
        self._legs = tuple(Order(live, manager, thread) for live in lives)
        self._manager = manager
        self._thread = thread

    @property
    def name(self) -> str:
        """The group's name (IBKR's ocaGroup)."""
        return self._legs[0].snapshot.oca_group

    @property
    def oca_type(self) -> OcaType:
        """What a fill of one order does to the others."""
        return OcaType(self._legs[0].snapshot.oca_type)

    @property
    def legs(self) -> tuple[Order, ...]:
        """Its orders, as they were given."""
        return self._legs

    @property
    def is_done(self) -> bool:
        """Whether all its orders have ended."""
        return all(leg.is_done for leg in self.legs)

    @property
    def refs(self) -> tuple[str, ...]:
        """The names of its orders, in the order in which they were given."""
        return tuple(leg.ref for leg in self.legs)

    def to_dict(self) -> dict[str, Any]:
        """The group and its orders as plain values; `filled` names the orders that have filled, in part or in full."""
        return {
            "oca_group": self.name,
            "oca_type": int(self.oca_type),
            "is_done": self.is_done,
            "filled": [leg.ref for leg in self.legs if leg.filled_quantity],
            "orders": [leg.to_dict() for leg in self.legs],
        }

    def __repr__(self) -> str:
        return f"OcaGroup({self.name}: type {int(self.oca_type)}, {', '.join(map(repr, self.legs))})"

    async def done(self, timeout: float | None = None) -> list[OrderSnapshot]:
        """Wait until all have ended, however they ended. Raises `RequestTimeout` after `timeout` seconds."""
        patience = seconds(timeout)
        deadline = None if patience is None else Deadline(self._manager.clock, patience)
        return [await leg.done(None if deadline is None else deadline.remaining()) for leg in self.legs]

    async def cancel(self, timeout: float | None = None) -> list[OrderSnapshot]:
        """Cancel all that work, at once, and wait for their ends. Raises `CancelInDoubt` naming those not confirmed."""
        return await self._thread.run(self._manager.cancel_chosen(self._lives, seconds(timeout)))
