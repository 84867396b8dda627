"""An account's figures in the Web API's many forms: flat numbers, texts with thousands commas, rows, ledgers."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from ..exchange.types import AccountValue
from .calls import Json

ZERO: Final = Decimal(0)
_UNIT: Final = Decimal(1)

_LEDGER: Final = {
    "futuremarketvalue": "FuturesPNL",
    "settledcash": "CashBalance",
    "cashbalance": "CashBalance",
    "netliquidationvalue": "NetLiquidationByCurrency",
    "unrealizedpnl": "UnrealizedPnL",
    "realizedpnl": "RealizedPnL",
    "stockmarketvalue": "StockMarketValue",
    "exchangerate": "ExchangeRate",
    "futuresonlypnl": "FuturesPNL",
    "interest": "AccruedCash",
    "dividends": "AccruedDividend",
}
"""Fields of a ledger that the exchange knows, and the account value each is taken from."""
_LEDGER_ZERO: Final = (
    "commoditymarketvalue", "corporatebondsmarketvalue", "warrantsmarketvalue", "moneyfunds", "funds",
    "issueroptionsmarketvalue", "stockoptionmarketvalue", "tbondsmarketvalue", "futureoptionmarketvalue",
    "cashbalancefxsegment", "tbillsmarketvalue", "cryptocurrencyvalue",
)  # fmt: skip

NOT_IN_SUMMARY: Final = frozenset({"AccountOrGroup", "RealCurrency", "ExchangeRate"})
_SEGMENTED: Final = frozenset(
    {
        "accruedcash", "accrueddividend", "availablefunds", "billable", "cushion", "equitywithloanvalue",
        "excessliquidity", "fullavailablefunds", "fullexcessliquidity", "fullinitmarginreq", "fullmaintmarginreq",
        "grosspositionvalue", "guarantee", "indianstockhaircut", "initmarginreq", "lookaheadavailablefunds",
        "lookaheadexcessliquidity", "lookaheadinitmarginreq", "lookaheadmaintmarginreq", "maintmarginreq",
        "netliquidation", "pasharesvalue", "physicalcertificatevalue", "postexpirationexcess",
        "postexpirationmargin", "totalcashvalue", "totaldebitcardpendingcharges",
    }
)  # fmt: skip
"""Rows a real summary repeats for the commodities (-c) and securities (-s) segments."""

SEGMENTS: Final = ("Crypto at Paxos", "commodities", "securities")


class Figures:
    """The figures of one account at one moment."""

    def __init__(self, account: str, rows: list[AccountValue], base: str = "USD") -> None:
        self.account = account
        self.base = base
        self._rows = rows
        self._by_key = {(row.key, row.currency): row.value for row in rows}

    def get(self, key: str, currency: str | None = None) -> Decimal:
        """An amount: of a ledger currency, or (None) the account's."""
        for where in (self.base, "") if currency is None else (currency,):
            text = self._by_key.get((key, where))
            if text is not None:
                return Decimal(text)
        return ZERO

    @property
    def currencies(self) -> list[str]:
        """The currencies the account has a ledger in."""
        return [row.currency for row in self._rows if row.key == "CashBalance" and row.currency != "BASE"]

    def whole(self, key: str) -> float:
        """An amount in whole units."""
        return float(self.get(key).quantize(_UNIT, ROUND_HALF_EVEN))

    # --- /iserver/account/{id}/summary -------------------------------------------------------------------------------

    def overview(self) -> Json:
        """The flat overview."""
        cash = [
            {
                "currency": currency,
                "balance": _whole(self.get("CashBalance", currency)),
                "settledCash": _whole(self.get("CashBalance", currency)),
            }
            for currency in self.currencies
        ]
        if len(cash) > 1:
            total = _whole(self.get("TotalCashValue"))
            cash.append({"currency": f"Total (in {self.base})", "balance": total, "settledCash": total})
        return {
            "accountType": "",
            "status": "",
            "balance": self.whole("AvailableFunds"),
            "SMA": self.whole("SMA"),
            "buyingPower": self.whole("BuyingPower"),
            "availableFunds": self.whole("AvailableFunds"),
            "excessLiquidity": self.whole("ExcessLiquidity"),
            "netLiquidationValue": self.whole("NetLiquidation"),
            "equityWithLoanValue": self.whole("EquityWithLoanValue"),
            "regTLoan": 0.0,
            "securitiesGVP": self.whole("GrossPositionValue"),
            "totalCashValue": self.whole("TotalCashValue"),
            "accruedInterest": 0.0,
            "regTMargin": self.whole("RegTMargin"),
            "initialMargin": self.whole("InitMarginReq"),
            "maintenanceMargin": self.whole("MaintMarginReq"),
            "cashBalances": cash,
        }

    def _table(self, columns: Mapping[str, str], plain: frozenset[str] = frozenset()) -> Json:
        """Total and segments; everything is in securities here. Texts like `994,831 USD`."""

        def text(name: str, value: Decimal) -> str:
            return f"{value:.2f}" if name in plain else f"{money(value)} {self.base}"

        total = {name: text(name, self.get(key)) for name, key in columns.items()}
        nothing = {name: text(name, ZERO) for name in columns}
        return {"total": total, SEGMENTS[0]: nothing, SEGMENTS[1]: nothing, SEGMENTS[2]: total}

    def available_funds(self) -> Json:
        """What could be spent."""
        columns = {
            "current_available": "AvailableFunds",
            "current_excess": "ExcessLiquidity",
            "buying_power": "BuyingPower",
            "leverage": "Leverage-S",
            "look_ahead_available": "LookAheadAvailableFunds",
            "look_ahead_excess": "LookAheadExcessLiquidity",
        }
        return self._table(columns, frozenset({"leverage"}))

    def balances(self) -> Json:
        """What is there."""
        columns = {
            "net_liquidation": "NetLiquidation",
            "equity_with_loan": "EquityWithLoanValue",
            "cash": "TotalCashValue",
            "MTD Interest": "",
            "previous_day_equity_with_loan": "PreviousDayEquityWithLoanValue",
        }
        return self._table(columns)

    def margins(self) -> Json:
        """What is required."""
        columns = {
            "current_initial": "InitMarginReq",
            "current_maint": "MaintMarginReq",
            "look_ahead_initial": "LookAheadInitMarginReq",
            "look_ahead_maint": "LookAheadMaintMarginReq",
            "RegT Margin": "RegTMargin",
        }
        return self._table(columns)

    def market_value(self) -> Json:
        """Values by currency, without naming it."""
        columns = {
            "total_cash": "CashBalance",
            "stock": "StockMarketValue",
            "options": "OptionMarketValue",
            "futures": "FuturesPNL",
            "net_liquidation": "NetLiquidationByCurrency",
            "unrealized_pnl": "UnrealizedPnL",
            "realized_pnl": "RealizedPnL",
        }
        return {
            currency: {name: money(self.get(key, currency)) for name, key in columns.items()}
            for currency in self.currencies
        }

    # --- /portfolio/{id} ---------------------------------------------------------------------------------------------

    def summary(self, at: int) -> dict[str, Json]:
        """Rows by lower-case key; `at` in seconds."""
        found: dict[str, Json] = {}
        for row in self._rows:
            if row.currency in {"", self.base} and row.key not in NOT_IN_SUMMARY:
                found.setdefault(row.key.lower(), _summary_row(row.value, row.currency or None, at))
        for key in _SEGMENTED & found.keys():
            securities = found[key]
            found[f"{key}-c"] = _summary_row("0.00", securities["currency"], at)
            found[f"{key}-s"] = securities
        return dict(sorted(found.items()))

    def ledger(self, at: int) -> dict[str, Json]:
        """One object per currency, and BASE."""
        return {currency: self._ledger_of(currency, at) for currency in [*self.currencies, "BASE"]}

    def _ledger_of(self, currency: str, at: int) -> Json:
        known: dict[str, Json] = {name: float(self.get(key, currency)) for name, key in _LEDGER.items()}
        rate = self.get("ExchangeRate", currency)
        return {
            **known,
            **dict.fromkeys(_LEDGER_ZERO, 0.0),
            "exchangerate": 1 if rate == 1 else float(rate),
            "sessionid": 1,
            "currency": currency,
            "acctcode": self.account,
            "key": "LedgerList",
            "timestamp": at,
            "severity": 0,
            "secondkey": currency,
            "endofbundle": 1,
        }


def money(value: Decimal) -> str:
    """Whole units with commas: `994,831`."""
    rounded = value.quantize(_UNIT, ROUND_HALF_EVEN)
    return f"{rounded or 0:,}"


def _whole(value: Decimal) -> float:
    return float(value.quantize(_UNIT, ROUND_HALF_EVEN))


def _summary_row(value: str, currency: str | None, at: int) -> Json:
    try:
        number = float(value) if currency is not None else 0.0
    except ValueError:
        number = 0.0
    # Real rows keep numbers as texts as well, without superfluous zeros at the end.
    text = f"{number:.2f}".rstrip("0").rstrip(".") if currency is not None else value
    return {"amount": number, "currency": currency, "isNull": False, "timestamp": at, "value": text, "severity": 0}
