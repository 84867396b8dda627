"""`connector.orders`: place, change, cancel, look up."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeAlias

from ibkr_connector.api.defaults import Default
from ibkr_connector.api.leaving import placing
from ibkr_connector.backends.base import WhatIf
from ibkr_connector.errors import OrderNotFound, OrderValidationError
from ibkr_connector.models.arguments import seconds, sentence, shown, whole, wrong
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import (
    Action,
    BracketRequest,
    OrderRequest,
    OrderSnapshot,
    OrderState,
    OrderType,
    new_order_ref,
    to_decimal,
)
from ibkr_connector.orders.flatten import Flattener, FlattenReport
from ibkr_connector.orders.handle import BracketOrder, Order
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.manager import OrderManager
from ibkr_connector.orders.updates import AllOrderUpdates
from ibkr_connector.session.mailbox import Mailbox
from ibkr_connector.session.thread import SessionThread
from ibkr_connector.symbols import parse_symbol

Number: TypeAlias = float | Decimal
OrderLike: TypeAlias = Order | str | int
"""An `Order`, an order ref, or an order id of this connector's client id."""

_SCOPES = ("own", "client", "account")
_SAID_BY_A_BRACKET = frozenset(
    {"contract", "order_type", "limit_price", "stop_price", "trail_amount", "trail_percent", "price"}
)
_FARTHEST_EXIT = 100
_LONGEST_BRACKET_REF = 37
_LONGEST_REF = 256
"""Other programs' refs are not bound to our 40 characters."""
_HIGHEST_ID = 2**63
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
        checked, timeout = _request(request, "request"), seconds(timeout)
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
            raise _twice("symbol", "contract", options["contract"])
        return OrderRequest.make(
            contract=parse_symbol(symbol),
            quantity=quantity,
            action=action,
            order_type=_order_type(order_type),
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
        kind = _order_type(order_type)
        if price is not None:
            field = "stop_price" if kind is OrderType.STOP else "limit_price"
            if options.get(field) is not None:
                raise _twice("price", field, options[field])
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
                raise _twice(name, name, options[name])
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
        contract, side = parse_symbol(symbol), _action(action)
        for name in _SAID_BY_A_BRACKET & options.keys():
            raise _twice("the bracket's own arguments", name, options[name])
        entry = None if entry_price is None else to_decimal(entry_price, "entry_price")
        target = _exit_price(take_profit_price, entry, take_profit_pct, side.sign, "take_profit")
        stop = _exit_price(stop_loss_price, entry, stop_loss_pct, -side.sign, "stop_loss")
        ref = new_order_ref() if order_ref is None else _bracket_ref(order_ref)
        exits: dict[str, Any] = {**options, "tif": options.get("exit_tif", options.get("tif", "GTC"))}
        exits.pop("exit_tif", None)
        exits.pop("order_ttl", None)  # an exit that ended by itself would leave its position unprotected
        options.pop("exit_tif", None)
        kind = OrderType.MARKET if entry is None else OrderType.LIMIT

        def legs(tick: Decimal) -> BracketRequest:
            away = side.opposite.value
            limit = target if take_profit_price is not None else _round_to(target, tick)
            trigger = stop if stop_loss_price is not None else _round_to(stop, tick)
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
        refs = [_request(leg, "request").order_ref for leg in request.legs]
        with placing(refs) as caller:
            legs = await self._thread.run(caller.unless_left(lambda: self._manager.place_bracket(request, timeout)))
        entry, target, stop = (Order(live, self._manager, self._thread) for live in legs)
        return BracketOrder(entry, target, stop)

    async def preview(self, request: OrderRequest, *, timeout: float | None = None) -> WhatIf:
        """The broker's own preview: margin and commission; nothing is placed."""
        return await self._thread.run(self._manager.preview(_request(request, "request"), seconds(timeout)))

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
        return await Order(self._manager.resolve_order(_key(order)), self._manager, self._thread).modify(
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
            kind = self._manager.resolve_order(_key(order)).snapshot.order_type
            field, other = ("stop_price", stop_price) if kind == OrderType.STOP.value else ("limit_price", limit_price)
            if other is not None:
                raise _twice("price", field, other)
            if field == "stop_price":
                stop_price = price
            else:
                limit_price = price
        return await self.modify(order, quantity=quantity, limit_price=limit_price, stop_price=stop_price)

    async def cancel(self, order: OrderLike, *, timeout: float | None = None) -> OrderSnapshot:
        """Cancel and wait for the end: Cancelled (partly filled, perhaps) or Filled. Raises CancelInDoubt."""
        timeout = seconds(timeout)
        return await self._thread.run(self._manager.cancel(self._manager.resolve_order(_key(order)), timeout))

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
        key = _key(order)
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
            self._manager.resolve_doubt(self._manager.resolve_order(_key(order)), end, evidence)
        )


def _order_type(value: OrderType | str) -> OrderType:
    given: object = value
    text = given.strip().upper().replace("_", " ") if isinstance(given, str) else ""
    names = {"MARKET": "MKT", "LIMIT": "LMT", "STOP": "STP", "STOP LIMIT": "STP LMT", "TRAILING STOP": "TRAIL"}
    try:
        return OrderType(names.get(text, text))
    except ValueError:
        legal = ", ".join(kind.value for kind in OrderType)
        raise wrong("order_type", value, legal, why="is not supported", kind=OrderValidationError) from None


def _action(value: str) -> Action:
    given: object = value
    try:
        return Action(given.strip().upper() if isinstance(given, str) else "")
    except ValueError:
        raise wrong("action", value, "BUY, SELL", kind=OrderValidationError) from None


def _request(request: OrderRequest, field: str) -> OrderRequest:
    """A request that was built elsewhere, if it is one, and by the rules for a new order."""
    given: object = request
    if not isinstance(given, OrderRequest):
        raise wrong(field, request, "an OrderRequest (OrderRequest.make, or orders.request)", kind=OrderValidationError)
    parse_symbol(given.contract)
    return given


def _twice(one: str, other: str, value: object) -> OrderValidationError:
    names = one if one == other else f"{one} and {other}"
    return OrderValidationError(
        f"{names} cannot both be said ({other}={shown(value)}): they mean the same.",
        field=other,
        value=shown(value),
        legal=f"{names}, once",
        fields=list(dict.fromkeys([one, other])),
    )


def _key(order: OrderLike) -> str | int:
    """What names an order: its ref, or its id."""
    if isinstance(order, Order):
        return order.ref
    given: object = order
    if isinstance(given, str):
        # A text of digits is tried as an id, and ids have the digits 0-9 only.
        if 0 < len(given) <= _LONGEST_REF and (given.isascii() or not given.isdigit()):
            return given
    elif isinstance(given, int) and not isinstance(given, bool) and given and abs(given) < _HIGHEST_ID:
        return given
    raise wrong("order", order, "an Order, an order ref, or an order id", why="does not name an order")


def _bracket_ref(ref: str) -> str:
    given: object = ref
    if not isinstance(given, str) or not 0 < len(given) <= _LONGEST_BRACKET_REF:
        legal = f"1 to {_LONGEST_BRACKET_REF} characters: its exits add .tp and .sl"
        raise wrong("order_ref", ref, legal, kind=OrderValidationError)
    return given


def _exit_price(given: Number | None, entry: Decimal | None, fraction: float, sign: int, name: str) -> Decimal:
    """An exit's price: as given, or as far from the entry's as the fraction says, on the side of `sign`."""
    if given is not None:
        return to_decimal(given, f"{name}_price")
    distance = to_decimal(fraction, f"{name}_pct")
    if not 0 < distance <= _FARTHEST_EXIT:
        legal = f"a fraction between 0 and {_FARTHEST_EXIT} (0.05 = 5 %)"
        raise wrong(f"{name}_pct", fraction, legal, kind=OrderValidationError)
    if entry is None:
        raise OrderValidationError(
            f"{name}_price is needed when there is no entry_price to measure from.",
            field=f"{name}_price",
            legal="a price > 0",
        )
    return entry * (1 + sign * distance)


def _round_to(price: Decimal, tick: Decimal) -> Decimal:
    return (price / tick).quantize(Decimal(1)) * tick if tick > 0 else price
