"""The risk limits: `[risk_limits]`, and limits of single agents and symbols."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ibkr_connector.config.section import Limit, Seconds, Section, Setting

Share = Annotated[Decimal, Field(ge=0, le=10, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class RiskSettings(Section):
    """Pre-trade limits. `none` switches one off; the environment may tighten but not loosen them."""

    max_position_size: Annotated[
        Limit | None,
        Setting(
            "largest position in one contract, either side; a currency pair counts its base currency, as below",
            unit="shares, contracts or base units of a pair",
            looser="higher",
        ),
    ] = Decimal(10_000)
    max_position_value: Annotated[
        Limit | None, Setting("largest position in one contract by value", unit="base currency", looser="higher")
    ] = None
    max_order_size: Annotated[
        Limit | None,
        Setting(
            "largest order; a currency pair counts its base currency: 10000 refuses the usual order of 25000 EUR.USD",
            unit="shares, contracts or base units of a pair",
            looser="higher",
        ),
    ] = Decimal(10_000)
    max_order_value: Annotated[
        Limit | None, Setting("largest order by value", unit="base currency", looser="higher")
    ] = Decimal(500_000)
    daily_loss_limit: Annotated[
        Limit | None, Setting("loss of the day that stops trading", unit="base currency", looser="higher")
    ] = Decimal(500)
    check_market_hours: Annotated[bool, Setting("refuse orders outside the contract's trading hours", looser="no")] = (
        True
    )
    allow_outside_rth: Annotated[
        bool, Setting("accept orders marked for execution outside regular trading hours", looser="yes")
    ] = True
    allow_short: Annotated[
        bool, Setting("accept sells beyond what is held (futures and currency pairs are not meant)", looser="yes")
    ] = True
    restricted_symbols: Annotated[
        tuple[str, ...],
        Setting("symbols, local symbols or con_ids that may only be reduced, with commas between", looser="fewer"),
    ] = ()
    check_ticks: Annotated[
        bool,
        Setting("refuse prices off the contract's tick, quantities off its lot, a wrong multiplier", looser="no"),
    ] = True
    refuse_halted: Annotated[
        bool, Setting("open nothing in a contract whose quote says that trading is halted", looser="no")
    ] = True
    max_quote_age: Annotated[
        Seconds | None, Setting("oldest quote a market or stop order is judged on", unit="seconds", looser="higher")
    ] = None
    price_collar: Annotated[
        Share | None,
        Setting("how far through the market a limit price may be; needs a quote", unit="share", looser="higher"),
    ] = None
    delayed_collar_factor: Annotated[
        int, Field(ge=1, le=100), Setting("how much wider collars are with delayed prices", looser="higher")
    ] = 2
    in_flight_collar: Annotated[
        Share,
        Setting("what an order under way may cost by slippage, for loss limits", unit="share of value", looser="lower"),
    ] = Decimal("0.005")
    duplicate_window: Annotated[
        Seconds | None,
        Setting("time in which the very same order (agent included) is refused", unit="seconds", looser="lower"),
    ] = None
    max_orders: Annotated[Count | None, Setting("orders in any max_orders_window", unit="orders", looser="higher")] = (
        None
    )
    max_orders_window: Annotated[Seconds, Setting("the time max_orders counts", unit="seconds", looser="lower")] = 1.0
    max_open_orders: Annotated[
        Count | None, Setting("orders of the account that can still fill", unit="orders", looser="higher")
    ] = None
    max_gross_exposure: Annotated[
        Limit | None,
        Setting("all positions and open orders, long and short added up", unit="base currency", looser="higher"),
    ] = None
    max_net_exposure: Annotated[
        Limit | None,
        Setting("long minus short of all positions and open orders", unit="base currency", looser="higher"),
    ] = None
    drawdown_limit: Annotated[
        Limit | None,
        Setting("how far net liquidation may be below its highest value", unit="base currency", looser="higher"),
    ] = None
    buying_power: Annotated[
        Literal["off", "value", "what_if"],
        Setting("off; value: orders within BuyingPower; what_if: the broker's preview first", looser="other"),
    ] = "off"
    intraday_margin: Annotated[
        Literal["off", "pdt", "excess"],
        Setting("off; pdt: day trades remaining below 25000; excess: within ExcessLiquidity", looser="other"),
    ] = "off"
    env_may_loosen: Annotated[bool, Setting("let IBKR_RISK_LIMITS_* variables raise limits too", file_only=True)] = (
        False
    )

    @field_validator("restricted_symbols", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple | set | frozenset):
            return parts
        names = [part.strip().upper() if isinstance(part, str) else str(part) for part in parts]
        return tuple(dict.fromkeys(name for name in names if name and name != "NONE"))


class SymbolLimits(Section):
    """`[symbol.AAPL]`: limits of one symbol's contracts, beside those of all; they only tighten."""

    max_order_size: Limit | None = None
    max_order_value: Limit | None = None
    max_position_size: Limit | None = None
    max_position_value: Limit | None = None


class AgentLimits(SymbolLimits):
    """`[agent.momentum-1]`: limits of one agent's orders and its own position; `[agent.*]` is for all others."""

    max_open_orders: Count | None = None
    max_orders: Count | None = None
