"""What an account holds and earns. Amounts are Decimals in the named currency; times are aware UTC datetimes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from ibkr_connector.models.contract import Contract


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A position in one contract. `quantity` < 0 is short; figures that IBKR has not sent are None."""

    account: str
    contract: Contract
    quantity: Decimal
    avg_cost: Decimal
    """Per unit incl. commissions, times the multiplier for derivatives (IBKR's own convention)."""
    market_price: Decimal | None = None
    market_value: Decimal | None = None
    unrealized_pnl: Decimal | None = None
    realized_pnl: Decimal | None = None
    as_of: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """The guide's keys, numbers as floats."""
        return {
            "account": self.account,
            "symbol": self.contract.symbol,
            "secType": self.contract.sec_type,
            "currency": self.contract.currency,
            "con_id": self.contract.con_id,
            "position": float(self.quantity),
            "avgCost": float(self.avg_cost),
            "marketPrice": _number(self.market_price),
            "marketValue": _number(self.market_value),
            "unrealizedPNL": _number(self.unrealized_pnl),
            "realizedPNL": _number(self.realized_pnl),
            "timestamp": _stamp(self.as_of),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSummary:
    """The account's main figures, in `currency` (its base currency). `values` holds every tag IBKR sent."""

    account_id: str
    currency: str
    net_liquidation: Decimal
    total_cash: Decimal
    buying_power: Decimal
    available_funds: Decimal
    equity_with_loan: Decimal | None = None
    gross_position_value: Decimal | None = None
    init_margin: Decimal | None = None
    maint_margin: Decimal | None = None
    excess_liquidity: Decimal | None = None
    day_trades_remaining: int | None = None
    as_of: datetime | None = None
    positions: tuple[Position, ...] = ()
    values: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The guide's keys, numbers as floats."""
        return {
            "account_id": self.account_id,
            "currency": self.currency,
            "NetLiquidation": float(self.net_liquidation),
            "total_value": float(self.net_liquidation),
            "TotalCashValue": float(self.total_cash),
            "cash_balance": float(self.total_cash),
            "BuyingPower": float(self.buying_power),
            "buying_power": float(self.buying_power),
            "AvailableFunds": float(self.available_funds),
            "available_funds": float(self.available_funds),
            "EquityWithLoanValue": _number(self.equity_with_loan),
            "GrossPositionValue": _number(self.gross_position_value),
            "InitMarginReq": _number(self.init_margin),
            "MaintMarginReq": _number(self.maint_margin),
            "ExcessLiquidity": _number(self.excess_liquidity),
            "DayTradesRemaining": self.day_trades_remaining,
            "day_trades_remaining": self.day_trades_remaining,
            "positions": [position.to_dict() for position in self.positions],
            "total_positions": len(self.positions),
            "timestamp": _stamp(self.as_of),
            "real_data": True,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PnL:
    """Profit and loss of an account as IBKR computes it, base currency. None = not computed yet."""

    account: str
    daily: Decimal | None
    unrealized: Decimal | None
    realized: Decimal | None
    as_of: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, numbers as floats."""
        return {
            "account": self.account,
            "daily": _number(self.daily),
            "unrealized": _number(self.unrealized),
            "realized": _number(self.realized),
            "timestamp": _stamp(self.as_of),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioPnL:
    """The portfolio's totals, base currency."""

    cash_balance: Decimal
    total_value: Decimal
    unrealized: Decimal
    realized: Decimal
    daily: Decimal | None
    positions_count: int
    as_of: datetime | None = None

    @property
    def total(self) -> Decimal:
        """Unrealised plus realised."""
        return self.unrealized + self.realized

    def to_dict(self) -> dict[str, Any]:
        """The guide's keys, numbers as floats."""
        return {
            "cash_balance": float(self.cash_balance),
            "total_portfolio_value": float(self.total_value),
            "total_unrealized_pnl": float(self.unrealized),
            "total_realized_pnl": float(self.realized),
            "total_pnl": float(self.total),
            "daily_pnl": _number(self.daily),
            "positions_count": self.positions_count,
            "timestamp": _stamp(self.as_of),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One fill as the broker recorded it. A correction shares `exec_id` up to the last dot and replaces it."""

    exec_id: str
    at: datetime
    account: str
    contract: Contract
    side: str
    """BUY or SELL."""
    quantity: Decimal
    price: Decimal
    order_id: int
    client_id: int
    perm_id: int
    order_ref: str
    cum_quantity: Decimal
    avg_price: Decimal
    venue: str = ""
    liquidity: int = 0
    commission: Decimal | None = None
    commission_currency: str = ""
    realized_pnl: Decimal | None = None

    @property
    def base_id(self) -> str:
        """The execution id without its correction number."""
        return self.exec_id.rpartition(".")[0] or self.exec_id

    def to_dict(self) -> dict[str, Any]:
        """Plain values, numbers as floats."""
        return {
            "exec_id": self.exec_id,
            "timestamp": _stamp(self.at),
            "account": self.account,
            "symbol": self.contract.symbol,
            "con_id": self.contract.con_id,
            "side": self.side,
            "quantity": float(self.quantity),
            "price": float(self.price),
            "order_id": self.order_id,
            "client_id": self.client_id,
            "perm_id": self.perm_id,
            "order_ref": self.order_ref,
            "venue": self.venue,
            "commission": _number(self.commission),
            "commission_currency": self.commission_currency,
            "realized_pnl": _number(self.realized_pnl),
        }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _stamp(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
