"""Orders as callers describe them, made into requests: one order, the legs of a bracket, of an OCA group. Pure.

Raised throughout: OrderValidationError and InvalidRequest, before anything is sent, with the field and what is legal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ibkr_connector.api.defaults import MARKET, Default
from ibkr_connector.api.order_arguments import (
    Number,
    action_of,
    bracket_ref,
    exit_price,
    order_type_of,
    request_of,
    round_to,
    twice,
)
from ibkr_connector.errors import OrderValidationError, TradingError
from ibkr_connector.models.arguments import shown, wrong
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import (
    BracketRequest,
    OrderRequest,
    OrderType,
    new_order_ref,
    to_decimal,
)
from ibkr_connector.symbols import parse_symbol

_SAID_BY_A_BRACKET = frozenset(
    {"contract", "order_type", "limit_price", "stop_price", "trail_amount", "trail_percent", "price"}
)
_MOST_LEGS = 20
"""IBKR allows 15 to 20 working orders per side and contract."""
_NEEDED = {"symbol": "a symbol or a Contract", "action": "BUY, SELL"}


def request(
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
    return request(symbol, quantity, action, kind, **options)


def typed(
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
    return request(symbol, quantity, action, kind, **prices, **options)


def bracket_legs(
    symbol: str | Contract,
    quantity: Number,
    action: str,
    *,
    entry_price: Number | None,
    take_profit_price: Number | None,
    stop_loss_price: Number | None,
    stop_loss_pct: float,
    take_profit_pct: float,
    order_ref: str | None,
    options: dict[str, Any],
) -> tuple[Contract, Callable[[Decimal], BracketRequest]]:
    """The contract of a bracket, and what makes its legs once the contract's tick is known (0: nothing is rounded)."""
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
    mine = {name: value for name, value in options.items() if name != "exit_tif"}
    kind = OrderType.MARKET if entry is None else OrderType.LIMIT

    def legs(tick: Decimal) -> BracketRequest:
        away = side.opposite.value
        limit = target if take_profit_price is not None else round_to(target, tick)
        trigger = stop if stop_loss_price is not None else round_to(stop, tick)
        return BracketRequest(
            entry=request(contract, quantity, side.value, kind, limit_price=entry, order_ref=ref, **mine),
            take_profit=request(
                contract, quantity, away, OrderType.LIMIT, limit_price=limit, order_ref=f"{ref}.tp", **exits
            ),
            stop_loss=request(
                contract, quantity, away, OrderType.STOP, stop_price=trigger, order_ref=f"{ref}.sl", **exits
            ),
        )

    legs(Decimal(0))  # what is wrong with them is said before anything is asked of the broker
    return contract, legs


def oca_legs(orders: Sequence[OrderRequest | Mapping[str, Any]]) -> list[OrderRequest]:
    """The orders of an OCA group; an error names the one it is about."""
    given: object = orders
    if not isinstance(given, list | tuple) or len(given) > _MOST_LEGS:
        raise wrong("orders", orders, f"a list of 2 to {_MOST_LEGS} orders", kind=OrderValidationError)
    legs = []
    for number, order in enumerate(given):
        place = f"orders[{number}]"
        try:
            legs.append(request_of(_build_leg(order, place), place))
        except TradingError as error:
            field = str(error.context.get("field", place))
            context = {**error.context, "field": field if field.startswith(place) else f"{place}.{field}"}
            raise type(error)(f"{place}: {error.message}", remedy=error.remedy, **context) from None
    return legs


def _build_leg(order: object, place: str) -> OrderRequest:
    if isinstance(order, OrderRequest):
        return order
    if not isinstance(order, Mapping) or not all(isinstance(key, str) for key in order):
        legal = "an OrderRequest, or a mapping with the arguments of place_order"
        raise wrong(place, order, legal, kind=OrderValidationError)
    options: dict[str, Any] = {"quantity": None, "order_type": MARKET, "price": None, **order}
    for name in ("symbol", "action"):  # no side is the usual one here
        if options.get(name) is None:
            raise OrderValidationError(f"{name} is needed.", field=name, value="None", legal=_NEEDED[name])
    return build(
        options.pop("symbol"),
        options.pop("quantity"),
        options.pop("order_type"),
        options.pop("action"),
        options.pop("price"),
        **options,
    )
