"""An account's figures as the websocket tells them: differences put together, under TWS's keys. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from ibkr_connector.backends.facts import AccountValueSeen, PnlSeen
from ibkr_connector.backends.web import convert
from ibkr_connector.models.account import PnL

_LEDGER_KEYS = {
    "cashbalance": "CashBalance",
    "netliquidationvalue": "NetLiquidationByCurrency",
    "unrealizedpnl": "UnrealizedPnL",
    "realizedpnl": "RealizedPnL",
    "marketvalue": "StockMarketValue",
    "exchangerate": "ExchangeRate",
    "interest": "AccruedCash",
    "dividends": "AccruedDividend",
    "corporatebondsmarketvalue": "CorporateBondValue",
    "issueoptionsmarketvalue": "IssuerOptionValue",
    "moneyfunds": "MoneyMarketFundValue",
    "funds": "MutualFundValue",
    "optionmarketvalue": "OptionMarketValue",
    "tbillsmarketvalue": "TBillValue",
    "tbondsmarketvalue": "TBondValue",
    "warrantsmarketvalue": "WarrantValue",
    "cashbalancefxsegment": "FxCashBalance",
}
"""Fields of `sld` rows in lower case, and the key that TWS tells the same figure under."""
_PROFIT_KEYS = {"nl": "NetLiquidation"}
"""Fields of `spl` rows that are figures of the account, in its base currency."""


class AccountFigures:
    """What is known of one account."""

    def __init__(self, account: str, now: Callable[[], datetime]) -> None:
        self.account = account
        self._now = now
        self._base = ""
        self._realized: Decimal | None = None
        self._profit: dict[str, Any] = {}

    def summary(self, row: Mapping[str, Any]) -> Iterator[AccountValueSeen]:
        """A row of `ssd`: a key, and what is new of it (nothing, where it stands)."""
        key, currency = convert.text(row.get("key")), convert.text(row.get("currency"))
        amount = convert.decimal(row.get("monetaryValue"))
        value = f"{amount:.2f}" if amount is not None and currency else convert.text(row.get("value"))
        if not key or not value:
            return
        if key == "NetLiquidation":
            self._base = currency
        yield AccountValueSeen(account=self.account, key=key, value=value, currency=currency)

    def ledger(self, row: Mapping[str, Any]) -> Iterator[AccountValueSeen | PnlSeen]:
        """A row of `sld`: one currency, or BASE. A new realised profit is told as `spl` would: that has none."""
        if convert.text(row.get("acctCode")) != self.account:
            return
        told = {name.lower(): value for name, value in row.items()}
        currency = convert.text(told.get("secondkey"))
        before = self._realized
        for name, key in _LEDGER_KEYS.items():
            amount = convert.decimal(told.get(name))
            if amount is None or not currency:
                continue
            if key == "RealizedPnL" and currency == "BASE":
                self._realized = amount
            value = convert.format_number(amount) if key == "ExchangeRate" else f"{amount:.2f}"
            yield AccountValueSeen(account=self.account, key=key, value=value, currency=currency)
            if key == "CashBalance":
                yield AccountValueSeen(account=self.account, key="TotalCashBalance", value=value, currency=currency)
        if self._profit and self._realized != before:
            yield self._pnl()

    def profit(self, row: Mapping[str, Any]) -> Iterator[AccountValueSeen | PnlSeen]:
        """A row of `spl`: today's and the open positions' profit. What is realised is told by the ledger."""
        self._profit |= row
        for name, key in _PROFIT_KEYS.items():
            amount = convert.decimal(row.get(name))
            if amount is not None and self._base:
                yield AccountValueSeen(account=self.account, key=key, value=f"{amount:.2f}", currency=self._base)
        yield self._pnl()

    def _pnl(self) -> PnlSeen:
        return PnlSeen(
            pnl=PnL(
                account=self.account,
                daily=convert.decimal(self._profit.get("dpl")),
                unrealized=convert.decimal(self._profit.get("upl")),
                realized=self._realized,
                as_of=self._now(),
            )
        )
