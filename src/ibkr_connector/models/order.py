"""Orders: the words they are made of, as a caller writes them, and as they are known later. All names in one place."""

from __future__ import annotations

from ibkr_connector.models.arguments import to_decimal
from ibkr_connector.models.order_request import BracketRequest, OrderRequest, new_order_ref
from ibkr_connector.models.order_snapshot import Fill, OrderSnapshot
from ibkr_connector.models.order_words import Action, OcaType, OrderState, OrderType, TimeInForce

__all__ = [
    "Action",
    "BracketRequest",
    "Fill",
    "OcaType",
    "OrderRequest",
    "OrderSnapshot",
    "OrderState",
    "OrderType",
    "TimeInForce",
    "new_order_ref",
    "to_decimal",
]
