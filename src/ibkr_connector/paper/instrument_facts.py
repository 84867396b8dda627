"""Instruments built from the facts in `data/instruments.json`, and futures built from their month."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib import resources
from typing import Any

from . import sessions
from .instrument_types import Instrument

QUARTER_CODES = {3: "H", 6: "M", 9: "U", 12: "Z"}
"""Months in which index futures expire, and their letters in local symbols."""
_ES_UNDERLYING = 11_004_968


@lru_cache(maxsize=1)
def facts_file() -> dict[str, Any]:
    """The package's file of facts, read once."""
    text = (resources.files(__package__) / "data" / "instruments.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts


def load_rules() -> dict[int, list[tuple[Decimal, Decimal]]]:
    """Market rules by id: (low edge, increment) pairs, rising."""
    return {
        int(rule): [(Decimal(edge), Decimal(step)) for edge, step in steps]
        for rule, steps in facts_file()["market_rules"].items()
    }


@lru_cache(maxsize=1)
def load_listed() -> tuple[Instrument, ...]:
    """Every instrument that does not expire: stocks, ETFs, currency pairs, indices."""
    facts = facts_file()
    stocks = [_stock(row, "COMMON") for row in facts["stocks"]]
    funds = [_stock(row, "ETF") for row in facts["etfs"]]
    pairs = [_pair(row) for row in facts["forex"]]
    indices = [_index(row) for row in facts["indices"]]
    return (*stocks, *funds, *pairs, *indices)


def _stock(row: list[Any], stock_type: str) -> Instrument:
    con_id, symbol, name, primary, isin, industry, category, subcategory, price, volatility, spread, volume = row
    trading_class = "NMS" if primary == "NASDAQ" else symbol
    exchanges = facts_file()["valid_exchanges"]["STK"]
    return Instrument(
        con_id=con_id,
        symbol=symbol,
        sec_type="STK",
        currency="USD",
        exchange="SMART",
        primary_exchange=primary,
        local_symbol=symbol,
        trading_class=trading_class,
        long_name=name,
        market_name=trading_class,
        min_tick=Decimal("0.01"),
        size_increment=Decimal("0.0001"),
        min_size=Decimal("0.0001"),
        suggested_size=Decimal(100),
        order_types=facts_file()["order_types"]["STK"],
        valid_exchanges=exchanges,
        market_rule_ids=_rule_for_each("26", exchanges),
        industry=industry,
        category=category,
        subcategory=subcategory,
        stock_type=stock_type,
        isin=isin,
        derivative_sec_types=("CFD", "OPT", "IOPT", "WAR", "BAG"),
        reference_price=Decimal(price),
        annual_volatility=volatility,
        typical_spread_ticks=spread,
        average_daily_volume=volume,
        market_correlation=facts_file()["etf_market_correlation"].get(symbol, 0.55),
    )


def _pair(row: list[Any]) -> Instrument:
    con_id, symbol, currency, name, min_tick, rule, price, volatility, spread = row
    pair = f"{symbol}.{currency}"
    return Instrument(
        con_id=con_id,
        symbol=symbol,
        sec_type="CASH",
        currency=currency,
        exchange="IDEALPRO",
        primary_exchange="IDEALPRO",
        local_symbol=pair,
        trading_class=pair,
        long_name=name,
        market_name=pair,
        min_tick=Decimal(min_tick),
        calendar="FX",
        order_types=facts_file()["order_types"]["CASH"],
        valid_exchanges=facts_file()["valid_exchanges"]["CASH"],
        market_rule_ids=rule,
        agg_group=4,
        reference_price=Decimal(price),
        annual_volatility=volatility,
        typical_spread_ticks=spread,
        average_daily_volume=0,
    )


def _index(row: list[Any]) -> Instrument:
    con_id, symbol, name, exchange, min_tick, price, volatility, correlation = row
    return Instrument(
        con_id=con_id,
        symbol=symbol,
        sec_type="IND",
        currency="USD",
        exchange=exchange,
        primary_exchange=exchange,
        local_symbol=symbol,
        trading_class=symbol,
        long_name=name,
        market_name=symbol,
        min_tick=Decimal(min_tick),
        tz_id="US/Central",
        valid_exchanges=facts_file()["valid_exchanges"]["IND"],
        market_rule_ids="26",
        shortable=False,
        derivative_sec_types=("OPT", "FUT"),
        reference_price=Decimal(price),
        annual_volatility=volatility,
        average_daily_volume=0,
        market_correlation=float(correlation),
    )


@lru_cache(maxsize=512)
def es_future(month: int, con_id: int) -> Instrument:
    """The E-mini S&P 500 future of a month (YYYYMM). Expires on the third Friday, or the session before a holiday."""
    year, quarter = divmod(month, 100)
    first = date(year, quarter, 1)
    third_friday = first + timedelta(days=(4 - first.weekday()) % 7 + 14)
    expiry = sessions.last_session_on_or_before("XNYS", third_friday)
    exchanges = facts_file()["valid_exchanges"]["FUT"]
    return Instrument(
        con_id=con_id,
        symbol="ES",
        sec_type="FUT",
        currency="USD",
        exchange="CME",
        local_symbol=f"ES{QUARTER_CODES[quarter]}{year % 10}",
        trading_class="ES",
        long_name="E-mini S&P 500",
        market_name="ES",
        min_tick=Decimal("0.25"),
        multiplier=Decimal(50),
        multiplier_text="50",
        expiry=f"{expiry:%Y%m%d}",
        contract_month=str(month),
        last_trade_date_time=f"{expiry:%Y%m%d} 08:30:00 US/Central",
        tz_id="US/Central",
        calendar="CME",
        order_types=facts_file()["order_types"]["FUT"],
        valid_exchanges=exchanges,
        market_rule_ids=_rule_for_each("67", exchanges),
        under_con_id=_ES_UNDERLYING,
        under_symbol="ES",
        under_sec_type="IND",
        agg_group=2147483647,
        reference_price=Decimal(7000),
        annual_volatility=0.16,
        average_daily_volume=1_500_000,
        market_correlation=0.995,
    )


def _rule_for_each(rule: str, exchanges: str) -> str:
    return ",".join([rule] * len(exchanges.split(",")))
