"""`order_ttl`: orders that the broker ends by itself, whether or not the program still lives. Pure.

IBKR has no cancel-on-disconnect for orders of its API: what rests goes on resting. The one dead man's switch it offers
is an end written into the order (GTD), so that is what a time to live becomes when the order is sent.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from ibkr_connector.models.order import OrderRequest, OrderType, TimeInForce

_RESTING = frozenset({TimeInForce.DAY, TimeInForce.GTC})


def with_ttl(
    request: OrderRequest, *, default: float | None, is_exit: bool, position: Decimal | None, now: datetime
) -> OrderRequest:
    """The order as it is sent: GTD, ending its time to live (seconds) after `now`, the time at the broker.

    `order_ttl` of the order itself always counts. The settings' `default` is for what adds risk and can rest: exits of
    a bracket (`is_exit`), orders that only reduce `position`, and market orders keep their own time in force.
    """
    ttl = request.order_ttl
    if ttl is None and default is not None and not is_exit and _adds_resting_risk(request, position):
        ttl = default
    if ttl is None or request.tif not in _RESTING:
        return request
    # IBKR's date has whole seconds: rounded up, an order lives no shorter than it was asked to.
    until = (now + timedelta(seconds=ttl)).replace(microsecond=0) + timedelta(seconds=1)
    return request.model_copy(update={"order_ttl": ttl, "tif": TimeInForce.GTD, "good_till": until})


def _adds_resting_risk(request: OrderRequest, position: Decimal | None) -> bool:
    if request.order_type is OrderType.MARKET or request.tif not in _RESTING:
        return False
    held = position or Decimal(0)
    return held * request.action.sign >= 0 or request.quantity > abs(held)


def as_asked(known: OrderRequest, asked: OrderRequest) -> OrderRequest:
    """A known order without the end that its time to live gave it, for comparing it with what is asked for again."""
    if known.order_ttl is None or asked.order_ttl not in (None, known.order_ttl) or asked.tif not in _RESTING:
        return known
    return known.model_copy(update={"order_ttl": asked.order_ttl, "tif": asked.tif, "good_till": asked.good_till})
