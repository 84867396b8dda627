"""From what was asked to what goes on the wire."""

from __future__ import annotations

from ibkr_connector.backends.base import WireOrder
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import OcaType
from ibkr_connector.orders.changes import OrderTerms
from ibkr_connector.orders.record import OrderRecord


def wire_order(
    terms: OrderTerms,
    *,
    contract: Contract,
    order_id: int,
    account: str,
    order_ref: str,
    parent_id: int = 0,
    transmit: bool = True,
    what_if: bool = False,
) -> WireOrder:
    """`terms` as they are sent under `order_id`; `contract` is the qualified one."""
    return WireOrder(
        order_id=order_id,
        contract=contract,
        action=terms.action.value,
        quantity=terms.quantity,
        order_type=terms.order_type,
        limit_price=terms.limit_price,
        stop_price=terms.stop_price,
        trail_amount=terms.trail_amount,
        trail_percent=terms.trail_percent,
        tif=terms.tif,
        good_till=terms.good_till,
        outside_rth=terms.outside_rth,
        account=account,
        order_ref=order_ref,
        parent_id=parent_id,
        oca_group=terms.oca_group,
        oca_type=(terms.oca_type or OcaType.REDUCE_WITHOUT_BLOCK.value) if terms.oca_group else 0,
        transmit=transmit,
        what_if=what_if,
    )


def wire_of(record: OrderRecord, *, parent_id: int = 0) -> WireOrder:
    """The version in force of an order that was sent."""
    return wire_order(
        record.terms,
        contract=record.terms.contract,
        order_id=record.order_id,
        account=record.account,
        order_ref=record.ref,
        parent_id=parent_id,
    )
