"""Trade with Interactive Brokers so that an order that left the caller is accounted for, whatever breaks.

``import ibkr_connector`` loads the standard library alone. Every public name below is imported from its room
on first use (PEP 562), so a program pays only for what it touches::

    from ibkr_connector import get_ibkr_connector

    async with get_ibkr_connector() as connector:
        order = await connector.place_market_order("AAPL", 100, "BUY")

Public: this module, ``errors``, ``events``, ``models``, ``paper`` and ``testing``. The rest may change without notice.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ibkr_connector.connector import IBKRConnector
    from ibkr_connector.errors import (
        ConfigurationError,
        GroupIncomplete,
        IBKRConnectionError,
        IBKRError,
        InvalidRequest,
        MarketDataError,
        OrderError,
        OrderInDoubt,
        OrderNotSent,
        OrderRejected,
        OrderValidationError,
        RiskRejected,
        TradingError,
    )
    from ibkr_connector.models.account import Position
    from ibkr_connector.models.contract import Contract
    from ibkr_connector.models.market import Quote
    from ibkr_connector.models.order import OrderRequest, OrderSnapshot, OrderState
    from ibkr_connector.orders.handle import BracketOrder, OcaGroup, Order
    from ibkr_connector.registry import get_ibkr_connector
    from ibkr_connector.streams.quotes import QuoteStream

__version__ = "0.1.0"

# Public name -> the submodule that defines it. One line here is all a new public name needs, beside its typed
# twin above.
_EXPORTS: dict[str, str] = {
    "BracketOrder": "orders.handle",
    "ConfigurationError": "errors",
    "Contract": "models.contract",
    "GroupIncomplete": "errors",
    "IBKRConnectionError": "errors",
    "IBKRConnector": "connector",
    "IBKRError": "errors",
    "InvalidRequest": "errors",
    "MarketDataError": "errors",
    "OcaGroup": "orders.handle",
    "Order": "orders.handle",
    "OrderError": "errors",
    "OrderInDoubt": "errors",
    "OrderNotSent": "errors",
    "OrderRejected": "errors",
    "OrderRequest": "models.order",
    "OrderSnapshot": "models.order",
    "OrderState": "models.order",
    "OrderValidationError": "errors",
    "Position": "models.account",
    "Quote": "models.market",
    "QuoteStream": "streams.quotes",
    "RiskRejected": "errors",
    "TradingError": "errors",
    "get_ibkr_connector": "registry",
}

# Public submodules reachable as attributes without an import of their own.
_SUBMODULES: frozenset[str] = frozenset({"errors", "events", "models", "paper", "testing"})

__all__ = [
    "BracketOrder",
    "ConfigurationError",
    "Contract",
    "GroupIncomplete",
    "IBKRConnectionError",
    "IBKRConnector",
    "IBKRError",
    "InvalidRequest",
    "MarketDataError",
    "OcaGroup",
    "Order",
    "OrderError",
    "OrderInDoubt",
    "OrderNotSent",
    "OrderRejected",
    "OrderRequest",
    "OrderSnapshot",
    "OrderState",
    "OrderValidationError",
    "Position",
    "Quote",
    "QuoteStream",
    "RiskRejected",
    "TradingError",
    "__version__",
    "get_ibkr_connector",
]


def __getattr__(name: str) -> object:
    """Import a public name from its room on first use and keep it."""
    submodule = _EXPORTS.get(name)
    if submodule is not None:
        value: object = getattr(import_module(f"{__name__}.{submodule}"), name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *_EXPORTS, *_SUBMODULES})
