"""What whoever places orders is told when one was refused, never arrived, or nobody knows."""

from __future__ import annotations

from collections.abc import Sequence

from ibkr_connector.backends.base import Backend
from ibkr_connector.errors import GroupIncomplete, OrderInDoubt, OrderNotSent
from ibkr_connector.models.order import OrderState
from ibkr_connector.orders.groups import has_filled, refused_alone
from ibkr_connector.orders.live import LiveOrder
from ibkr_connector.orders.record import OrderRecord

_USED_REF = "Nothing is at the broker; a new try needs a new order_ref, because this one was written once."


def in_doubt(live: LiveOrder) -> OrderInDoubt:
    """The error for an order of which nobody knows whether it arrived."""
    return OrderInDoubt(f"order {live.ref} may or may not be at the broker: {live.record.why}.", order_ref=live.ref)


def raise_if_refused(lives: Sequence[LiveOrder], backend: Backend, *, oca: str = "") -> None:
    """Raise the typed error of orders that the broker refused, or that never reached it.

    `oca`: of a group of which a part works on nobody is told "rejected" or "not sent", and places it again.
    """
    if oca:
        records = [live.record for live in lives]
        if any(has_filled(record) or record.state is OrderState.IN_DOUBT for record in records):
            return  # it has done its work, or that is told first
        missing = refused_alone(records)
        if missing:
            raise _incomplete(oca, records, missing[0])
    for live in lives:
        ended = live.record.ended
        if ended is None or ended.state not in (OrderState.REJECTED, OrderState.NOT_SENT):
            continue
        text = f"order {live.ref}: {ended.why or 'refused without a reason'}"
        if ended.state is OrderState.NOT_SENT:
            raise OrderNotSent(text, remedy=None if ended.reusable else _USED_REF, order_ref=live.ref)
        raise backend.refusal(ended.code, text, order_ref=live.ref)


def _incomplete(group: str, records: Sequence[OrderRecord], missing: OrderRecord) -> GroupIncomplete:
    states = {record.ref: record.state.value for record in records}
    told = ", ".join(f"{ref} is {state}" for ref, state in states.items())
    return GroupIncomplete(
        f"order {missing.ref} of the OCA group {group} does not work: {missing.why or 'no reason was given'} ({told}).",
        order_ref=missing.ref,
        group=group,
        orders=states,
        why=missing.why,
    )
