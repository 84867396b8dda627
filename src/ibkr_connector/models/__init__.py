"""The values a user holds: contracts, orders, account figures, market data. They know nothing of a backend."""

from __future__ import annotations

from ibkr_connector.models.account import (
    AccountSummary,
    Execution,
    PnL,
    PortfolioPnL,
    Position,
)
from ibkr_connector.models.contract import Contract, ContractDetails, SecType
from ibkr_connector.models.market import Bar, BarSeries, Quote
from ibkr_connector.models.order import (
    Action,
    BracketRequest,
    Fill,
    OcaType,
    OrderRequest,
    OrderSnapshot,
    OrderState,
    OrderType,
    TimeInForce,
)

__all__ = [
    "AccountSummary",
    "Action",
    "Bar",
    "BarSeries",
    "BracketRequest",
    "Contract",
    "ContractDetails",
    "Execution",
    "Fill",
    "OcaType",
    "OrderRequest",
    "OrderSnapshot",
    "OrderState",
    "OrderType",
    "PnL",
    "PortfolioPnL",
    "Position",
    "Quote",
    "SecType",
    "TimeInForce",
]
