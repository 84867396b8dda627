"""Orders and requests for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from ibkr_connector.backends.base import HistoryRequest, WireOrder
from ibkr_connector.models.contract import Contract

AAPL = Contract(symbol="AAPL", con_id=265598)
ONE_DAY = HistoryRequest(contract=AAPL, end=None, duration="1 D", bar_size="1 min")

_ORDER = WireOrder(
    order_id=0,
    contract=AAPL,
    action="BUY",
    quantity=Decimal(100),
    order_type="LMT",
    limit_price=Decimal("10.10"),
    stop_price=None,
    trail_amount=None,
    trail_percent=None,
    tif="DAY",
    good_till=None,
    outside_rth=False,
    account="DU1234567",
    order_ref="ref",
)


def limit_order(order_id: int, **changes: Any) -> WireOrder:
    """A buy order of 100 AAPL at 10.10, with `changes`."""
    return replace(_ORDER, order_id=order_id, **changes)
