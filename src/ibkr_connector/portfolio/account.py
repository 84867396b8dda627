"""Account figures: every value the broker sent, and the summary made of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation

from ibkr_connector.backends.facts import AccountValueSeen
from ibkr_connector.errors import ProtocolError
from ibkr_connector.models.account import AccountSummary, PnL, Position

_NEEDED = ("NetLiquidation", "TotalCashValue", "BuyingPower", "AvailableFunds")


@dataclass(slots=True)
class AccountBook:
    """Values of the accounts of the login; written on the session loop."""

    values: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)
    pnl: dict[str, PnL] = field(default_factory=dict)
    as_of: dict[str, datetime] = field(default_factory=dict)
    base_currency: dict[str, str] = field(default_factory=dict)

    def on_value(self, seen: AccountValueSeen, at: datetime) -> None:
        """Take in one value."""
        self.values.setdefault(seen.account, {})[seen.key, seen.currency] = seen.value
        self.as_of[seen.account] = at
        if seen.key == "NetLiquidation" and seen.currency not in ("", "BASE"):
            self.base_currency[seen.account] = seen.currency

    def install(self, account: str, rows: list[AccountValueSeen], at: datetime) -> None:
        """Take in a complete answer."""
        for row in rows:
            self.on_value(row, at)

    def amount(self, account: str, key: str) -> Decimal | None:
        """A figure in the account's base currency, or None if it was not sent or is no number."""
        rows = self.values.get(account, {})
        base = self.base_currency.get(account, "")
        for currency in (base, "BASE", ""):
            value = _decimal(rows.get((key, currency)))
            if value is not None:
                return value
        return None

    def exchange_rates(self, account: str) -> dict[str, Decimal]:
        """Units of base currency per unit of each currency, as the broker told them."""
        rates = {
            currency: rate
            for (key, currency), text in self.values.get(account, {}).items()
            if key == "ExchangeRate" and (rate := _decimal(text)) is not None and rate > 0
        }
        base = self.base_currency.get(account)
        if base:
            rates[base] = Decimal(1)
        return rates

    def cash(self, account: str, currency: str | None = None) -> Decimal | None:
        """Cash of one currency, or the total in base currency."""
        if currency is None:
            return self.amount(account, "TotalCashValue")
        rows = self.values.get(account, {})
        for key in ("CashBalance", "TotalCashBalance"):
            value = _decimal(rows.get((key, currency)))
            if value is not None:
                return value
        return None

    def summary(self, account: str, positions: tuple[Position, ...]) -> AccountSummary:
        """The main figures. Raises `ProtocolError` when the broker has not sent one of them."""
        missing = [key for key in _NEEDED if self.amount(account, key) is None]
        if missing:
            raise ProtocolError(f"the broker sent no {', '.join(missing)} for account {account}.", account=account)

        def need(key: str) -> Decimal:
            return self.amount(account, key) or Decimal(0)

        trades = self.amount(account, "DayTradesRemaining")
        return AccountSummary(
            account_id=account,
            currency=self.base_currency.get(account, "USD"),
            net_liquidation=need("NetLiquidation"),
            total_cash=need("TotalCashValue"),
            buying_power=need("BuyingPower"),
            available_funds=need("AvailableFunds"),
            equity_with_loan=self.amount(account, "EquityWithLoanValue"),
            gross_position_value=self.amount(account, "GrossPositionValue"),
            init_margin=self.amount(account, "InitMarginReq"),
            maint_margin=self.amount(account, "MaintMarginReq"),
            excess_liquidity=self.amount(account, "ExcessLiquidity"),
            day_trades_remaining=None if trades is None else int(trades),
            as_of=self.as_of.get(account),
            positions=tuple(p for p in positions if p.account == account),
            values=_flat(self.values.get(account, {})),
        )


def _flat(rows: Mapping[tuple[str, str], str]) -> dict[str, str]:
    return {f"{key} ({currency})" if currency else key: value for (key, currency), value in rows.items()}


def _decimal(text: str | None) -> Decimal | None:
    if text is None or text == "":
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() else None
