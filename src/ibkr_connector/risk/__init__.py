"""What an order must pass before it is sent: policy without I/O.

`RiskEngine.check_and_reserve(request, view)` asks every gate and reserves the order's share of the limits in one step;
the `RiskView` says how account, market and contract stand; `TradingControl` holds kill and trading state.
"""

from __future__ import annotations

from ibkr_connector.risk.daily_loss import DailyLoss, DayFigures, day_boundary
from ibkr_connector.risk.decision import DataMissing, GateResult, RiskDecision
from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.risk.hours import MarketHours, Sessions, calendar_name, calendar_sessions, parse_hours
from ibkr_connector.risk.limits import RiskLimits, SubLimits
from ibkr_connector.risk.reservation import Exposure
from ibkr_connector.risk.state import TradingAction, TradingControl, TradingRecord, TradingState
from ibkr_connector.risk.view import InstrumentView, PriceView, RiskSnapshot, RiskView

__all__ = [
    "DailyLoss",
    "DataMissing",
    "DayFigures",
    "Exposure",
    "GateResult",
    "InstrumentView",
    "MarketHours",
    "PriceView",
    "RiskDecision",
    "RiskEngine",
    "RiskLimits",
    "RiskSnapshot",
    "RiskView",
    "Sessions",
    "SubLimits",
    "TradingAction",
    "TradingControl",
    "TradingRecord",
    "TradingState",
    "calendar_name",
    "calendar_sessions",
    "day_boundary",
    "parse_hours",
]
