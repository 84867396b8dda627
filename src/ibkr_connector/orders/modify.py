"""When a working order may be changed, and into what. Pure.

A change is the same message as a new order with the same id: sent for an order the broker does not hold under that id
in this connection, it makes a second order (a real incident: a change sent during an outage became one, and filled six
hours later). So only what this connection has seen echoed, with our ref and its permId and nothing else unanswered, may
be changed, and the new version starts from the broker's last echo.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from ibkr_connector.errors import ModifyNotPossible, OrderValidationError
from ibkr_connector.models.order import OrderRequest, OrderType, to_decimal
from ibkr_connector.orders.changes import OrderTerms
from ibkr_connector.orders.drift import PRICES_OF_TYPE
from ibkr_connector.orders.evolve import LIVE_STATUSES
from ibkr_connector.orders.record import OrderRecord

_UNSEEN = "the broker has not shown it with its ref in this connection"
_PRICE_FIELDS = ("limit_price", "stop_price", "trail_amount", "trail_percent")


def check_modify(record: OrderRecord, epoch: int, *, link_up: bool = True) -> OrderTerms:
    """The version a change starts from: the broker's last echo. Raises: ModifyNotPossible, saying why."""
    known, echo = record.terms, record.echo
    why = _obstacle(record, epoch, link_up=link_up)
    if why or echo is None:
        msg = f"Order {record.ref} cannot be changed: {why or 'the broker has not shown it'}."
        raise ModifyNotPossible(msg, order_ref=record.ref, state=record.state.value)
    meaningful = PRICES_OF_TYPE[echo.order_type]
    prices = {field: getattr(echo if field in meaningful else known, field) for field in _PRICE_FIELDS}
    # What the broker does not repeat, or makes up by itself (a bracket's OCA group), stays as we asked for it.
    return replace(
        echo,
        contract=known.contract,
        good_till=known.good_till,
        oca_group=known.oca_group,
        oca_type=known.oca_type,
        **prices,
    )


def changed(
    record: OrderRecord,
    epoch: int,
    *,
    quantity: float | Decimal | None = None,
    limit_price: float | Decimal | None = None,
    stop_price: float | Decimal | None = None,
    trail_amount: float | Decimal | None = None,
    trail_percent: float | Decimal | None = None,
    link_up: bool = True,
) -> OrderTerms:
    """The new version of an order with the given fields changed (None = as it is).

    Raises: ModifyNotPossible; OrderValidationError for a value that is wrong, has no meaning for the order's type, lies
    below what is filled, or changes nothing.
    """
    base = check_modify(record, epoch, link_up=link_up)
    wanted: dict[str, Decimal] = {
        field: to_decimal(value, field)
        for field, value in (
            ("quantity", quantity),
            ("limit_price", limit_price),
            ("stop_price", stop_price),
            ("trail_amount", trail_amount),
            ("trail_percent", trail_percent),
        )
        if value is not None
    }
    fields: dict[str, Any] = dict(wanted)
    new = replace(base, **fields)
    _validate(record, new)
    if new.quantity <= record.filled:
        msg = f"quantity={new.quantity} is not more than what is filled ({record.filled}): cancel the rest instead."
        raise OrderValidationError(
            msg, field="quantity", value=str(new.quantity), legal=f"> {record.filled}", order_ref=record.ref
        )
    if new == base:
        msg = f"The change of order {record.ref} changes nothing."
        raise OrderValidationError(msg, field="quantity", legal="at least one new value", order_ref=record.ref)
    return new


def is_unseen(record: OrderRecord, epoch: int, *, link_up: bool = True) -> bool:
    """Whether nothing stands in the way of a change but that the broker has not shown the order yet.

    Over the Web API that is so for a moment after it was taken: the answer to the request tells its number alone, and
    the order itself comes over the websocket.
    """
    return _obstacle(record, epoch, link_up=link_up) == _UNSEEN


def _obstacle(record: OrderRecord, epoch: int, *, link_up: bool) -> str:
    checks = (
        (not record.ours, "it is not this connector's order"),
        (record.ended is not None, f"it has ended ({record.state.value})"),
        (bool(record.doubts), "something about it is in doubt"),
        (bool(record.outstanding), f"unanswered: {', '.join(sorted(record.outstanding))}"),
        (record.is_forked, "the broker holds several orders under its ref"),
        (not link_up, "the link between the gateway and the broker is down"),
        (record.perm_id == 0, "the broker has not told its permId"),
        (record.echoed_epoch != epoch, _UNSEEN),
        (record.broker_status not in LIVE_STATUSES, f"the broker's status is {record.broker_status or 'unknown'}"),
        (
            record.echo is not None and record.echo.order_type not in PRICES_OF_TYPE,
            f"its type is {record.echo.order_type if record.echo else ''}",
        ),
    )
    return next((why for stands, why in checks if stands), "")


def _validate(record: OrderRecord, terms: OrderTerms) -> None:
    """The rules for a new order hold for a changed one."""
    OrderRequest.make(
        contract=terms.contract,
        action=terms.action,
        quantity=terms.quantity,
        order_type=OrderType(terms.order_type),
        limit_price=terms.limit_price,
        stop_price=terms.stop_price,
        trail_amount=terms.trail_amount,
        trail_percent=terms.trail_percent,
        order_ref=record.ref,
    )
