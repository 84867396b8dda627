"""The orders of a group, as they are checked."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ibkr_connector.models.order import BracketRequest, OrderRequest
from ibkr_connector.risk.order_check import Role
from ibkr_connector.risk.reservation import Reservation
from ibkr_connector.risk.view import RiskView


@dataclass(frozen=True, slots=True)
class Leg:
    """One order, alone or of a group, as it is checked."""

    request: OrderRequest
    view: RiskView
    role: Role = Role.SINGLE
    stop: Decimal | None = None
    oca: str = ""
    """The OCA group with block that it belongs to."""


def bracket_legs(bracket: BracketRequest, view: RiskView) -> list[Leg]:
    """Entry, target and stop."""
    return [
        Leg(bracket.entry, view, Role.ENTRY, bracket.stop_loss.stop_price),
        Leg(bracket.take_profit, view, Role.EXIT),
        Leg(bracket.stop_loss, view, Role.EXIT),
    ]


def leg_of(known: Reservation, request: OrderRequest, view: RiskView) -> Leg:
    """A changed version of an order, in the role it has."""
    role = Role.EXIT if known.is_exit else Role.ENTRY if known.group else Role.SINGLE
    return Leg(request, view, role, known.stop, known.oca)
