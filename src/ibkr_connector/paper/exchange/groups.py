"""One-cancels-all groups, and how a bracket's children depend on their parent."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from .orders import Order, Stage
from .types import ZERO

CANCEL_WITH_BLOCK = 1
REDUCE_NON_BLOCK = 3
"""IBKR's default type, and that of bracket children. Types 2 and 3 reduce the others in proportion. This exchange
matches one order at a time, so no type can overfill; the block that distinguishes them changes nothing here."""


@dataclass(slots=True, eq=False)
class OcaGroup:
    """Orders of which the first to fill ends (or reduces) the others."""

    name: str
    members: list[Order] = field(default_factory=list)
    filled: bool = False
    """A member has filled: no order can join any more (error 201)."""

    def others(self, order: Order) -> list[Order]:
        """The live members besides `order`, those not transmitted yet left out."""
        return [m for m in self.members if m is not order and m.stage not in {Stage.DONE, Stage.HELD}]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fill does to another member: its new remaining quantity, 0 = cancelled."""

    order: Order
    remaining: Decimal


def effects_of_fill(order: Order, quantity: Decimal) -> list[Effect]:
    """What a fill of `quantity`, already booked in `order`, does to the rest of its group."""
    group = order.group
    if group is None:
        return []
    left = order.remaining
    if left <= 0 or order.ticket.oca_type == CANCEL_WITH_BLOCK:
        group.filled = True
        return [Effect(other, ZERO) for other in group.others(order)]
    before = left + quantity
    effects = []
    for other in group.others(order):
        remaining = other.remaining * left / before
        # Rounded down: a group must never do more than its largest member was for.
        remaining -= remaining % other.ticket.instrument.size_increment
        effects.append(Effect(other, remaining))
    return effects


def quantity_left_to_children(parent: Order, child: Order) -> Decimal:
    """The quantity a child keeps when its parent ends partially filled: what is filled plus what may still work."""
    return child.filled + child.workable
