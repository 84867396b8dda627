"""Our orders as the bodies of the Web API, and previews back. Pure; what cannot be said there is refused here."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ibkr_connector.backends.base import WhatIf, WireOrder
from ibkr_connector.backends.web.convert import decimal, text
from ibkr_connector.errors import NotSupportedByBackend, OrderValidationError

TIMES_IN_FORCE = frozenset({"DAY", "GTC", "IOC"})
"""Documented for orders of the Web API, of those that we know."""
OCA_TYPE = 1
"""Cancel with block: what `isSingleGroup` means."""
_KINDS = {"MKT": "MKT", "LMT": "LMT", "STP": "STP", "STP LMT": "STOP_LIMIT", "TRAIL": "TRAIL"}


def order_body(
    order: WireOrder, *, parent_ref: str = "", grouped: bool = False, change: bool = False
) -> dict[str, Any]:
    """One order. `parent_ref` names the entry of a bracket, `grouped` joins all of the request to one OCA group.

    Raises:
        NotSupportedByBackend: its time in force or type has no word there.
        OrderValidationError: the contract has no conid.
    """
    if order.tif not in TIMES_IN_FORCE:
        raise NotSupportedByBackend(
            f"time in force {order.tif} cannot be said over the Web API.",
            remedy="Use DAY, GTC or IOC (and no order_ttl, which needs GTD), or connect with backend = tws.",
            order_ref=order.order_ref,
        )
    kind = _KINDS.get(order.order_type)
    if kind is None:
        raise NotSupportedByBackend(
            f"order type {order.order_type} is not supported over the Web API.", order_ref=order.order_ref
        )
    if order.oca_group and order.oca_type != OCA_TYPE:
        raise NotSupportedByBackend(
            f"oca_type {order.oca_type} cannot be said over the Web API, whose groups cancel with block.",
            remedy=f"Use oca_type={OCA_TYPE}, or connect with backend = tws.",
            order_ref=order.order_ref,
        )
    if not order.contract.con_id:
        raise OrderValidationError(
            "the contract has no con_id, which the Web API needs.", field="contract", value=order.contract.symbol
        )
    body: dict[str, Any] = {
        "acctId": order.account,
        "conid": order.contract.con_id,
        "orderType": kind,
        "side": order.action,
        "tif": order.tif,
        "quantity": number(order.quantity),
        "outsideRTH": order.outside_rth,
    }
    if not change:
        body["cOID"] = order.order_ref
    body |= _prices(order)
    if parent_ref:
        body["parentId"] = parent_ref
    if grouped:
        body["isSingleGroup"] = True
    return body


def _prices(order: WireOrder) -> dict[str, Any]:
    if order.order_type == "LMT":
        return {"price": number(order.limit_price)}
    if order.order_type == "STP":
        return {"price": number(order.stop_price)}
    if order.order_type == "STP LMT":
        return {"price": number(order.limit_price), "auxPrice": number(order.stop_price)}
    if order.order_type == "TRAIL":
        by_percent = order.trail_percent is not None
        found: dict[str, Any] = {
            "trailingAmt": number(order.trail_percent if by_percent else order.trail_amount),
            "trailingType": "%" if by_percent else "amt",
        }
        if order.stop_price is not None:
            found["price"] = number(order.stop_price)
        return found
    return {}


def number(value: Decimal | None) -> float | int | None:
    """A Decimal as JSON writes it: shortest decimal text that means the same number."""
    if value is None:
        return None
    return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else float(value)


def what_if_of(body: Any) -> WhatIf:
    """The answer to a preview: texts with commas, and a currency behind the commission."""
    told = body if isinstance(body, dict) else {}
    amount = _part(told, "amount")
    fee, _, currency = text(amount.get("commission")).partition(" ")
    initial, maintenance, equity = _part(told, "initial"), _part(told, "maintenance"), _part(told, "equity")
    return WhatIf(
        init_margin_before=decimal(initial.get("current")),
        init_margin_after=decimal(initial.get("after")),
        init_margin_change=decimal(initial.get("change")),
        maint_margin_before=decimal(maintenance.get("current")),
        maint_margin_after=decimal(maintenance.get("after")),
        maint_margin_change=decimal(maintenance.get("change")),
        equity_before=decimal(equity.get("current")),
        equity_after=decimal(equity.get("after")),
        commission=decimal(fee),
        commission_currency=currency.strip(),
        warning=text(told.get("warn")),
    )


def _part(told: dict[str, Any], name: str) -> dict[str, Any]:
    part = told.get(name)
    return part if isinstance(part, dict) else {}
