"""What a contract is inside the gateway: all that contractDetails says of it, and what a client says when it asks."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

ZERO = Decimal(0)
ONE = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instrument:
    """One tradable contract (or index) with everything contractDetails says about it. Equal by conId."""

    con_id: int
    symbol: str
    sec_type: str
    """STK, CASH, FUT or IND."""
    currency: str
    exchange: str
    """Where IBKR sends it by default: SMART, IDEALPRO, CME, CBOE."""
    primary_exchange: str = ""
    local_symbol: str
    trading_class: str
    long_name: str
    market_name: str
    min_tick: Decimal
    multiplier: Decimal = ONE
    """What one unit of price is worth per contract; 1 for stocks."""
    multiplier_text: str = ""
    """The multiplier as on the wire: empty for stocks."""
    strike: Decimal = ZERO
    right: str = ""
    expiry: str = ""
    """YYYYMMDD of the last trading day, or empty."""
    contract_month: str = ""
    """YYYYMM, or empty."""
    last_trade_date_time: str = ""
    """The date field of contractDetails: `20251219 08:30:00 US/Central`."""
    tz_id: str = "US/Eastern"
    calendar: str = "XNYS"
    """XNYS, FX or CME: see sessions."""
    size_increment: Decimal = ONE
    min_size: Decimal = ONE
    suggested_size: Decimal = ONE
    order_types: str = ""
    valid_exchanges: str = ""
    market_rule_ids: str = ""
    """One rule per valid exchange, comma separated."""
    industry: str = ""
    category: str = ""
    subcategory: str = ""
    stock_type: str = ""
    isin: str = ""
    under_con_id: int = 0
    under_symbol: str = ""
    under_sec_type: str = ""
    price_magnifier: int = 1
    agg_group: int = 1
    md_size_multiplier: int = 1
    derivative_sec_types: tuple[str, ...] = ()
    shortable: bool = True
    reference_price: Decimal = Decimal(100)
    """Where the invented market starts from (2026 prices, rounded)."""
    annual_volatility: float = 0.25
    typical_spread_ticks: int = 1
    average_daily_volume: int = 1_000_000
    """Shares or contracts on a usual day; 0 for indices."""
    market_correlation: float = 0.0
    """Correlation of the invented market with the market as a whole."""

    def __hash__(self) -> int:
        return self.con_id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instrument) and other.con_id == self.con_id

    def __repr__(self) -> str:
        return f"<Instrument {self.con_id} {self.local_symbol} {self.sec_type} {self.exchange} {self.currency}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractQuery:
    """A contract as a client describes it; empty fields are open."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    expiry: str = ""
    """YYYYMM or YYYYMMDD."""
    strike: Decimal = ZERO
    right: str = ""
    multiplier: str = ""
    exchange: str = ""
    primary_exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""
    include_expired: bool = False
    sec_id_type: str = ""
    sec_id: str = ""
