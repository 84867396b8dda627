"""What the gates may look at: the account, the market and the contract, as the connector sees them at this moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from ibkr_connector.models.contract import ContractDetails
from ibkr_connector.risk.hours import MarketHours


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceView:
    """A quote with its pedigree. Prices in the contract's currency; None or <= 0 = not known."""

    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    age: float = 0.0
    """Seconds since its newest value arrived."""
    delayed: bool = False
    halted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentView:
    """The rules of a contract that matter for money."""

    con_id: int
    currency: str
    multiplier: Decimal = Decimal(1)
    """Contract currency per point and unit: 1 for a stock, 50 for ES, 100 for an SPX option."""
    min_tick: Decimal | None = None
    size_increment: Decimal | None = None
    price_magnifier: int = 1
    """Prices are quoted in 1/this of the currency (100 where a stock trades in pence)."""
    signed_price: bool = False
    """Whether zero and negative prices are possible (futures, combos)."""

    @classmethod
    def of(cls, details: ContractDetails) -> InstrumentView:
        """From the broker's contract details."""
        return cls(
            con_id=details.contract.con_id,
            currency=details.contract.currency,
            multiplier=details.multiplier,
            min_tick=details.min_tick,
            size_increment=details.size_increment,
            price_magnifier=details.price_magnifier,
            signed_price=details.contract.sec_type in {"FUT", "FOP", "BAG"},
        )


class RiskView(Protocol):
    """Read inside the engine's critical section: every answer must be at hand, nothing may wait.

    None always means *not known*, and an order that needs it is refused.
    """

    @property
    def account(self) -> str:
        """The account the order is for."""
        ...

    @property
    def currency(self) -> str:
        """The account's base currency."""
        ...

    @property
    def now(self) -> datetime:
        """Market time: aware."""
        ...

    @property
    def monotonic(self) -> float:
        """Real seconds, for rates."""
        ...

    @property
    def live(self) -> bool:
        """Whether the account is a live one."""
        ...

    @property
    def net_liquidation(self) -> Decimal | None:
        """Net liquidation value now, base currency."""
        ...

    @property
    def daily_pnl(self) -> Decimal | None:
        """The broker's own P&L of the day, base currency."""
        ...

    def figure(self, tag: str) -> Decimal | None:
        """A figure of the account by IBKR's name (`BuyingPower`, `DayTradesRemaining` …), base currency."""
        ...

    def margin(self, ref: str) -> Decimal | None:
        """By how much an order would raise the initial margin, by the broker's own preview, base currency."""
        ...

    def holdings(self) -> Mapping[int, tuple[Decimal, Decimal]] | None:
        """Every position, by con_id: the least and the most it may be."""
        ...

    def unit_value(self, con_id: int) -> Decimal | None:
        """What one unit of a position is worth now, base currency, not negative."""
        ...

    def position(self, con_id: int, sign: int) -> Decimal | None:
        """The position to assume before an order of this side (+1 buy, -1 sell); executions so far included."""
        ...

    def instrument(self, con_id: int) -> InstrumentView | None:
        """The contract's rules."""
        ...

    def price(self, con_id: int) -> PriceView | None:
        """The newest quote."""
        ...

    def hours(self, con_id: int) -> MarketHours | None:
        """When the contract trades."""
        ...

    def fx(self, currency: str) -> Decimal | None:
        """Base currency per unit of `currency`."""
        ...

    def fee(self, con_id: int, quantity: Decimal, price: Decimal) -> Decimal | None:
        """The estimated commission and fees of such a trade, base currency."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskSnapshot:
    """A `RiskView` of plain values: for tests, previews, and callers who gather everything first."""

    account: str
    currency: str
    now: datetime
    monotonic: float = 0.0
    live: bool = False
    net_liquidation: Decimal | None = None
    daily_pnl: Decimal | None = None
    positions: Mapping[int, Decimal] | None = None
    """By con_id; a contract that is not in it is flat. None = positions are not known."""
    instruments: Mapping[int, InstrumentView] = field(default_factory=dict)
    prices: Mapping[int, PriceView] = field(default_factory=dict)
    market_hours: Mapping[int, MarketHours] = field(default_factory=dict)
    rates: Mapping[str, Decimal] = field(default_factory=dict)
    """Base currency per unit, by currency."""
    fee_estimate: Decimal | None = None
    """For any trade."""
    figures: Mapping[str, Decimal] = field(default_factory=dict)
    margins: Mapping[str, Decimal] = field(default_factory=dict)
    """By order ref."""
    unit_values: Mapping[int, Decimal] = field(default_factory=dict)

    def figure(self, tag: str) -> Decimal | None:
        """See `RiskView.figure`."""
        return self.figures.get(tag)

    def margin(self, ref: str) -> Decimal | None:
        """See `RiskView.margin`."""
        return self.margins.get(ref)

    def holdings(self) -> Mapping[int, tuple[Decimal, Decimal]] | None:
        """See `RiskView.holdings`."""
        return None if self.positions is None else {key: (held, held) for key, held in self.positions.items()}

    def unit_value(self, con_id: int) -> Decimal | None:
        """See `RiskView.unit_value`."""
        return self.unit_values.get(con_id)

    def position(self, con_id: int, sign: int) -> Decimal | None:
        """See `RiskView.position`."""
        return None if self.positions is None else self.positions.get(con_id, Decimal(0))

    def instrument(self, con_id: int) -> InstrumentView | None:
        """See `RiskView.instrument`."""
        return self.instruments.get(con_id)

    def price(self, con_id: int) -> PriceView | None:
        """See `RiskView.price`."""
        return self.prices.get(con_id)

    def hours(self, con_id: int) -> MarketHours | None:
        """See `RiskView.hours`."""
        return self.market_hours.get(con_id)

    def fx(self, currency: str) -> Decimal | None:
        """See `RiskView.fx`."""
        return self.rates.get(currency)

    def fee(self, con_id: int, quantity: Decimal, price: Decimal) -> Decimal | None:
        """See `RiskView.fee`."""
        return self.fee_estimate
