"""`connector.orders`: place, change, cancel, look up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ibkr_connector.api import order_building as building
from ibkr_connector.api.leaving import placing
from ibkr_connector.api.order_arguments import (
    Number,
    OrderLike,
    key_of,
    oca_type_of,
    request_of,
    twice,
)
from ibkr_connector.backends.base import WhatIf
from ibkr_connector.errors import OrderNotFound, OrderValidationError
from ibkr_connector.models.arguments import seconds, sentence, text, whole, wrong
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import (
    BracketRequest,
    OcaType,
    OrderRequest,
    OrderSnapshot,
    OrderState,
    OrderType,
)
from ibkr_connector.orders.flatten import Flattener, FlattenReport
from ibkr_connector.orders.groups import plan_oca
from ibkr_connector.orders.handle import BracketOrder, OcaGroup, Order
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.manager import OrderManager
from ibkr_connector.orders.updates import AllOrderUpdates
from ibkr_connector.session.mailbox import Mailbox
from ibkr_connector.session.thread import SessionThread

_SCOPES = ("own", "client", "account")
_LONGEST_GROUP = 64
_LARGEST_BUFFER = 10_000_000


class OrdersApi:
    """Orders of this connector. Every placing method returns an `Order` once the broker acknowledged it.

    Raised by every placing method, besides what each names:
        OrderValidationError: the order is wrong as written; nothing was sent.
        RiskRejected: a gate refused; nothing was sent. OrderNotSent: given up before the write.
        OrderRejected: the broker refused. OrderInDoubt: it may be at the broker; do not send again.
    """

    def __init__(self, thread: SessionThread, manager: OrderManager, flattener: Flattener) -> None:
        self._thread = thread
        self._manager = manager
        self._flattener = flattener

    # --- placing ---------------------------------------------------------------------------------------------------

    async def place(self, request: OrderRequest, *, timeout: float | None = None) -> Order:
        """Place one order. The same `order_ref` never becomes a second order: a repeat returns the first.

        A caller that is cancelled meanwhile finds the order's ref in a note of its `CancelledError`.
        """
        checked, timeout = request_of(request, "request"), seconds(timeout)
        with placing([checked.order_ref]) as caller:
            live = await self._thread.run(caller.unless_left(lambda: self._manager.place(checked, timeout)))
        return Order(live, self._manager, self._thread)

    def request(
        self,
        symbol: str | Contract,
        quantity: Number,
        action: str,
        order_type: OrderType | str = OrderType.MARKET,
        **options: Any,
    ) -> OrderRequest:
        """An `OrderRequest` from plain arguments; `options` are its other fields (limit_price, tif, order_ref …)."""
        return building.request(symbol, quantity, action, order_type, **options)

    def build(
        self,
        symbol: str | Contract | OrderRequest,
        quantity: Number | None,
        order_type: OrderType | str,
        action: str,
        price: Number | None,
        **options: Any,
    ) -> OrderRequest:
        """The request that `place_order`'s arguments mean. `price` is the limit of LMT and the stop of STP.

        Raises: OrderValidationError, also for anything said beside an `OrderRequest`, which holds all of the order.
        """
        return building.build(symbol, quantity, order_type, action, price, **options)

    async def market(self, symbol: str | Contract, quantity: Number, action: str, **options: Any) -> Order:
        """A market order."""
        return await self.place(building.typed(OrderType.MARKET, symbol, quantity, action, options))

    async def limit(
        self, symbol: str | Contract, quantity: Number, action: str, limit_price: Number, **options: Any
    ) -> Order:
        """A limit order."""
        return await self.place(
            building.typed(OrderType.LIMIT, symbol, quantity, action, options, limit_price=limit_price)
        )

    async def stop(
        self, symbol: str | Contract, quantity: Number, action: str, stop_price: Number, **options: Any
    ) -> Order:
        """A stop order: becomes a market order when the stop price trades."""
        return await self.place(
            building.typed(OrderType.STOP, symbol, quantity, action, options, stop_price=stop_price)
        )

    async def stop_limit(
        self,
        symbol: str | Contract,
        quantity: Number,
        action: str,
        stop_price: Number,
        limit_price: Number,
        **options: Any,
    ) -> Order:
        """A stop-limit order: becomes a limit order when the stop price trades."""
        request = building.typed(
            OrderType.STOP_LIMIT, symbol, quantity, action, options, stop_price=stop_price, limit_price=limit_price
        )
        return await self.place(request)

    async def trailing_stop(
        self,
        symbol: str | Contract,
        quantity: Number,
        action: str,
        trail_amount: Number | None = None,
        trail_percent: Number | None = None,
        **options: Any,
    ) -> Order:
        """A stop that follows the market at a distance: an amount in the contract's currency, or percent."""
        request = building.typed(
            OrderType.TRAILING_STOP,
            symbol,
            quantity,
            action,
            options,
            trail_amount=trail_amount,
            trail_percent=trail_percent,
        )
        return await self.place(request)

    async def bracket(
        self,
        symbol: str | Contract,
        quantity: Number,
        action: str = "BUY",
        *,
        entry_price: Number | None = None,
        take_profit_price: Number | None = None,
        stop_loss_price: Number | None = None,
        stop_loss_pct: float = 0.05,
        take_profit_pct: float = 0.10,
        order_ref: str | None = None,
        **options: Any,
    ) -> BracketOrder:
        """An entry (limit, or market without `entry_price`) with a target and a stop, sent as one group.

        Exits not given as prices are `stop_loss_pct` and `take_profit_pct` away from the entry price (0.05 = 5 %),
        rounded to the contract's tick; they need an `entry_price`. `order_ttl` is the entry's alone.
        """
        contract, legs = building.bracket_legs(
            symbol,
            quantity,
            action,
            entry_price=entry_price,
            take_profit_price=take_profit_price,
            stop_loss_price=stop_loss_price,
            stop_loss_pct=stop_loss_pct,
            take_profit_pct=take_profit_pct,
            order_ref=order_ref,
            options=options,
        )
        details = await self._thread.run(self._manager.details(contract))
        return await self.place_bracket(legs(details.min_tick))

    async def place_bracket(self, request: BracketRequest, *, timeout: float | None = None) -> BracketOrder:
        """Place a bracket that is built already."""
        given: object = request
        if not isinstance(given, BracketRequest):
            raise wrong("request", request, "a BracketRequest", kind=OrderValidationError)
        timeout = seconds(timeout)
        refs = [request_of(leg, "request").order_ref for leg in request.legs]
        with placing(refs) as caller:
            legs = await self._thread.run(caller.unless_left(lambda: self._manager.place_bracket(request, timeout)))
        entry, target, stop = (Order(live, self._manager, self._thread) for live in legs)
        return BracketOrder(entry, target, stop)

    async def oca(
        self,
        orders: Sequence[OrderRequest | Mapping[str, Any]],
        oca_type: OcaType | int = OcaType.CANCEL_WITH_BLOCK,
        group: str | None = None,
        *,
        timeout: float | None = None,
    ) -> OcaGroup:
        """Place orders of which a fill ends or reduces the others (one cancels all), of one contract or of several.

        All are checked together, journaled in one commit and sent back to back; either all of them are sent or none.
        They are independent orders at IBKR, so one may be refused while the others work.

        Args:
            orders: two or more, each an `OrderRequest` or a mapping with the arguments of `place_order`.
            oca_type: 1 cancels the others, 2 reduces them in proportion; both with block, so that the group never
                fills more than its largest order. 3 reduces without block: it can overfill, and the limits count
                every order of it in full.
            group: IBKR's ocaGroup, unique among working orders; None = named after the first order.
            timeout: seconds until they must be sent; None = `order_deadline` of the settings.

        Raises:
            GroupIncomplete: an order was refused or not sent, and others work. OrderInDoubt: one may be at the broker.
        """
        kind, timeout = oca_type_of(oca_type), seconds(timeout)
        name = None if group is None else text(group, "group", most=_LONGEST_GROUP, kind=OrderValidationError)
        plan = plan_oca(building.oca_legs(orders), name, kind)
        with placing([leg.request.order_ref for leg in plan]) as caller:
            lives = await self._thread.run(caller.unless_left(lambda: self._manager.place_oca(plan, timeout)))
        return OcaGroup(lives, self._manager, self._thread)

    async def preview(self, request: OrderRequest, *, timeout: float | None = None) -> WhatIf:
        """The broker's own preview: margin and commission; nothing is placed."""
        return await self._thread.run(self._manager.preview(request_of(request, "request"), seconds(timeout)))

    # --- changing --------------------------------------------------------------------------------------------------

    async def modify(
        self,
        order: OrderLike,
        *,
        quantity: Number | None = None,
        limit_price: Number | None = None,
        stop_price: Number | None = None,
    ) -> OrderSnapshot:
        """Change a working order. Raises ModifyNotPossible, ModifyRejected, ModifyInDoubt, RiskRejected."""
        return await Order(self._manager.resolve_order(key_of(order)), self._manager, self._thread).modify(
            quantity=quantity, limit_price=limit_price, stop_price=stop_price
        )

    async def change(
        self,
        order: OrderLike,
        quantity: Number | None,
        price: Number | None,
        *,
        limit_price: Number | None = None,
        stop_price: Number | None = None,
    ) -> OrderSnapshot:
        """`modify` with one `price`: the limit price, or the stop price of a STP order."""
        if price is not None:
            kind = self._manager.resolve_order(key_of(order)).snapshot.order_type
            field, other = ("stop_price", stop_price) if kind == OrderType.STOP.value else ("limit_price", limit_price)
            if other is not None:
                raise twice("price", field, other)
            if field == "stop_price":
                stop_price = price
            else:
                limit_price = price
        return await self.modify(order, quantity=quantity, limit_price=limit_price, stop_price=stop_price)

    async def cancel(self, order: OrderLike, *, timeout: float | None = None) -> OrderSnapshot:
        """Cancel and wait for the end: Cancelled (partly filled, perhaps) or Filled. Raises CancelInDoubt."""
        timeout = seconds(timeout)
        return await self._thread.run(self._manager.cancel(self._manager.resolve_order(key_of(order)), timeout))

    async def cancel_all(self, scope: str = "own", *, timeout: float | None = None) -> list[OrderSnapshot]:
        """Cancel `own` orders, all of this `client` id, or the whole `account`'s (others' and manual ones too)."""
        given: object = scope
        if not isinstance(given, str) or given not in _SCOPES:
            raise wrong("scope", scope, ", ".join(_SCOPES), why="is not known")
        return await self._thread.run(self._manager.cancel_all(scope, seconds(timeout)))

    async def flatten(self, reason: str, *, scope: str = "own", timeout: float = 60.0) -> FlattenReport:
        """Cancel the orders of `scope` and close every position of the account; only reducing orders pass from now on.

        scope: `own` orders, those of this `client` id, or all of the `account`. In rounds, each for at most what the
        broker has just confirmed; begun, it goes on whether or not the caller waits.

        Raises:
            FlattenIncomplete: something is left, in doubt, or refused; its context tells. OrderNotSent: no connection.
        """
        given: object = scope
        if not isinstance(given, str) or given not in _SCOPES:
            raise wrong("scope", scope, ", ".join(_SCOPES), why="is not known")
        patience: object = timeout
        if patience is None:
            raise wrong("timeout", timeout, "a number of seconds", why="is no end")
        words = sentence(reason, "reason")
        return await self._thread.run(self._flattener.begin(words, scope, seconds(timeout)))

    # --- looking up ------------------------------------------------------------------------------------------------

    async def get(self, order: OrderLike) -> Order:
        """The order by handle, ref or id. Raises `OrderNotFound`."""
        key = key_of(order)
        try:
            live = self._manager.resolve_order(key)
        except OrderNotFound:
            if not self._thread.started:
                raise
            # It is not there only when the session, done with all it was told before (a caller that left), says so too.
            live = await self._thread.run(self._look_up(key))
        return Order(live, self._manager, self._thread)

    async def _look_up(self, key: str | int) -> LiveOrder:
        return self._manager.resolve_order(key)

    async def open(self, *, refresh: bool = False) -> list[OrderSnapshot]:
        """Orders of the account that can still fill, other programs' too (`ours` tells them apart)."""
        if refresh:
            await self._thread.run(self._manager.refresh_open())
        return self._manager.open_orders()

    async def completed(self) -> list[OrderSnapshot]:
        """Orders of the broker's day that ended."""
        return await self._thread.run(self._manager.completed_orders())

    def updates(self, *, foreign: bool = True, buffer: int = 10_000) -> AllOrderUpdates:
        """A stream of all orders: every open one, then a snapshot with each change. Open it with `async with`.

        `foreign=False` leaves out other programs' orders. `buffer` bounds what a slow reader may lag behind.
        """
        capacity = whole(buffer, "buffer", least=1, most=_LARGEST_BUFFER)
        desk = self._manager.desk

        async def follow(box: Mailbox[OrderSnapshot]) -> None:
            desk.follow(box, foreign=foreign)

        async def unfollow(box: Mailbox[OrderSnapshot]) -> None:
            desk.unfollow(box)

        async def attach(box: Mailbox[OrderSnapshot]) -> None:
            self._thread.start()
            await self._thread.run(follow(box))

        async def detach(box: Mailbox[OrderSnapshot]) -> None:
            await self._thread.run(unfollow(box))

        return AllOrderUpdates(attach, detach, capacity)

    def in_doubt(self) -> list[OrderSnapshot]:
        """Orders that may or may not be at the broker. Nothing else is."""
        return self._manager.in_doubt()

    async def resolve(self, order: OrderLike, state: OrderState | str, evidence: str) -> OrderSnapshot:
        """An operator's word on an order in doubt (`filled`, `cancelled`, `not_sent` …); the audit keeps it.

        It ends the order and books no fill: positions and executions come from the broker's own report alone.
        """
        try:
            end = OrderState(state)
        except ValueError:
            legal = ", ".join(one.value for one in OrderState if one.is_done)
            raise wrong("as_", state, legal, why="is no state") from None
        evidence = sentence(evidence, "evidence")
        return await self._thread.run(
            self._manager.resolve_doubt(self._manager.resolve_order(key_of(order)), end, evidence)
        )
