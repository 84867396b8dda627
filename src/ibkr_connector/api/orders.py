"""`connector.orders`: place, change, cancel, look up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ibkr_connector.api.defaults import MARKET, Default
from ibkr_connector.api.leaving import placing
from ibkr_connector.api.order_arguments import (
    Number,
    OrderLike,
    action_of,
    bracket_ref,
    exit_price,
    key_of,
    oca_type_of,
    order_type_of,
    request_of,
    round_to,
    twice,
)
from ibkr_connector.backends.base import WhatIf
from ibkr_connector.errors import OrderNotFound, OrderValidationError, TradingError
from ibkr_connector.models.arguments import seconds, sentence, shown, text, whole, wrong
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import (
    BracketRequest,
    OcaType,
    OrderRequest,
    OrderSnapshot,
    OrderState,
    OrderType,
    new_order_ref,
    to_decimal,
)
from ibkr_connector.orders.flatten import Flattener, FlattenReport
from ibkr_connector.orders.groups import plan_oca
from ibkr_connector.orders.handle import BracketOrder, OcaGroup, Order
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.manager import OrderManager
from ibkr_connector.orders.updates import AllOrderUpdates
from ibkr_connector.session.mailbox import Mailbox
from ibkr_connector.session.thread import SessionThread
from ibkr_connector.symbols import parse_symbol

_SCOPES = ("own", "client", "account")
_SAID_BY_A_BRACKET = frozenset(
    {"contract", "order_type", "limit_price", "stop_price", "trail_amount", "trail_percent", "price"}
)
_LONGEST_GROUP = 64
_MOST_LEGS = 20
"""IBKR allows 15 to 20 working orders per side and contract."""
_NEEDED = {"symbol": "a symbol or a Contract", "action": "BUY, SELL"}
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
        if "contract" in options:
            raise twice("symbol", "contract", options["contract"])
        return OrderRequest.make(
            contract=parse_symbol(symbol),
            quantity=quantity,
            action=action,
            order_type=order_type_of(order_type),
            **options,
        )

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
        if isinstance(symbol, OrderRequest):
            given = {"quantity": quantity, "order_type": order_type, "action": action, "price": price, **options}
            said = {key: value for key, value in given.items() if value is not None and not isinstance(value, Default)}
            if said:
                raise OrderValidationError(
                    f"{', '.join(said)} was given beside an OrderRequest, which holds the whole order.",
                    field=next(iter(said)),
                    value=shown(next(iter(said.values()))),
                    legal="the OrderRequest alone; change it with OrderRequest.make, not beside it",
                    fields=list(said),
                )
            return symbol
        if quantity is None:
            raise OrderValidationError("quantity is needed.", field="quantity", value="None", legal="a number > 0")
        kind = order_type_of(order_type)
        if price is not None:
            field = "stop_price" if kind is OrderType.STOP else "limit_price"
            if options.get(field) is not None:
                raise twice("price", field, options[field])
            options = {**options, field: price}
        return self.request(symbol, quantity, action, kind, **options)

    def _typed(
        self,
        kind: OrderType,
        symbol: str | Contract,
        quantity: Number,
        action: str,
        options: dict[str, Any],
        **prices: Number | None,
    ) -> OrderRequest:
        """The request of a method whose name says the order's type."""
        for name in ("order_type", *prices):
            if name in options:
                raise twice(name, name, options[name])
        return self.request(symbol, quantity, action, kind, **prices, **options)

    async def market(self, symbol: str | Contract, quantity: Number, action: str, **options: Any) -> Order:
        """A market order."""
        return await self.place(self._typed(OrderType.MARKET, symbol, quantity, action, options))

    async def limit(
        self, symbol: str | Contract, quantity: Number, action: str, limit_price: Number, **options: Any
    ) -> Order:
        """A limit order."""
        return await self.place(
            self._typed(OrderType.LIMIT, symbol, quantity, action, options, limit_price=limit_price)
        )

    async def stop(
        self, symbol: str | Contract, quantity: Number, action: str, stop_price: Number, **options: Any
    ) -> Order:
        """A stop order: becomes a market order when the stop price trades."""
        return await self.place(self._typed(OrderType.STOP, symbol, quantity, action, options, stop_price=stop_price))

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
        request = self._typed(
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
        request = self._typed(
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
        contract, side = parse_symbol(symbol), action_of(action)
        for name in _SAID_BY_A_BRACKET & options.keys():
            raise twice("the bracket's own arguments", name, options[name])
        entry = None if entry_price is None else to_decimal(entry_price, "entry_price")
        target = exit_price(take_profit_price, entry, take_profit_pct, side.sign, "take_profit")
        stop = exit_price(stop_loss_price, entry, stop_loss_pct, -side.sign, "stop_loss")
        ref = new_order_ref() if order_ref is None else bracket_ref(order_ref)
        exits: dict[str, Any] = {**options, "tif": options.get("exit_tif", options.get("tif", "GTC"))}
        exits.pop("exit_tif", None)
        exits.pop("order_ttl", None)  # an exit that ended by itself would leave its position unprotected
        options.pop("exit_tif", None)
        kind = OrderType.MARKET if entry is None else OrderType.LIMIT

        def legs(tick: Decimal) -> BracketRequest:
            away = side.opposite.value
            limit = target if take_profit_price is not None else round_to(target, tick)
            trigger = stop if stop_loss_price is not None else round_to(stop, tick)
            return BracketRequest(
                entry=self.request(contract, quantity, side.value, kind, limit_price=entry, order_ref=ref, **options),
                take_profit=self.request(
                    contract, quantity, away, OrderType.LIMIT, limit_price=limit, order_ref=f"{ref}.tp", **exits
                ),
                stop_loss=self.request(
                    contract, quantity, away, OrderType.STOP, stop_price=trigger, order_ref=f"{ref}.sl", **exits
                ),
            )

        legs(Decimal(0))  # what is wrong with them is said before anything is asked of the broker
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
        plan = plan_oca(self._legs(orders), name, kind)
        with placing([leg.request.order_ref for leg in plan]) as caller:
            lives = await self._thread.run(caller.unless_left(lambda: self._manager.place_oca(plan, timeout)))
        return OcaGroup(lives, self._manager, self._thread)

    def _legs(self, orders: Sequence[OrderRequest | Mapping[str, Any]]) -> list[OrderRequest]:
        given: object = orders
        if not isinstance(given, list | tuple) or len(given) > _MOST_LEGS:
            raise wrong("orders", orders, f"a list of 2 to {_MOST_LEGS} orders", kind=OrderValidationError)
        legs = []
        for number, order in enumerate(given):
            place = f"orders[{number}]"
            try:
                legs.append(request_of(self._build_leg(order, place), place))
            except TradingError as error:
                field = str(error.context.get("field", place))
                context = {**error.context, "field": field if field.startswith(place) else f"{place}.{field}"}
                raise type(error)(f"{place}: {error.message}", remedy=error.remedy, **context) from None
        return legs

    def _build_leg(self, order: object, place: str) -> OrderRequest:
        if isinstance(order, OrderRequest):
            return order
        if not isinstance(order, Mapping) or not all(isinstance(key, str) for key in order):
            legal = "an OrderRequest, or a mapping with the arguments of place_order"
            raise wrong(place, order, legal, kind=OrderValidationError)
        options: dict[str, Any] = {"quantity": None, "order_type": MARKET, "price": None, **order}
        for name in ("symbol", "action"):  # no side is the usual one here
            if options.get(name) is None:
                raise OrderValidationError(f"{name} is needed.", field=name, value="None", legal=_NEEDED[name])
        return self.build(
            options.pop("symbol"),
            options.pop("quantity"),
            options.pop("order_type"),
            options.pop("action"),
            options.pop("price"),
            **options,
        )

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
        """An operator's word on an order in doubt (`filled`, `cancelled`, `not_sent` …); the audit keeps it."""
        try:
            end = OrderState(state)
        except ValueError:
            legal = ", ".join(one.value for one in OrderState if one.is_done)
            raise wrong("as_", state, legal, why="is no state") from None
        evidence = sentence(evidence, "evidence")
        return await self._thread.run(
            self._manager.resolve_doubt(self._manager.resolve_order(key_of(order)), end, evidence)
        )
