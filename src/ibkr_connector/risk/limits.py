"""The limits, as the gates take them. The settings room maps onto this (`RiskLimits.from_settings`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Self

_AMOUNTS = (
    "max_position_size",
    "max_position_value",
    "max_order_size",
    "max_order_value",
    "daily_loss_limit",
    "drawdown_limit",
    "max_gross_exposure",
    "max_net_exposure",
    "price_collar",
    "in_flight_collar",
)
BUYING_POWER = ("off", "value", "what_if")
INTRADAY_MARGIN = ("off", "pdt", "excess")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubLimits:
    """Limits of one agent, or one symbol, beside those of the account; None = no limit of its own."""

    max_order_size: Decimal | None = None
    max_order_value: Decimal | None = None
    max_position_size: Decimal | None = None
    max_position_value: Decimal | None = None
    max_open_orders: int | None = None
    max_orders: int | None = None
    """Orders in any `max_orders_window` seconds."""

    @classmethod
    def from_settings(cls, section: object) -> Self:
        """From a settings section with fields of the same names."""
        return cls(**_values(cls, section))


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLimits:
    """Pre-trade limits; None or False switches a gate off. Sizes in shares or contracts, values in base currency."""

    max_position_size: Decimal | None = Decimal(10_000)
    max_position_value: Decimal | None = None
    max_order_size: Decimal | None = Decimal(10_000)
    max_order_value: Decimal | None = Decimal(500_000)
    daily_loss_limit: Decimal | None = Decimal(500)
    drawdown_limit: Decimal | None = None
    """How far net liquidation may be below its highest value, base currency."""
    max_gross_exposure: Decimal | None = None
    max_net_exposure: Decimal | None = None
    check_market_hours: bool = True
    allow_outside_rth: bool = True
    allow_short: bool = True
    restricted_symbols: tuple[str, ...] = ()
    """Symbols, local symbols or con_ids that may only be reduced."""

    check_ticks: bool = True
    """Prices must be multiples of the contract's tick, quantities of its size increment; the multiplier is right."""
    refuse_halted: bool = True
    """Nothing is opened in a contract whose quote says that trading is halted."""
    price_collar: Decimal | None = None
    """How far through the market a price may be, as a share of the quote (0.05 = 5 %)."""
    max_quote_age: float | None = None
    """Oldest quote an order may be judged on, in seconds."""
    duplicate_window: float | None = None
    """Seconds in which the same contract, side, quantity, type and prices may not come twice."""
    max_orders: int | None = None
    """Orders in any `max_orders_window` seconds."""
    max_orders_window: float = 1.0
    max_open_orders: int | None = None
    """Orders of the account that can still fill."""
    buying_power: str = "off"
    """`off`; `value`: against the broker's buying power; `what_if`: its own preview against available funds."""
    intraday_margin: str = "off"
    """`off`; `pdt`: day trades that remain below 25,000; `excess`: excess liquidity must cover what is opened."""

    in_flight_collar: Decimal = Decimal("0.005")
    """What an order in flight may cost by slippage, as a share of its value: counts towards the daily loss."""
    delayed_collar_factor: int = 2
    """How much wider collars are when the price is delayed or not from the market at all."""

    agents: Mapping[str, SubLimits] = field(default_factory=dict)
    """By the `agent` of an order, lower case; `*` is for agents without limits of their own."""
    symbols: Mapping[str, SubLimits] = field(default_factory=dict)
    """By symbol, lower case."""

    def __post_init__(self) -> None:
        for name in _AMOUNTS:
            _check(name, getattr(self, name))
        if self.delayed_collar_factor < 1:
            raise ValueError(f"delayed_collar_factor={self.delayed_collar_factor} should be at least 1")
        for name, legal in (("buying_power", BUYING_POWER), ("intraday_margin", INTRADAY_MARGIN)):
            if getattr(self, name) not in legal:
                raise ValueError(f"{name}={getattr(self, name)!r} should be one of {', '.join(legal)}")

    @property
    def needs_price(self) -> bool:
        """Whether a gate judges orders by a price."""
        limits = (
            self.max_order_value,
            self.max_position_value,
            self.daily_loss_limit,
            self.price_collar,
            self.max_quote_age,
            self.max_gross_exposure,
            self.max_net_exposure,
        )
        subs = (*self.agents.values(), *self.symbols.values())
        money = [value for sub in subs for value in (sub.max_order_value, sub.max_position_value)]
        margin = self.buying_power != "off" or self.intraday_margin == "excess"
        return margin or any(limit is not None for limit in (*limits, *money))

    @property
    def needs_portfolio(self) -> bool:
        """Whether a gate looks at all positions and orders together."""
        exposure = self.max_gross_exposure is not None or self.max_net_exposure is not None
        return exposure or self.buying_power != "off" or self.intraday_margin == "excess"

    def of_agent(self, agent: str | None) -> SubLimits | None:
        """The limits of an agent; None when it has none."""
        return None if not agent else self.agents.get(agent.lower(), self.agents.get("*"))

    @classmethod
    def from_settings(
        cls, section: object, *, agents: Mapping[str, object] | None = None, symbols: Mapping[str, object] | None = None
    ) -> Self:
        """From the settings section `[risk_limits]`, and those of agents and symbols, with fields of the same names."""
        return cls(
            **_values(cls, section),
            agents={name: SubLimits.from_settings(one) for name, one in (agents or {}).items()},
            symbols={name: SubLimits.from_settings(one) for name, one in (symbols or {}).items()},
        )


def _values(kind: type[Any], section: object) -> dict[str, Any]:
    return {f.name: getattr(section, f.name) for f in fields(kind) if hasattr(section, f.name)}


def _check(name: str, value: Decimal | None) -> None:
    if value is not None and not (value.is_finite() and value >= 0):
        raise ValueError(f"{name}={value} should be a finite number, not negative")
