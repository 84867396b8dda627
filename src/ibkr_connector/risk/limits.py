"""The limits, as the gates take them. The settings room maps onto this (`RiskLimits.from_settings`)."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol


class LimitSettings(Protocol):
    """The settings section this is made from (`[risk_limits]`)."""

    @property
    def max_position_size(self) -> Decimal | None: ...  # noqa: D102 - the section documents it
    @property
    def max_position_value(self) -> Decimal | None: ...  # noqa: D102 - the section documents it
    @property
    def max_order_size(self) -> Decimal | None: ...  # noqa: D102 - the section documents it
    @property
    def max_order_value(self) -> Decimal | None: ...  # noqa: D102 - the section documents it
    @property
    def daily_loss_limit(self) -> Decimal | None: ...  # noqa: D102 - the section documents it
    @property
    def check_market_hours(self) -> bool: ...  # noqa: D102 - the section documents it
    @property
    def allow_outside_rth(self) -> bool: ...  # noqa: D102 - the section documents it


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskLimits:
    """Pre-trade limits; None or False switches a gate off. Sizes in shares or contracts, values in base currency."""

    max_position_size: Decimal | None = Decimal(10_000)
    max_position_value: Decimal | None = None
    max_order_size: Decimal | None = Decimal(10_000)
    max_order_value: Decimal | None = Decimal(500_000)
    daily_loss_limit: Decimal | None = Decimal(500)
    check_market_hours: bool = True
    allow_outside_rth: bool = True

    check_ticks: bool = False
    """Prices must be multiples of the contract's tick, quantities of its size increment."""
    price_collar: Decimal | None = None
    """How far through the market a price may be, as a share of the quote (0.05 = 5 %)."""
    max_quote_age: float | None = None
    """Oldest quote an order may be judged on, in seconds; also refuses halted contracts."""
    duplicate_window: float | None = None
    """Seconds in which the same contract, side, quantity, type and prices may not come twice."""
    max_orders: int | None = None
    """Orders in any `max_orders_window` seconds."""
    max_orders_window: float = 1.0
    max_open_orders: int | None = None
    """Orders of the account that can still fill."""

    in_flight_collar: Decimal = Decimal("0.005")
    """What an order in flight may cost by slippage, as a share of its value: counts towards the daily loss."""
    delayed_collar_factor: int = 2
    """How much wider collars are when the price is delayed or not from the market at all."""

    def __post_init__(self) -> None:
        for name in (
            "max_position_size",
            "max_position_value",
            "max_order_size",
            "max_order_value",
            "daily_loss_limit",
        ):
            _check(name, getattr(self, name))
        for name in ("price_collar", "in_flight_collar"):
            _check(name, getattr(self, name))
        if self.delayed_collar_factor < 1:
            raise ValueError(f"delayed_collar_factor={self.delayed_collar_factor} should be at least 1")

    @classmethod
    def from_settings(cls, section: LimitSettings) -> RiskLimits:
        """From the settings section of the same names."""
        return cls(
            max_position_size=section.max_position_size,
            max_position_value=section.max_position_value,
            max_order_size=section.max_order_size,
            max_order_value=section.max_order_value,
            daily_loss_limit=section.daily_loss_limit,
            check_market_hours=section.check_market_hours,
            allow_outside_rth=section.allow_outside_rth,
        )


def _check(name: str, value: Decimal | None) -> None:
    if value is not None and not (value.is_finite() and value >= 0):
        raise ValueError(f"{name}={value} should be a finite number, not negative")
