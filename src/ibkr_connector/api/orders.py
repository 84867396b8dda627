"""`connector.orders`: place, change, cancel, look up."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeAlias

from ibkr_connector.backends.base import WhatIf
from ibkr_connector.errors import InvalidRequest, OrderValidationError
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
from ibkr_connector.orders.handle import BracketOrder, Order
from ibkr_connector.orders.manager import OrderManager
from ibkr_connector.session.thread import SessionThread
from ibkr_connector.symbols import parse_symbol

Number: TypeAlias = float | Decimal
OrderLike: TypeAlias = Order | str | int
"""An `Order`, an order ref, or an order id of this connector's client id."""

_SCOPES = ("own", "client", "account")


class OrdersApi:
    """Orders of this connector. Every placing method returns an `Order` once the broker acknowledged it.

    Raised by every placing method, besides what each names:
        OrderValidationError: the order is wrong as written; nothing was sent.
        RiskRejected: a gate refused; nothing was sent. OrderNotSent: given up before the write.
        OrderRejected: the broker refused. OrderInDoubt: it may be at the broker; do not send again.
    """

    def __init__(self, thread: SessionThread, manager: OrderManager) -> None:
        self._thread = thread
        self._manager = manager

    # --- placing ---------------------------------------------------------------------------------------------------

    async def place(self, request: OrderRequest, *, timeout: float | None = None) -> Order:
        """Place one order. The same `order_ref` never becomes a second order: a repeat returns the first."""
        live = await self._thread.run(self._manager.place(request, timeout))
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
        """The request that `place_order`'s arguments mean. `price` is the limit of LMT and the stop of STP."""
        if isinstance(symbol, OrderRequest):
            return symbol
        if quantity is None:
            raise OrderValidationError("quantity is needed.", field="quantity", value="None", legal="a number > 0")
        kind = _order_type(order_type)
        if price is not None:
            field = "stop_price" if kind is OrderType.STOP else "limit_price"
            options = {field: price, **options}
        return self.request(symbol, quantity, action, kind, **options)

    async def market(self, symbol: str | Contract, quantity: Number, action: str, **options: Any) -> Order:
        """A market order."""
        return await self.place(self.request(symbol, quantity, action, **options))

    async def limit(
        self, symbol: str | Contract, quantity: Number, action: str, limit_price: Number, **options: Any
    ) -> Order:
        """A limit order."""
        return await self.place(
            self.request(symbol, quantity, action, OrderType.LIMIT, limit_price=limit_price, **options)
        )

    async def stop(
        self, symbol: str | Contract, quantity: Number, action: str, stop_price: Number, **options: Any
    ) -> Order:
        """A stop order: becomes a market order when the stop price trades."""
        return await self.place(
            self.request(symbol, quantity, action, OrderType.STOP, stop_price=stop_price, **options)
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
        request = self.request(
            symbol, quantity, action, OrderType.STOP_LIMIT, stop_price=stop_price, limit_price=limit_price, **options
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
        request = self.request(
            symbol,
            quantity,
            action,
            OrderType.TRAILING_STOP,
            trail_amount=trail_amount,
            trail_percent=trail_percent,
            **options,
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
        rounded to the contract's tick; they need an `entry_price`.
        """
        contract = parse_symbol(symbol)
        side = _action(action)
        entry = None if entry_price is None else to_decimal(entry_price, "entry_price")
        details = await self._thread.run(self._manager.details(contract))
        target = _exit_price(take_profit_price, entry, take_profit_pct * side.sign, "take_profit_price")
        stop = _exit_price(stop_loss_price, entry, -stop_loss_pct * side.sign, "stop_loss_price")
        tick = details.min_tick
        target = target if take_profit_price is not None else _round_to(target, tick)
        stop = stop if stop_loss_price is not None else _round_to(stop, tick)
        ref = order_ref or new_order_ref()
        exits: dict[str, Any] = {**options, "tif": options.get("exit_tif", options.get("tif", "GTC"))}
        exits.pop("exit_tif", None)
        options.pop("exit_tif", None)
        request = BracketRequest(
            entry=self.request(
                contract,
                quantity,
                side.value,
                OrderType.MARKET if entry is None else OrderType.LIMIT,
                limit_price=entry,
                order_ref=ref,
                **options,
            ),
            take_profit=self.request(
                contract,
                quantity,
                side.opposite.value,
                OrderType.LIMIT,
                limit_price=target,
                order_ref=f"{ref}.tp",
                **exits,
            ),
            stop_loss=self.request(
                contract, quantity, side.opposite.value, OrderType.STOP, stop_price=stop, order_ref=f"{ref}.sl", **exits
            ),
        )
        return await self.place_bracket(request)

    async def place_bracket(self, request: BracketRequest, *, timeout: float | None = None) -> BracketOrder:
        """Place a bracket that is built already."""
        legs = await self._thread.run(self._manager.place_bracket(request, timeout))
        entry, target, stop = (Order(live, self._manager, self._thread) for live in legs)
        return BracketOrder(entry, target, stop)

    async def preview(self, request: OrderRequest, *, timeout: float | None = None) -> WhatIf:
        """The broker's own preview: margin and commission; nothing is placed."""
        return await self._thread.run(self._manager.preview(request, timeout))

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
        return await self._thread.run(
            self._manager.modify(
                self._manager.resolve_order(_key(order)),
                quantity=quantity,
                limit_price=limit_price,
                stop_price=stop_price,
            )
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
            if kind == OrderType.STOP.value:
                stop_price = price if stop_price is None else stop_price
            else:
                limit_price = price if limit_price is None else limit_price
        return await self.modify(order, quantity=quantity, limit_price=limit_price, stop_price=stop_price)

    async def cancel(self, order: OrderLike, *, timeout: float | None = None) -> OrderSnapshot:
        """Cancel and wait for the end: Cancelled (partly filled, perhaps) or Filled. Raises CancelInDoubt."""
        return await self._thread.run(self._manager.cancel(self._manager.resolve_order(_key(order)), timeout))

    async def cancel_all(self, scope: str = "own", *, timeout: float | None = None) -> list[OrderSnapshot]:
        """Cancel `own` orders, all of this `client` id, or the whole `account`'s (others' and manual ones too)."""
        if scope not in _SCOPES:
            raise InvalidRequest(
                f"scope={scope!r} is not known. Legal: {', '.join(_SCOPES)}.", field="scope", legal=", ".join(_SCOPES)
            )
        return await self._thread.run(self._manager.cancel_all(scope, timeout))

    # --- looking up ------------------------------------------------------------------------------------------------

    async def get(self, order: OrderLike) -> Order:
        """The order by handle, ref or id. Raises `OrderNotFound`."""
        live = self._manager.resolve_order(_key(order))
        return Order(live, self._manager, self._thread)

    async def open(self, *, refresh: bool = False) -> list[OrderSnapshot]:
        """Orders of the account that can still fill, other programs' too (`ours` tells them apart)."""
        if refresh:
            await self._thread.run(self._manager.refresh_open())
        return self._manager.open_orders()

    async def completed(self) -> list[OrderSnapshot]:
        """Orders of the broker's day that ended."""
        return await self._thread.run(self._manager.completed_orders())

    def in_doubt(self) -> list[OrderSnapshot]:
        """Orders that may or may not be at the broker. Nothing else is."""
        return self._manager.in_doubt()

    async def resolve(self, order: OrderLike, state: OrderState | str, evidence: str) -> OrderSnapshot:
        """An operator's word on an order in doubt (`filled`, `cancelled`, `not_sent` …); the audit keeps it."""
        try:
            end = OrderState(state)
        except ValueError:
            legal = ", ".join(one.value for one in OrderState if one.is_done)
            raise InvalidRequest(
                f"as_={state!r} is no state. Legal: {legal}.", field="as_", value=repr(state), legal=legal
            ) from None
        return await self._thread.run(
            self._manager.resolve_doubt(self._manager.resolve_order(_key(order)), end, evidence)
        )


def _order_type(value: OrderType | str) -> OrderType:
    text = str(value).strip().upper().replace("_", " ")
    names = {"MARKET": "MKT", "LIMIT": "LMT", "STOP": "STP", "STOP LIMIT": "STP LMT", "TRAILING STOP": "TRAIL"}
    try:
        return OrderType(names.get(text, text))
    except ValueError:
        legal = ", ".join(kind.value for kind in OrderType)
        raise OrderValidationError(
            f"order_type={value!r} is not supported. Legal: {legal}.",
            field="order_type",
            value=repr(value),
            legal=legal,
        ) from None


def _action(value: str) -> Action:
    try:
        return Action(str(value).strip().upper())
    except ValueError:
        raise OrderValidationError(
            f"action={value!r} is not possible. Legal: BUY, SELL.", field="action", value=repr(value), legal="BUY, SELL"
        ) from None


def _key(order: OrderLike) -> str | int:
    if isinstance(order, Order):
        return order.ref
    given: object = order
    if isinstance(given, bool) or not isinstance(given, str | int) or given in ("", 0):
        raise InvalidRequest(
            f"order={order!r} does not name an order.", field="order", legal="an Order, an order ref, or an order id"
        )
    return order


def _exit_price(given: Number | None, entry: Decimal | None, distance: float, field: str) -> Decimal:
    if given is not None:
        return to_decimal(given, field)
    if entry is None:
        raise OrderValidationError(
            f"{field} is needed when there is no entry_price to measure from.", field=field, legal="a price > 0"
        )
    return entry * (1 + to_decimal(distance, field))


def _round_to(price: Decimal, tick: Decimal) -> Decimal:
    return (price / tick).quantize(Decimal(1)) * tick if tick > 0 else price
