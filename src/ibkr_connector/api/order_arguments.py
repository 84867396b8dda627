"""What callers hand to `connector.orders`, checked at the door and taken as it is used inside."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

from ibkr_connector.errors import OrderValidationError
from ibkr_connector.models.arguments import shown, to_decimal, wrong
from ibkr_connector.models.order import Action, OcaType, OrderRequest, OrderType
from ibkr_connector.orders.handle import Order
from ibkr_connector.symbols import parse_symbol

Number: TypeAlias = float | Decimal
OrderLike: TypeAlias = Order | str | int
"""An `Order`, an order ref, or an order id of this connector's client id."""

_FARTHEST_EXIT = 100
_LONGEST_BRACKET_REF = 37
_HIGHEST_ID = 2**63
_LONGEST_REF = 256
"""Other programs' refs are not bound to our 40 characters."""


def order_type_of(value: OrderType | str) -> OrderType:
    """An order type by IBKR's word or ours."""
    given: object = value
    text = given.strip().upper().replace("_", " ") if isinstance(given, str) else ""
    names = {"MARKET": "MKT", "LIMIT": "LMT", "STOP": "STP", "STOP LIMIT": "STP LMT", "TRAILING STOP": "TRAIL"}
    try:
        return OrderType(names.get(text, text))
    except ValueError:
        legal = ", ".join(kind.value for kind in OrderType)
        raise wrong("order_type", value, legal, why="is not supported", kind=OrderValidationError) from None


def oca_type_of(value: OcaType | int) -> OcaType:
    """An OCA type by IBKR's number."""
    given: object = value
    if isinstance(given, int) and not isinstance(given, bool) and given in set(OcaType):
        return OcaType(given)
    legal = "1 (cancel with block), 2 (reduce with block), 3 (reduce without block)"
    raise wrong("oca_type", value, legal, kind=OrderValidationError)


def action_of(value: str) -> Action:
    """A side."""
    given: object = value
    try:
        return Action(given.strip().upper() if isinstance(given, str) else "")
    except ValueError:
        raise wrong("action", value, "BUY, SELL", kind=OrderValidationError) from None


def request_of(request: OrderRequest, field: str) -> OrderRequest:
    """A request that was built elsewhere, if it is one, and by the rules for a new order."""
    given: object = request
    if not isinstance(given, OrderRequest):
        raise wrong(field, request, "an OrderRequest (OrderRequest.make, or orders.request)", kind=OrderValidationError)
    parse_symbol(given.contract)
    return given


def twice(one: str, other: str, value: object) -> OrderValidationError:
    """The error for one thing said in two ways."""
    names = one if one == other else f"{one} and {other}"
    return OrderValidationError(
        f"{names} cannot both be said ({other}={shown(value)}): they mean the same.",
        field=other,
        value=shown(value),
        legal=f"{names}, once",
        fields=list(dict.fromkeys([one, other])),
    )


def key_of(order: OrderLike) -> str | int:
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


def bracket_ref(ref: str) -> str:
    """A name for a bracket, short enough for its exits' names."""
    given: object = ref
    if not isinstance(given, str) or not 0 < len(given) <= _LONGEST_BRACKET_REF:
        legal = f"1 to {_LONGEST_BRACKET_REF} characters: its exits add .tp and .sl"
        raise wrong("order_ref", ref, legal, kind=OrderValidationError)
    return given


def exit_price(given: Number | None, entry: Decimal | None, fraction: float, sign: int, name: str) -> Decimal:
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


def round_to(price: Decimal, tick: Decimal) -> Decimal:
    """The nearest price the contract can have; `tick` 0 = any."""
    return (price / tick).quantize(Decimal(1)) * tick if tick > 0 else price
