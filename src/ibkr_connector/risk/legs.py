"""The orders of a group, as they are checked."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ibkr_connector.models.order import BracketRequest, OrderRequest
from ibkr_connector.risk.order_check import Role
from ibkr_connector.risk.reservation import Reservation


@dataclass(frozen=True, slots=True)
class Leg:
    """One order of a group, as it is checked."""

    request: OrderRequest
    role: Role = Role.SINGLE
    stop: Decimal | None = None


def bracket_legs(bracket: BracketRequest) -> list[Leg]:
    """Entry, target and stop."""
    return [
        Leg(bracket.entry, Role.ENTRY, bracket.stop_loss.stop_price),
        Leg(bracket.take_profit, Role.EXIT),
        Leg(bracket.stop_loss, Role.EXIT),
    ]


def leg_of(known: Reservation, request: OrderRequest) -> Leg:
    """A changed version of an order, in the role it has."""
    role = Role.EXIT if known.is_exit else Role.ENTRY if known.group else Role.SINGLE
    return Leg(request, role, known.stop)
