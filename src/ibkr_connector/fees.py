"""What a trade costs at Interactive Brokers: dated US schedules, exact decimals.

The rates and their sources are in `fees_data/us.json`. Prices of stocks, ETFs and options follow the Fixed or the
Tiered schedule; sales also carry the SEC's Section 31 fee and FINRA's Trading Activity Fee. Only the standard library
is used here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Any, Literal

Side = Literal["BUY", "SELL"]
Schedule = Literal["fixed", "tiered"]

_CENT = Decimal("0.01")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class FeeBreakdown:
    """The cost of one trade in US dollars."""

    total: Decimal
    """All parts together, rounded half up to the cent. (IBKR itself reports up to six decimals.)"""
    parts: Mapping[str, Decimal]
    """The exact parts: `commission`, and where they apply `clearing`, `exchange`, `regulatory`, `sec`, `finra`."""

    def to_dict(self) -> dict[str, object]:
        """The total and the parts as plain data."""
        return {"total": self.total, "parts": dict(self.parts)}


def commission(
    *,
    sec_type: str,
    quantity: Decimal,
    price: Decimal,
    multiplier: Decimal = Decimal(1),
    side: Side,
    on: date,
    schedule: Schedule = "fixed",
    currency: str = "USD",
    exchange: str = "",
    symbol: str = "",
    usd_rate: Decimal | None = None,
) -> FeeBreakdown:
    """The cost of executing one order completely at one price.

    `quantity` in shares, contracts or units of the base currency (positive); `price` per share, per unit of the
    contract's multiplier, or of the base currency in `currency`; `on` the trade's date in New York. `symbol` picks a
    future's own rates. For a currency pair that is not quoted in dollars, `usd_rate` is the worth of one unit of
    `currency` in dollars. The minimum is per order: charge an order filled in parts for its total so far, less what
    it was charged before.

    Raises ValueError for a security type, schedule or currency without a rate, and for a quantity that is not
    positive.
    """
    if not quantity.is_finite() or quantity <= 0:
        raise ValueError(f"quantity must be a positive number, not {quantity}")
    if side not in {"BUY", "SELL"}:
        raise ValueError(f"side must be BUY or SELL, not {side!r}")
    if schedule not in {"fixed", "tiered"}:
        raise ValueError(f"schedule must be 'fixed' or 'tiered', not {schedule!r}")
    value = abs(quantity * price * multiplier)
    kind = sec_type.upper()
    if kind == "CASH":
        return _breakdown({"commission": _forex(value * _usd_rate(currency, usd_rate), on)})
    if currency != "USD":
        raise ValueError(f"no fee schedule for {sec_type} in {currency}: only US markets are modelled")
    if kind in {"STK", "ETF"}:
        parts = _stock(quantity, value, schedule, on)
        per_unit = "per_share"
    elif kind == "OPT":
        parts = {"commission": _option(quantity, price, on)}
        per_unit = "per_contract"
    elif kind == "FUT":
        return _breakdown(_future(quantity, symbol.upper(), on))
    else:
        raise ValueError(f"no fee schedule for security type {sec_type!r}: use STK, OPT, FUT or CASH")
    if side == "SELL":
        parts |= _on_sales(quantity, value, per_unit, on)
    return _breakdown(parts)


def _breakdown(parts: dict[str, Decimal]) -> FeeBreakdown:
    total = sum(parts.values(), _ZERO).quantize(_CENT, rounding=ROUND_HALF_UP)
    return FeeBreakdown(total=total, parts=MappingProxyType(parts))


def _stock(quantity: Decimal, value: Decimal, schedule: Schedule, on: date) -> dict[str, Decimal]:
    rate = _in_force(_rates()["stock"][schedule], on)
    # The maximum wins over the minimum: ten shares at 0.20 cost two cents (IBKR's own example).
    charged = max(quantity * Decimal(rate["per_share"]), Decimal(rate["minimum"]))
    parts = {"commission": min(charged, value * Decimal(rate["maximum_of_value"]))}
    clearing = quantity * Decimal(rate["clearing_per_share"])
    if clearing:
        parts["clearing"] = clearing
    return parts


def _option(quantity: Decimal, premium: Decimal, on: date) -> Decimal:
    rate = _in_force(_rates()["option"], on)
    per_contract = _ZERO
    for edge, amount in rate["per_contract_by_premium"]:
        if premium >= Decimal(edge):
            per_contract = Decimal(amount)
    return max(quantity * per_contract, Decimal(rate["minimum"]))


def _future(quantity: Decimal, symbol: str, on: date) -> dict[str, Decimal]:
    products = _rates()["future"]
    rate = _in_force(products.get(symbol, products["default"]), on)
    return {part: quantity * Decimal(rate[part]) for part in ("commission", "exchange", "regulatory")}


def _forex(value: Decimal, on: date) -> Decimal:
    rate = _in_force(_rates()["forex"], on)
    return max(value * Decimal(rate["of_value"]), Decimal(rate["minimum"]))


def _usd_rate(currency: str, usd_rate: Decimal | None) -> Decimal:
    if currency == "USD":
        return Decimal(1)
    if usd_rate is None or usd_rate <= 0:
        raise ValueError(f"usd_rate is needed: how many dollars one {currency} is worth (the fee is in dollars)")
    return usd_rate


def _on_sales(quantity: Decimal, value: Decimal, per_unit: str, on: date) -> dict[str, Decimal]:
    sec = value * Decimal(_in_force(_rates()["sec_section_31"], on)["of_value"])
    activity = _in_force(_rates()["finra_taf"], on)
    finra = quantity * Decimal(activity[per_unit])
    if per_unit == "per_share":
        finra = min(finra, Decimal(activity["maximum"]))
    return {"sec": sec, "finra": finra}


def _in_force(entries: Sequence[dict[str, Any]], on: date) -> dict[str, Any]:
    """The entry with the latest `from` not after the date; the first one for dates before all of them."""
    found = entries[0]
    for entry in entries[1:]:
        if date.fromisoformat(entry["from"]) <= on:
            found = entry
    return found


@lru_cache(maxsize=1)
def _rates() -> dict[str, Any]:
    text = (resources.files(__package__) / "fees_data" / "us.json").read_text(encoding="utf-8")
    rates: dict[str, Any] = json.loads(text)
    return rates
