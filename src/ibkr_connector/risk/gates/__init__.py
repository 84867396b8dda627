"""The gates, and which of them a set of limits arms: cheap ones first; all are asked, all reasons collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from ibkr_connector.risk.gates.base import Gate
from ibkr_connector.risk.gates.daily_loss import DailyLossGate, DrawdownGate
from ibkr_connector.risk.gates.exposure import GrossExposureGate, NetExposureGate
from ibkr_connector.risk.gates.forked import ForkedOrderGate
from ibkr_connector.risk.gates.margin import BuyingPowerGate, IntradayMarginGate
from ibkr_connector.risk.gates.market_hours import MarketHoursGate
from ibkr_connector.risk.gates.order_size import OrderSizeGate, OrderValueGate
from ibkr_connector.risk.gates.position import PositionLimitGate, PositionValueGate
from ibkr_connector.risk.gates.price import HaltedGate, PriceCollarGate, QuoteAgeGate, TickGate
from ibkr_connector.risk.gates.restricted import RestrictedGate, ShortSellingGate
from ibkr_connector.risk.gates.sub_limits import AgentLimitsGate, SymbolLimitsGate
from ibkr_connector.risk.gates.trading import TradingStateGate
from ibkr_connector.risk.gates.traffic import DuplicateOrderGate, OpenOrdersGate, OrderRateGate
from ibkr_connector.risk.limits import RiskLimits

_T = TypeVar("_T")

__all__ = ["Gate", "default_gates"]


def default_gates(limits: RiskLimits) -> tuple[Gate, ...]:
    """The gates that `limits` arms, in the order they are asked."""
    candidates: list[tuple[bool, Callable[[], Gate]]] = [
        (True, TradingStateGate),
        (True, ForkedOrderGate),
        (bool(limits.restricted_symbols), lambda: RestrictedGate(limits.restricted_symbols)),
        (limits.check_ticks, TickGate),
        (limits.duplicate_window is not None, lambda: DuplicateOrderGate(limits.duplicate_window or 0.0)),
        (
            limits.check_market_hours or not limits.allow_outside_rth,
            lambda: MarketHoursGate(check_hours=limits.check_market_hours, allow_outside_rth=limits.allow_outside_rth),
        ),
        (limits.refuse_halted, HaltedGate),
        *_if_set(limits.max_quote_age, QuoteAgeGate),
        *_if_set(limits.price_collar, PriceCollarGate),
        *_if_set(limits.max_order_size, OrderSizeGate),
        *_if_set(limits.max_order_value, OrderValueGate),
        *_if_set(limits.max_orders, lambda most: OrderRateGate(most, limits.max_orders_window)),
        *_if_set(limits.max_open_orders, OpenOrdersGate),
        *_if_set(limits.max_position_size, PositionLimitGate),
        *_if_set(limits.max_position_value, PositionValueGate),
        (not limits.allow_short, ShortSellingGate),
        (bool(limits.symbols), lambda: SymbolLimitsGate(limits.symbols)),
        (bool(limits.agents), lambda: AgentLimitsGate(limits)),
        *_if_set(limits.max_gross_exposure, GrossExposureGate),
        *_if_set(limits.max_net_exposure, NetExposureGate),
        *_if_set(limits.daily_loss_limit, DailyLossGate),
        *_if_set(limits.drawdown_limit, DrawdownGate),
        (limits.buying_power != "off", lambda: BuyingPowerGate(limits.buying_power)),
        (limits.intraday_margin != "off", lambda: IntradayMarginGate(limits.intraday_margin)),
    ]
    return tuple(make() for armed, make in candidates if armed)


def _if_set(limit: _T | None, make: Callable[[_T], Gate]) -> Iterator[tuple[bool, Callable[[], Gate]]]:
    if limit is not None:
        yield True, lambda: make(limit)
