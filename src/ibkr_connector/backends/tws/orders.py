"""Our orders and contracts as the library's objects, ready for its encoder.

Numbers are given to the encoder as text: it writes text as it is, and would write the float 0.00001 as `1e-05`. Text
that would break the message (its fields end with NUL) or that TWS refuses (all but printable ASCII) is refused here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ibkr_connector.backends.base import WireOrder
from ibkr_connector.backends.tws.library import TwsLibrary
from ibkr_connector.errors import InvalidRequest, OrderValidationError
from ibkr_connector.models.contract import Contract

_AUX_IS_STOP = frozenset({"STP", "STP LMT"})


def plain(number: Decimal) -> str:
    """A Decimal without exponent: `0.00001`, `100`."""
    return format(number, "f")


def utc_text(moment: datetime) -> str:
    """A moment as TWS takes it without a zone's name: `20260407-15:30:00`; the dash says UTC (text of error 10314)."""
    return moment.astimezone(UTC).strftime("%Y%m%d-%H:%M:%S")


def is_plain_text(text: str) -> bool:
    """Whether TWS takes `text` in a field: printable ASCII."""
    return text.isascii() and (not text or text.isprintable())


def library_contract(library: TwsLibrary, contract: Contract, *, include_expired: bool = False) -> Any:
    """A contract for the encoder.

    Raises:
        InvalidRequest: a field holds what cannot go on the wire.
    """
    texts = {
        "symbol": contract.symbol,
        "secType": contract.sec_type,
        "lastTradeDateOrContractMonth": contract.expiry,
        "right": contract.right,
        "multiplier": contract.multiplier,
        "exchange": contract.exchange,
        "primaryExchange": contract.primary_exchange,
        "currency": contract.currency,
        "localSymbol": contract.local_symbol,
        "tradingClass": contract.trading_class,
    }
    for field, text in texts.items():
        if not is_plain_text(text):
            raise InvalidRequest(
                f"the contract's {field} {text!r} is not printable ASCII.", field=field, value=text, legal="ASCII text"
            )
    made = library.contract(conId=contract.con_id, includeExpired=include_expired, **texts)
    made.strike = plain(Decimal(repr(float(contract.strike))))
    return made


def library_order(library: TwsLibrary, order: WireOrder) -> Any:
    """An order for the encoder.

    Raises:
        OrderValidationError: a field holds what cannot go on the wire; nothing was sent.
    """
    _check(order)
    made = library.order(
        orderId=order.order_id,
        action=order.action,
        totalQuantity=plain(order.quantity),
        orderType=order.order_type,
        tif=order.tif,
        outsideRth=order.outside_rth,
        account=order.account,
        orderRef=order.order_ref,
        parentId=order.parent_id,
        ocaGroup=order.oca_group,
        ocaType=order.oca_type,
        transmit=order.transmit,
        whatIf=order.what_if,
    )
    # Fields left alone keep the library's "not set", which the encoder writes as an empty field.
    if order.limit_price is not None:
        made.lmtPrice = plain(order.limit_price)
    if order.order_type in _AUX_IS_STOP:
        if order.stop_price is not None:
            made.auxPrice = plain(order.stop_price)
    else:
        if order.trail_amount is not None:
            made.auxPrice = plain(order.trail_amount)
        if order.trail_percent is not None:
            made.trailingPercent = plain(order.trail_percent)
        if order.stop_price is not None:
            made.trailStopPrice = plain(order.stop_price)
    if order.good_till is not None:
        made.goodTillDate = utc_text(order.good_till)
    return made


def _check(order: WireOrder) -> None:
    texts = {
        "action": order.action,
        "order_type": order.order_type,
        "tif": order.tif,
        "account": order.account,
        "order_ref": order.order_ref,
        "oca_group": order.oca_group,
    }
    for field, text in texts.items():
        if not is_plain_text(text):
            raise OrderValidationError(
                f"{field}={text!r} is not printable ASCII.", field=field, value=text, legal="printable ASCII"
            )
    numbers = {
        "quantity": order.quantity,
        "limit_price": order.limit_price,
        "stop_price": order.stop_price,
        "trail_amount": order.trail_amount,
        "trail_percent": order.trail_percent,
    }
    for field, number in numbers.items():
        if number is not None and not number.is_finite():
            raise OrderValidationError(
                f"{field}={number} is not finite.", field=field, value=str(number), legal="a number"
            )
    if order.good_till is not None and order.good_till.tzinfo is None:
        raise OrderValidationError(
            "good_till has no time zone.", field="good_till", value=str(order.good_till), legal="an aware datetime"
        )
