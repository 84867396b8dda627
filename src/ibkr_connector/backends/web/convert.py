"""The Web API's JSON as our models. Its mixed types stop here: numbers are numbers, texts, texts with commas, null."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from ibkr_connector.backends.facts import AccountValueSeen
from ibkr_connector.errors import ProtocolError
from ibkr_connector.models.account import Position
from ibkr_connector.models.contract import Contract

_SMART_TYPES = frozenset({"STK", "OPT"})
_NUMBER = re.compile(r"[+-]?(\d[\d,]*)?(\.\d*)?([eE][+-]?\d{1,3})?")
_MULTIPLIED = frozenset({"FUT", "OPT", "FOP"})
_LONGEST = 64

Row = Mapping[str, Any]


def rows(body: Any, what: str) -> list[Row]:
    """A list of objects. Raises `ProtocolError`."""
    if not isinstance(body, list):
        raise ProtocolError(f"the answer to {what} is no list.")
    return [row for row in body if isinstance(row, dict)]


def text(value: Any) -> str:
    """A text; numbers as they are written, nothing as an empty one."""
    if value is None or isinstance(value, bool | dict | list):
        return ""
    return format_number(value) if isinstance(value, float) else str(value)


def decimal(value: Any) -> Decimal | None:
    """A number in any of its forms; None where there is none."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        if value != value or abs(value) >= 1e300:  # noqa: PLR0124 - NaN
            return None
        return Decimal(int(value)) if value == int(value) and abs(value) < 2**53 else Decimal(repr(value))
    if isinstance(value, str):
        written = value.strip()
        if len(written) > _LONGEST or not written or _NUMBER.fullmatch(written) is None:
            return None
        try:
            return Decimal(written.replace(",", ""))
        except InvalidOperation:
            return None
    return None


def integer(value: Any) -> int:
    """A whole number; 0 where there is none."""
    number = decimal(value)
    return int(number) if number is not None and abs(number) < 10**18 else 0


def format_number(value: Any) -> str:
    """A number without exponent and without zeros at its end."""
    number = decimal(value)
    if number is None:
        return ""
    shown = format(number, "f")
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def moment(milliseconds: Any) -> datetime | None:
    """Milliseconds since 1970 as UTC."""
    number = decimal(milliseconds)
    if number is None or not 0 < number < 10**14:
        return None
    return datetime.fromtimestamp(float(number) / 1000, UTC)


# --- contracts --------------------------------------------------------------------------------------------------------


def held_contract(reference: Row) -> Contract:
    """A row of trsrv/secdef as the contract in the form in which it is traded.

    Stocks and options go to SMART, with their listing exchange as the primary one; of others the exchange is told.
    """
    kind = text(reference.get("assetClass"))
    listed = text(reference.get("listingExchange"))
    smart = kind in _SMART_TYPES
    multiplier = format_number(reference.get("multiplier")) if kind in _MULTIPLIED else ""
    right = text(reference.get("putOrCall"))[:1].upper()
    return Contract(
        symbol=text(reference.get("ticker")),
        sec_type=kind,
        exchange="SMART" if smart else listed,
        currency=text(reference.get("currency")),
        con_id=integer(reference.get("conid")),
        primary_exchange=listed if smart else "",
        expiry=text(reference.get("expiry")),
        strike=float(decimal(reference.get("strike")) or 0),
        right=right if right in {"C", "P"} else "",
        multiplier="" if multiplier == "0" else multiplier,
        local_symbol=text(reference.get("fullName")),
    )


def at_smart(contract: Contract) -> Contract:
    """A stock in the form in which it is traded, wherever its details were asked for."""
    return replace(contract, exchange="SMART")


# --- accounts ---------------------------------------------------------------------------------------------------------


def position(account: str, row: Row, contract: Contract, at: datetime) -> Position:
    """A row of portfolio2."""
    return Position(
        account=account,
        contract=contract,
        quantity=decimal(row.get("position")) or Decimal(0),
        avg_cost=decimal(row.get("avgCost")) or Decimal(0),
        market_price=decimal(row.get("marketPrice")),
        market_value=decimal(row.get("marketValue")),
        unrealized_pnl=decimal(row.get("unrealizedPnl")),
        realized_pnl=decimal(row.get("realizedPnl")),
        as_of=at,
    )


SUMMARY_KEYS = (
    "AccountCode", "AccountReady", "AccountType", "AccruedCash", "AccruedDividend", "AvailableFunds", "Billable",
    "BuyingPower", "Cushion", "DayTradesRemaining", "DayTradesRemainingT+1", "DayTradesRemainingT+2",
    "DayTradesRemainingT+3", "DayTradesRemainingT+4", "EquityWithLoanValue", "ExcessLiquidity", "FullAvailableFunds",
    "FullExcessLiquidity", "FullInitMarginReq", "FullMaintMarginReq", "GrossPositionValue", "Guarantee",
    "IndianStockHaircut", "InitMarginReq", "LookAheadAvailableFunds", "LookAheadExcessLiquidity",
    "LookAheadInitMarginReq", "LookAheadMaintMarginReq", "LookAheadNextChange", "MaintMarginReq",
    "NetLiquidation", "NetLiquidationUncertainty", "NLVAndMarginInReview", "PASharesValue",
    "PhysicalCertificateValue", "PostExpirationExcess", "PostExpirationMargin", "PreviousDayEquityWithLoanValue",
    "RegTEquity", "RegTMargin", "SegmentTitle-S", "SettledCash", "SMA", "TotalCashValue",
    "TotalDebitCardPendingCharges", "TradingType-S", "WhatIfPMEnabled", "Leverage-S",
)  # fmt: skip
"""Keys as TWS writes them; the Web API writes the same ones in lower case."""
_BY_LOWER = {key.lower(): key for key in SUMMARY_KEYS}

_LEDGER_KEYS = {
    "cashbalance": "CashBalance",
    "netliquidationvalue": "NetLiquidationByCurrency",
    "unrealizedpnl": "UnrealizedPnL",
    "realizedpnl": "RealizedPnL",
    "stockmarketvalue": "StockMarketValue",
    "exchangerate": "ExchangeRate",
    "futuresonlypnl": "FuturesPNL",
    "interest": "AccruedCash",
    "dividends": "AccruedDividend",
    "corporatebondsmarketvalue": "CorporateBondValue",
    "futureoptionmarketvalue": "FutureOptionValue",
    "issueroptionsmarketvalue": "IssuerOptionValue",
    "moneyfunds": "MoneyMarketFundValue",
    "funds": "MutualFundValue",
    "stockoptionmarketvalue": "OptionMarketValue",
    "tbillsmarketvalue": "TBillValue",
    "tbondsmarketvalue": "TBondValue",
    "warrantsmarketvalue": "WarrantValue",
    "cashbalancefxsegment": "FxCashBalance",
    "cryptocurrencyvalue": "Cryptocurrency",
}
"""Fields of a ledger, and the key that TWS tells the same figure under."""


def summary_values(account: str, body: Any) -> list[AccountValueSeen]:
    """portfolio/{id}/summary under TWS's keys. Raises `ProtocolError`."""
    if not isinstance(body, dict):
        raise ProtocolError("the account summary is no object.")
    found = []
    for name, field in body.items():
        key = _BY_LOWER.get(str(name).lower())
        if key is None or not isinstance(field, dict) or field.get("isNull") is True:
            continue
        currency = text(field.get("currency"))
        amount = decimal(field.get("amount"))
        value = text(field.get("value"))
        if currency and amount is not None:
            value = f"{amount:.2f}"
        elif not value and amount is not None:
            value = format_number(amount)
        found.append(AccountValueSeen(account=account, key=key, value=value, currency=currency))
    return found


def ledger_values(account: str, body: Any) -> list[AccountValueSeen]:
    """portfolio/{id}/ledger under TWS's keys, one row per key and currency. Raises `ProtocolError`."""
    if not isinstance(body, dict):
        raise ProtocolError("the ledger is no object.")
    found = []
    for currency, ledger in body.items():
        if not isinstance(ledger, dict):
            continue
        for name, key in _LEDGER_KEYS.items():
            amount = decimal(ledger.get(name))
            if amount is None:
                continue
            value = format_number(amount) if key == "ExchangeRate" else f"{amount:.2f}"
            found.append(AccountValueSeen(account=account, key=key, value=value, currency=str(currency)))
            if key == "CashBalance":
                also = "TotalCashBalance"
            elif key == "MutualFundValue":
                also = "FundValue"
            else:
                continue
            found.append(AccountValueSeen(account=account, key=also, value=value, currency=str(currency)))
    return found


def missing(wanted: Iterable[int], known: Mapping[int, Any]) -> list[int]:
    """The con_ids that are not known yet, each once, in their order."""
    return [con_id for con_id in dict.fromkeys(wanted) if con_id and con_id not in known]
