"""The gates, and which of them a set of limits arms: cheap ones first; all are asked, all reasons collected."""

from __future__ import annotations

from ibkr_connector.risk.gates.base import Gate
from ibkr_connector.risk.gates.daily_loss import DailyLossGate
from ibkr_connector.risk.gates.market_hours import MarketHoursGate
from ibkr_connector.risk.gates.order_size import OrderSizeGate, OrderValueGate
from ibkr_connector.risk.gates.position import PositionLimitGate, PositionValueGate
from ibkr_connector.risk.gates.price import PriceCollarGate, QuoteAgeGate, TickGate
from ibkr_connector.risk.gates.trading import TradingStateGate
from ibkr_connector.risk.gates.traffic import DuplicateOrderGate, OpenOrdersGate, OrderRateGate
from ibkr_connector.risk.limits import RiskLimits

__all__ = [
    "DailyLossGate",
    "DuplicateOrderGate",
    "Gate",
    "MarketHoursGate",
    "OpenOrdersGate",
    "OrderRateGate",
    "OrderSizeGate",
    "OrderValueGate",
    "PositionLimitGate",
    "PositionValueGate",
    "PriceCollarGate",
    "QuoteAgeGate",
    "TickGate",
    "TradingStateGate",
    "default_gates",
]


def default_gates(limits: RiskLimits) -> tuple[Gate, ...]:
    """The gates that `limits` arms, in the order they are asked."""
    gates: list[Gate] = [TradingStateGate()]
    if limits.check_ticks:
        gates.append(TickGate())
    if limits.duplicate_window is not None:
        gates.append(DuplicateOrderGate(limits.duplicate_window))
    if limits.check_market_hours or not limits.allow_outside_rth:
        gates.append(MarketHoursGate(check_hours=limits.check_market_hours, allow_outside_rth=limits.allow_outside_rth))
    if limits.max_quote_age is not None:
        gates.append(QuoteAgeGate(limits.max_quote_age))
    if limits.price_collar is not None:
        gates.append(PriceCollarGate(limits.price_collar))
    if limits.max_order_size is not None:
        gates.append(OrderSizeGate(limits.max_order_size))
    if limits.max_order_value is not None:
        gates.append(OrderValueGate(limits.max_order_value))
    if limits.max_orders is not None:
        gates.append(OrderRateGate(limits.max_orders, limits.max_orders_window))
    if limits.max_open_orders is not None:
        gates.append(OpenOrdersGate(limits.max_open_orders))
    if limits.max_position_size is not None:
        gates.append(PositionLimitGate(limits.max_position_size))
    if limits.max_position_value is not None:
        gates.append(PositionValueGate(limits.max_position_value))
    if limits.daily_loss_limit is not None:
        gates.append(DailyLossGate(limits.daily_loss_limit))
    return tuple(gates)
