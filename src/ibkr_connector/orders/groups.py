"""Orders that share one fate: a bracket (entry, target, stop) and an OCA group (one cancels all). Pure.

A group is reserved once, for its worst case: a bracket's exits only undo its entry, and of an OCA group one leg per
side fills. It is committed once and written back to back. Only the last frame of a bracket transmits: TWS holds a child
until then and sends parent and children together. The legs of an OCA group have no parent, so each transmits by itself
(an untransmitted order without a parent would stay in TWS for ever).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ibkr_connector.errors import OrderValidationError
from ibkr_connector.models.contract import Contract
from ibkr_connector.models.order import Action, BracketRequest, OrderRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLeg:
    """One order of a group."""

    request: OrderRequest
    parent_ref: str = ""
    transmit: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReservation:
    """What the group can do to a position at worst, on one side of one contract."""

    ref: str
    """The leg that stands for it."""
    contract: Contract
    action: Action
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedLeg:
    """One order of a group with its ids."""

    leg: GroupLeg
    order_id: int
    parent_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """A group ready to be checked, committed and written, legs in the order in which they are sent."""

    group: str
    legs: tuple[GroupLeg, ...]
    reservations: tuple[GroupReservation, ...]

    def number(self, order_ids: Sequence[int]) -> tuple[NumberedLeg, ...]:
        """Give every leg its id; children name their parent's. Ids must rise, one per leg."""
        if len(order_ids) != len(self.legs) or list(order_ids) != sorted(set(order_ids)):
            msg = f"a group of {len(self.legs)} needs as many rising order ids, not {list(order_ids)}"
            raise ValueError(msg)
        by_ref = {leg.request.order_ref: order_id for leg, order_id in zip(self.legs, order_ids, strict=True)}
        return tuple(
            NumberedLeg(leg=leg, order_id=order_id, parent_id=by_ref.get(leg.parent_ref, 0))
            for leg, order_id in zip(self.legs, order_ids, strict=True)
        )


def plan_bracket(bracket: BracketRequest) -> GroupPlan:
    """Entry, target and stop as one group named after the entry. Raises: OrderValidationError."""
    entry = bracket.entry
    for name, leg in (("take_profit", bracket.take_profit), ("stop_loss", bracket.stop_loss)):
        for field in ("contract", "quantity", "account"):
            theirs, ours = getattr(leg, field), getattr(entry, field)
            if theirs != ours:
                msg = f"the {name} of a bracket has another {field} than its entry ({theirs} instead of {ours})."
                raise OrderValidationError(msg, field=field, value=str(theirs), legal=str(ours))
    _distinct(bracket.legs)
    parent = entry.order_ref
    return GroupPlan(
        group=parent,
        legs=(
            GroupLeg(request=entry, transmit=False),
            GroupLeg(request=bracket.take_profit, parent_ref=parent, transmit=False),
            GroupLeg(request=bracket.stop_loss, parent_ref=parent, transmit=True),
        ),
        reservations=(
            GroupReservation(ref=parent, contract=entry.contract, action=entry.action, quantity=entry.quantity),
        ),
    )


def plan_oca(requests: Sequence[OrderRequest], group: str) -> GroupPlan:
    """Orders of which the first fill cancels or reduces the others. Raises: OrderValidationError."""
    if len(requests) < 2:
        msg = "an OCA group needs at least two orders."
        raise OrderValidationError(msg, field="orders", value=str(len(requests)), legal=">= 2")
    if not group.strip():
        msg = "an OCA group needs a name that no other group of the account has."
        raise OrderValidationError(msg, field="oca_group", value=group, legal="a unique name")
    if len({request.account for request in requests}) > 1:
        msg = "the orders of an OCA group must be for one account."
        raise OrderValidationError(msg, field="account", legal="one account")
    _distinct(requests)
    legs = tuple(GroupLeg(request=request.model_copy(update={"oca_group": group})) for request in requests)
    worst: dict[tuple[str, Action], OrderRequest] = {}
    for request in requests:
        key = (request.contract.key, request.action)
        if key not in worst or request.quantity > worst[key].quantity:
            worst[key] = request
    return GroupPlan(
        group=group,
        legs=legs,
        reservations=tuple(
            GroupReservation(
                ref=request.order_ref, contract=request.contract, action=request.action, quantity=request.quantity
            )
            for request in worst.values()
        ),
    )


def _distinct(requests: Sequence[OrderRequest]) -> None:
    refs = [request.order_ref for request in requests]
    if len(set(refs)) != len(refs):
        msg = "every order of a group needs an order_ref of its own."
        raise OrderValidationError(msg, field="order_ref", value=", ".join(refs), legal="distinct refs")
