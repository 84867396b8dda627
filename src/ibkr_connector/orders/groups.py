"""Orders that share one fate: a bracket (entry, target, stop) and an OCA group (one cancels all). Pure.

A group is checked and reserved as one, committed once and written back to back. Only the last frame of a bracket
transmits: TWS holds a child until then and sends parent and children together. The orders of an OCA group have no
parent, so each transmits by itself (an untransmitted order without a parent would stay in TWS for ever): the broker may
hold some of a group when the writing of the next fails, and `refused_alone` says when that is trouble.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ibkr_connector.errors import OrderValidationError
from ibkr_connector.models.order import BracketRequest, OcaType, OrderRequest, OrderState
from ibkr_connector.orders.record import OrderRecord

_BEATEN = "oca group is already filled"
"""In IBKR's text of the rejection of an order that came after another of its group had filled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLeg:
    """One order on its way, alone or of a group."""

    request: OrderRequest
    group: str = ""
    """The entry's ref for a bracket, the group's name for OCA; empty for an order alone."""
    parent_ref: str = ""
    transmit: bool = True

    @property
    def oca(self) -> str:
        """The name of the OCA group that it is placed with; else empty."""
        return self.group if self.group == self.request.oca_group and self.group != self.request.order_ref else ""


def plan_bracket(bracket: BracketRequest) -> tuple[GroupLeg, ...]:
    """Entry, target and stop as one group named after the entry, as they are sent. Raises: OrderValidationError."""
    entry = bracket.entry
    for name, leg in (("take_profit", bracket.take_profit), ("stop_loss", bracket.stop_loss)):
        for field in ("contract", "quantity", "account"):
            theirs, ours = getattr(leg, field), getattr(entry, field)
            if theirs != ours:
                msg = f"the {name} of a bracket has another {field} than its entry ({theirs} instead of {ours})."
                raise OrderValidationError(msg, field=field, value=str(theirs), legal=str(ours))
        if leg.oca_group is not None:
            msg = f"the {name} of a bracket cannot be in an OCA group: IBKR groups a bracket's exits itself."
            raise OrderValidationError(msg, field="oca_group", value=leg.oca_group, legal="none for a bracket's exits")
    _distinct(bracket.legs)
    parent = entry.order_ref
    return (
        GroupLeg(request=entry, group=parent, transmit=False),
        GroupLeg(request=bracket.take_profit, group=parent, parent_ref=parent, transmit=False),
        GroupLeg(request=bracket.stop_loss, group=parent, parent_ref=parent, transmit=True),
    )


def plan_oca(requests: Sequence[OrderRequest], group: str | None, oca_type: OcaType) -> tuple[GroupLeg, ...]:
    """Orders of which a fill cancels or reduces the others, as they are sent. Raises: OrderValidationError.

    Without a name the group is called after its first order: the same orders again are then the same group.
    """
    if len(requests) < 2:
        msg = f"an OCA group needs at least two orders, not {len(requests)}."
        raise OrderValidationError(msg, field="orders", value=str(len(requests)), legal="two orders or more")
    _distinct(requests)
    if len({request.account for request in requests}) > 1:
        accounts = ", ".join(str(request.account or "(the connected one)") for request in requests)
        msg = f"the orders of an OCA group must be for one account, not {accounts}."
        raise OrderValidationError(msg, field="account", value=accounts, legal="one account for all")
    name = group or f"{requests[0].order_ref}.oca"
    if name in {request.order_ref for request in requests}:
        msg = f"group={name!r} is the order_ref of one of its orders."
        raise OrderValidationError(msg, field="group", value=name, legal="a name that no order has")
    for request in requests:
        for field, theirs, ours in (
            ("oca_group", request.oca_group, name),
            ("oca_type", request.oca_type, oca_type),
        ):
            if theirs is not None and theirs != ours:
                msg = f"order {request.order_ref} says {field}={theirs!s}, and its group {ours!s}."
                raise OrderValidationError(msg, field=field, value=str(theirs), legal=f"{ours!s}, or nothing")
    update = {"oca_group": name, "oca_type": oca_type}
    return tuple(GroupLeg(request=request.model_copy(update=update), group=name) for request in requests)


def refused_alone(records: Sequence[OrderRecord]) -> list[OrderRecord]:
    """The orders of an OCA group that never worked while others of it do: nobody asked for such a group.

    None when a fill came first: then the group has done its work, and IBKR refuses those that come later. None either
    when nothing of it is left.
    """
    if any(has_filled(record) for record in records) or all(record.is_done for record in records):
        return []
    return [record for record in records if record.state in (OrderState.REJECTED, OrderState.NOT_SENT)]


def has_filled(record: OrderRecord) -> bool:
    """Whether an order of an OCA group has filled, or shows that another one of its group has."""
    told = record.filled > 0 or record.reported > 0 or record.broker_status == "Filled"
    return told or (record.state is OrderState.REJECTED and _BEATEN in record.why.lower())


def _distinct(requests: Sequence[OrderRequest]) -> None:
    refs = [request.order_ref for request in requests]
    if len(set(refs)) != len(refs):
        msg = "every order of a group needs an order_ref of its own."
        raise OrderValidationError(msg, field="order_ref", value=", ".join(refs), legal="distinct refs")
