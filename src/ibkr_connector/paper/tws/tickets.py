"""From a decoded placeOrder to the exchange's `OrderTicket`: typed fields by name, everything else in `extras`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from ..exchange.types import OrderTicket
from ..instruments import Instrument
from .place_order import NO_DELTA_NEUTRAL, PlaceOrder

_TYPED: Final = frozenset(
    {
        "action", "total_quantity", "order_type", "limit_price", "aux_price", "trailing_percent", "trail_stop_price",
        "tif", "good_till_date", "outside_rth", "oca_group", "oca_type", "parent_id", "transmit", "order_ref",
        "account", "what_if", "all_or_none", "hidden",
    }
)  # fmt: skip
"""Fields that have a place of their own in the ticket."""

_WITHOUT_LIMIT: Final = frozenset({"MKT", "STP", "TRAIL", "MOC", "MIT", "MTL"})
_WITHOUT_AUX: Final = frozenset({"MKT", "LMT", "MOC", "LOC", "MTL"})

_ALIASES: Final = {
    "LIMIT": "LMT", "MARKET": "MKT", "STOP": "STP", "STPLMT": "STP LMT", "STOP LIMIT": "STP LMT", "MKT CLS": "MOC",
    "LMT CLS": "LOC", "MKT TO LMT": "MTL", "RELATIVE": "REL", "PEG PRIM": "REL", "PEGMKT": "PEG MKT",
    "PEGMID": "PEG MID", "TRAILING STOP": "TRAIL", "TRAILLMT": "TRAIL LIMIT", "TRAILLIMIT": "TRAIL LIMIT",
}  # fmt: skip
"""Other names a gateway takes for an order type."""

_ZERO: Final = Decimal(0)


def make_ticket(order: PlaceOrder, instrument: Instrument, client_id: int, account: str) -> OrderTicket:
    """The ticket for an order in an instrument. Prices an order type does not use are left out: clients modify orders
    with everything a gateway echoed, zeros included.
    """
    values = order.values
    kind = values["order_type"].upper()
    kind = _ALIASES.get(kind, kind)
    return OrderTicket(
        client_id=client_id,
        order_id=order.order_id,
        instrument=instrument,
        account=account,
        action=_action(values["action"]),
        quantity=order.decimal("total_quantity") or _ZERO,
        order_type=kind,
        limit_price=None if kind in _WITHOUT_LIMIT else order.decimal("limit_price"),
        aux_price=_aux_price(order, kind),
        trailing_percent=_nonzero(order.decimal("trailing_percent")),
        trail_stop_price=order.decimal("trail_stop_price") if kind.startswith("TRAIL") else None,
        tif=values["tif"].upper() or "DAY",
        good_till=values["good_till_date"],
        outside_rth=order.flag("outside_rth"),
        oca_group=values["oca_group"],
        oca_type=order.integer("oca_type"),
        parent_id=order.integer("parent_id"),
        transmit=order.flag("transmit"),
        order_ref=values["order_ref"],
        exchange=order.contract.exchange or instrument.exchange,
        what_if=order.flag("what_if"),
        all_or_none=order.flag("all_or_none"),
        hidden=order.flag("hidden"),
        extras=_extras(order),
    )


def unsupported(order: PlaceOrder) -> str | None:
    """What the order asks for that this gateway's exchange cannot hold, or None. Taking it and ignoring that part
    would be worse than refusing.
    """
    values = order.values
    if order.conditions:
        return "Order conditions are not supported by this gateway."
    if values["algo_strategy"]:
        return f"Algo {values['algo_strategy']} is not supported by this gateway."
    if values["hedge_type"]:
        return "Hedging orders are not supported by this gateway."
    if (order.decimal("scale_price_increment") or _ZERO) > 0:
        return "Scale orders are not supported by this gateway."
    if values["adjusted_order_type"] not in NO_DELTA_NEUTRAL:
        return "Adjustable stops are not supported by this gateway."
    if values["good_after_time"]:
        return "Good after time is not supported by this gateway."
    return None


def _action(text: str) -> str:
    action = text.upper()
    return "SELL" if action in {"SSHORT", "SSHORTX"} else action


def _nonzero(value: Decimal | None) -> Decimal | None:
    return value or None


def _aux_price(order: PlaceOrder, kind: str) -> Decimal | None:
    value = order.decimal("aux_price")
    if kind in _WITHOUT_AUX:
        return None
    # The echo of a trailing stop by percentage carries a zero amount.
    return _nonzero(value) if kind.startswith("TRAIL") else value


def _extras(order: PlaceOrder) -> dict[str, str]:
    extras = {name: text for name, text in order.values.items() if name not in _TYPED and text}
    for name in ("delta_neutral_order_type", "adjusted_order_type"):
        if extras.get(name) in NO_DELTA_NEUTRAL:
            extras.pop(name, None)
    if order.algo_params:
        extras["algo_params"] = _segment(order.algo_params)
    if order.conditions:
        extras["conditions"] = _segment(order.conditions)
    if order.delta_neutral:
        extras["delta_neutral_contract"] = "\0".join(("1", *order.delta_neutral))
    if order.legs:
        extras["combo_legs"] = _segment(
            [
                (
                    str(leg.con_id),
                    str(leg.ratio),
                    leg.action,
                    leg.exchange,
                    leg.open_close,
                    leg.short_sale_slot,
                    leg.designated_location,
                    leg.exempt_code,
                )
                for leg in order.legs
            ]
        )
        extras["leg_prices"] = _segment([(price,) for price in order.leg_prices])
        extras["smart_routing"] = _segment(order.routing)
    return extras


def _segment(rows: Sequence[Sequence[str]]) -> str:
    """A counted list as its wire fields, joined by NUL."""
    return "\0".join([str(len(rows)), *(text for row in rows for text in row)])
