"""Contract details (10), matching symbols (79) and their ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from .. import sessions
from ..instruments import Instrument
from . import versions
from .wire import number

Fields = list[str]

HOURS_DAYS: Final = 6
"""Dates listed in tradingHours and liquidHours, as in captured messages."""


def contract_details(version: int, request_id: int, item: Instrument, exchange: str, now: datetime) -> Fields:
    """Message 10, contractDetails. `exchange` is what the client asked for; trading hours begin on the day of `now`."""
    fields = ["10"]
    if version < versions.SIZE_RULES:
        fields += ["8"]
    fields += [
        str(request_id),
        item.symbol,
        item.sec_type,
        _last_trade_date(version, item),
        number(item.strike),
        item.right,
        exchange,
        item.currency,
        item.local_symbol,
        item.market_name,
        item.trading_class,
        str(item.con_id),
        number(item.min_tick),
    ]
    if version < versions.SIZE_RULES:
        fields += [str(item.md_size_multiplier)]
    today = now.astimezone(ZoneInfo(item.tz_id)).date()
    fields += [
        item.multiplier_text,
        item.order_types,
        item.valid_exchanges,
        str(item.price_magnifier),
        str(item.under_con_id),
        item.long_name,
        item.primary_exchange,
        item.contract_month,
        item.industry,
        item.category,
        item.subcategory,
        item.tz_id,
        sessions.trading_hours_text(item, today, HOURS_DAYS, liquid=False),
        sessions.trading_hours_text(item, today, HOURS_DAYS, liquid=True),
        "",  # evRule
        "",  # evMultiplier
        *(["1", "ISIN", item.isin] if item.isin else ["0"]),
        str(item.agg_group),
        item.under_symbol,
        item.under_sec_type,
        item.market_rule_ids,
        item.expiry,  # realExpirationDate
        item.stock_type,
    ]
    if version >= versions.SIZE_RULES:
        fields += [number(item.min_size), number(item.size_increment), number(item.suggested_size)]
    return fields


def contract_details_end(request_id: int) -> Fields:
    """Message 52, contractDetailsEnd."""
    return ["52", "1", str(request_id)]


def symbol_samples(version: int, request_id: int, items: Sequence[Instrument]) -> Fields:
    """Message 79, symbolSamples. Description and issuer came with 176."""
    fields = ["79", str(request_id), str(len(items))]
    for item in items:
        derivatives = item.derivative_sec_types
        fields += [
            str(item.con_id),
            item.symbol,
            item.sec_type,
            item.primary_exchange or item.exchange,
            item.currency,
            str(len(derivatives)),
            *derivatives,
        ]
        if version >= versions.BOND_ISSUER:
            fields += [item.long_name, ""]
    return fields


def option_parameters_end(request_id: int) -> Fields:
    """Message 76, securityDefinitionOptionParameterEnd."""
    return ["76", str(request_id)]


def _last_trade_date(version: int, item: Instrument) -> str:
    """The date field: empty, a date, or date, time and (from 174 on) zone."""
    text = item.last_trade_date_time or item.expiry
    return text if version >= versions.TIME_ZONES else " ".join(text.split(" ")[:2])
