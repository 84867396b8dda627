"""An account's figures as IBKR's rows of key, value and currency (updateAccountValue, accountSummary).

The keys and which of them carry a currency were taken from captured messages. Amounts that this gateway does not model
(bonds, funds, options, dividends, interest) are sent as zero, as a real account without them does.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from .accounts import Account
from .margin import Margin
from .types import ZERO, AccountValue

CENT = Decimal("0.01")
RATIO = Decimal("0.000001")
RATE = Decimal("0.0000001")

_UNUSED_IN_LEDGER = (
    "AccruedCash", "AccruedDividend", "CorporateBondValue", "Cryptocurrency", "FundValue", "FutureOptionValue",
    "IssuerOptionValue", "MoneyMarketFundValue", "MutualFundValue", "NetDividend", "OptionMarketValue", "TBillValue",
    "TBondValue", "WarrantValue",
)  # fmt: skip
_UNUSED = (
    "Billable", "Guarantee", "IndianStockHaircut", "NetLiquidationUncertainty", "PASharesValue",
    "PhysicalCertificateValue", "PostExpirationExcess", "PostExpirationMargin", "TotalDebitCardPendingCharges",
)  # fmt: skip


def amount(value: Decimal) -> str:
    """An amount of money, two decimals."""
    return f"{value.quantize(CENT, ROUND_HALF_EVEN):f}"


def account_values(account: Account, margin: Margin, now: datetime) -> list[AccountValue]:
    """Every row of an account, in alphabetical order of the keys."""
    rows = _facts(account) + _totals(account, margin, now)
    for currency in ["BASE", *sorted(account.cash)]:
        rows += _ledger(account, currency)
    return sorted(rows, key=lambda row: row.key)


def _row(key: str, value: str, currency: str = "") -> AccountValue:
    return AccountValue(key=key, value=value, currency=currency)


def _facts(account: Account) -> list[AccountValue]:
    facts = [
        ("AccountCode", account.name),
        ("AccountReady", "true"),
        ("AccountType", account.spec.account_type),
        ("DayTradesRemaining", "-1"),
        *((f"DayTradesRemainingT+{day}", "-1") for day in range(1, 5)),
        ("LookAheadNextChange", "0"),
        ("NLVAndMarginInReview", "false"),
        ("SegmentTitle-S", "US Securities"),
        ("TradingType-S", "STKCASH"),
        ("WhatIfPMEnabled", "true"),
    ]
    return [_row(key, value) for key, value in facts]


def _totals(account: Account, margin: Margin, now: datetime) -> list[AccountValue]:
    base = account.base
    cash = account.cash_in_base()
    equity = account.net_liquidation()
    held = margin.held(account)
    available, excess = equity - held.initial, equity - held.maintenance
    stocks = account.sum_positions("STK")
    gross = sum(
        (
            abs(account.market_value(p)) * account.rate(p.instrument.currency)
            for p in account.positions.values()
            if p.instrument.sec_type == "STK"
        ),
        ZERO,
    )
    money = {
        "AvailableFunds": available,
        "BuyingPower": margin.buying_power(account, equity, held, now),
        "EquityWithLoanValue": equity,
        "ExcessLiquidity": excess,
        "FullAvailableFunds": available,
        "FullExcessLiquidity": excess,
        "FullInitMarginReq": held.initial,
        "FullMaintMarginReq": held.maintenance,
        "GrossPositionValue": gross,
        "InitMarginReq": held.initial,
        "LookAheadAvailableFunds": available,
        "LookAheadExcessLiquidity": excess,
        "LookAheadInitMarginReq": held.initial,
        "LookAheadMaintMarginReq": held.maintenance,
        "MaintMarginReq": held.maintenance,
        "NetLiquidation": equity,
        "PreviousDayEquityWithLoanValue": account.day_start_value,
        "RegTEquity": cash + stocks,
        "RegTMargin": held.initial,
        "SMA": available,
        "SettledCash": cash,
        "TotalCashValue": cash,
    }
    rows = [_row(key, amount(value), base) for key, value in money.items()]
    rows += [_row(key, "0.00", base) for key in _UNUSED]
    cushion = (excess / equity).quantize(RATIO) if equity else ZERO
    leverage = (gross / equity).quantize(CENT) if equity > 0 else ZERO
    return [*rows, _row("Cushion", f"{cushion:f}"), _row("Leverage-S", f"{leverage:f}")]


def _ledger(account: Account, currency: str) -> list[AccountValue]:
    """The rows that exist once per currency, and once for all of them as `BASE`."""
    own = None if currency == "BASE" else currency
    cash = account.cash_in_base() if own is None else account.cash.get(own, ZERO)
    stocks = account.sum_positions("STK", currency=own)
    futures = account.sum_positions("FUT", currency=own)
    rate = Decimal(1) if own is None else account.rate(own)
    money = {
        "CashBalance": cash,
        "FuturesPNL": futures,
        "FxCashBalance": ZERO,
        "NetLiquidationByCurrency": cash + stocks + futures,
        "RealizedPnL": account.realized_in(own, today=True),
        "StockMarketValue": stocks,
        "TotalCashBalance": cash,
        "UnrealizedPnL": account.unrealized_in(own),
    }
    rows = [_row(key, amount(value), currency) for key, value in money.items()]
    rows += [_row(key, "0.00", currency) for key in _UNUSED_IN_LEDGER]
    rows.append(_row("AccountOrGroup", account.name, currency))
    rows.append(_row("ExchangeRate", f"{rate.quantize(RATE).normalize():f}" if rate != 1 else "1.00", currency))
    rows.append(_row("RealCurrency", account.base if own is None else own, currency))
    return rows
