"""`connector.account`: positions, figures, profit and loss, executions."""

from __future__ import annotations

import re
from decimal import Decimal

from ibkr_connector.models.account import AccountSummary, Execution, PortfolioPnL, Position
from ibkr_connector.models.arguments import wrong
from ibkr_connector.portfolio.service import Portfolio
from ibkr_connector.session.thread import SessionThread

_CURRENCY = re.compile(r"[A-Za-z]{3}")


class AccountApi:
    """The account of this connector. Figures are live snapshots the broker keeps current; `refresh=True` asks again."""

    def __init__(self, thread: SessionThread, portfolio: Portfolio, timeout: float) -> None:
        self._thread = thread
        self._portfolio = portfolio
        self._timeout = timeout

    @property
    def account_id(self) -> str:
        """The account orders go to; empty before the first connect."""
        return self._portfolio.account_id

    async def positions(self, *, refresh: bool = False) -> list[Position]:
        """Open positions. An empty list means the broker confirmed there are none.

        Raises:
            NotConnected: there is no synchronised connection; a snapshot of unknown age is never passed off as live.
        """
        if refresh:
            await self._thread.run(self._portfolio.refresh_positions(self._timeout))
        return list(self._portfolio.held())

    async def summary(self, *, refresh: bool = False) -> AccountSummary:
        """Net liquidation, cash, buying power, margins, in the account's base currency."""
        if refresh:
            await self._thread.run(self._portfolio.refresh_account(self._timeout))
        return self._portfolio.summary()

    async def cash(self, currency: str | None = None) -> Decimal:
        """Cash held in `currency` (three letters), or (None) all of it converted to the base currency."""
        return self._portfolio.cash(None if currency is None else _currency(currency))

    async def pnl(self) -> PortfolioPnL:
        """Totals of the portfolio, base currency."""
        return self._portfolio.profit()

    async def executions(self) -> list[Execution]:
        """Executions of the broker's day that this client may see, oldest first, with commissions where reported."""
        self._portfolio.require_current()
        return list(self._portfolio.executions_of_day())


def _currency(value: str) -> str:
    given: object = value
    if not isinstance(given, str) or not _CURRENCY.fullmatch(given.strip()):
        raise wrong("currency", value, "three letters (USD), or None for all of it")
    return given.strip().upper()
