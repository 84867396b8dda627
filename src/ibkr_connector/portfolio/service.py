"""The account of the session, kept current: positions, figures, P&L, executions of the day."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

from ibkr_connector.backends.base import ACCOUNT_FEED_MESSAGES, ConnectInfo
from ibkr_connector.backends.facts import (
    AccountValueSeen,
    BrokerFact,
    CommissionSeen,
    ExecutionSeen,
    PnlSeen,
    PositionSeen,
    SocketClosed,
)
from ibkr_connector.errors import IBKRConnectionError, RequestTimeout, TradingError
from ibkr_connector.logs import get_logger
from ibkr_connector.models.account import AccountSummary, Execution, PnL, PortfolioPnL, Position
from ibkr_connector.portfolio.account import AccountBook
from ibkr_connector.portfolio.executions import ExecutionBook
from ibkr_connector.portfolio.positions import PositionBook
from ibkr_connector.resilience import Lane
from ibkr_connector.session.session import Session

_log = get_logger(__name__)
_SNAPSHOT_TRIES = 4
_REMEMBER = timedelta(days=8)
_SETTLE_S = 1.5
"""How long position messages may disagree with executions before a new snapshot is asked for, and commissions be ahead
of their executions before those are."""


class Portfolio:
    """Reads through the session, listens to its facts. Used on the session loop; snapshots may be read anywhere."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.positions = PositionBook()
        self.account = AccountBook()
        self.executions = ExecutionBook()
        self.account_id = ""
        self._complete = False
        self._settling: asyncio.TimerHandle | None = None
        self._refresh: asyncio.Task[None] | None = None
        session.on_fact(self.on_fact)

    @property
    def is_current(self) -> bool:
        """Whether the figures come from the connection that is up now."""
        return self._complete and self._session.link.reconciled

    @property
    def is_synchronised(self) -> bool:
        """Whether account and positions were read whole on the connection that is up now."""
        return self._complete

    # --- synchronising --------------------------------------------------------------------------------------------

    async def sync(self, info: ConnectInfo) -> None:
        """The start-up step: account values and positions, complete, then live updates."""
        del info
        self._complete = False
        self.executions.forget_before(self._session.broker_now() - _REMEMBER)
        timeout = self._session.settings.request_timeout
        await self.refresh_account(timeout)
        await self.refresh_positions(timeout)
        await self._session.pace(Lane.ACCOUNT, timeout=timeout, units=ACCOUNT_FEED_MESSAGES)
        self._session.backend.subscribe_account(self.account_id)
        self._complete = True

    async def refresh_account(self, timeout: float) -> None:
        """Ask for every account value."""
        rows = await self._session.read(
            "account values",
            lambda left: self._session.backend.account_values(self.account_id, left),
            timeout=timeout,
        )
        self.account.install(self.account_id, rows, self._session.clock.now())

    async def refresh_positions(self, timeout: float) -> None:
        """Ask for a complete snapshot; again while executions arrive in the middle of it, or nothing explains it."""
        for _ in range(_SNAPSHOT_TRIES):
            mark = self.positions.begin_snapshot()
            found = await self._session.read("positions", self._session.backend.positions, timeout=timeout)
            if self.positions.install(found, mark):
                return
        _log.warning("positions keep changing while they are read; gates take the worse of both figures")

    # --- facts ----------------------------------------------------------------------------------------------------

    def on_fact(self, fact: BrokerFact) -> None:
        """Take in what the broker says about the account."""
        if isinstance(fact, ExecutionSeen):
            self.executions.on_execution(fact.execution)
            if self.positions.on_execution(fact.execution):
                self._check_agreement()
        elif isinstance(fact, CommissionSeen):
            self.executions.on_commission(fact)
            self._check_agreement()
        elif isinstance(fact, PositionSeen):
            self.positions.on_position(fact.position)
            self._check_agreement()
        elif isinstance(fact, AccountValueSeen):
            self.account.on_value(fact, self._session.clock.now())
        elif isinstance(fact, PnlSeen):
            self.account.pnl[fact.pnl.account] = fact.pnl
        elif isinstance(fact, SocketClosed):
            self._complete = False

    @property
    def _disagrees(self) -> bool:
        return bool(self.positions.diverging() or self.executions.missing)

    def _check_agreement(self) -> None:
        if self._settling is None and self._complete and self._disagrees:
            self._settling = asyncio.get_running_loop().call_later(_SETTLE_S, self._settle)

    def _settle(self) -> None:
        self._settling = None
        if not self._complete or not self._disagrees:
            return
        if self._refresh is not None and not self._refresh.done():
            self._check_agreement()  # what it asked for may be older than what disagrees now
            return
        self._refresh = asyncio.create_task(self._settle_now(), name="ibkr-positions")

    async def _settle_now(self) -> None:
        timeout = self._session.settings.request_timeout
        try:
            # First what explains it: a snapshot would hold fills that the orders' reservations do not know of, and the
            # limits would count them on one side only. What is told flows in as facts. A correction of a price alone
            # moves no position: that it got lost is known by its commission only.
            missing = self.executions.missing
            told = await self._session.read("executions", self._session.backend.executions, timeout=timeout)
            self.executions.asked(missing, complete=told.complete)
            if self.positions.diverging():
                await self.refresh_positions(timeout)
            if self.executions.missing:
                self._check_agreement()
        except (IBKRConnectionError, TradingError) as error:
            _log.warning("positions and executions could not be read again", error=str(error))
            self._check_agreement()

    def close(self) -> None:
        """Stop timers and tasks."""
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        if self._refresh is not None:
            self._refresh.cancel()

    # --- answers --------------------------------------------------------------------------------------------------

    def require_current(self) -> None:
        """Raise unless the figures are live: NotConnected; ConnectionLost while connecting; BrokerLinkLost (1100)."""
        if not self.is_current:
            raise self._session.unavailable("account figures are not current")

    def held(self) -> tuple[Position, ...]:
        """Open positions of the account, live. Raises like `require_current`."""
        self.require_current()
        return tuple(p for p in self.positions.snapshot if p.account == self.account_id)

    def summary(self) -> AccountSummary:
        """The account's main figures, live."""
        self.require_current()
        return self.account.summary(self.account_id, self.held())

    def cash(self, currency: str | None) -> Decimal:
        """Cash in one currency, or in all, converted to base currency."""
        self.require_current()
        cash = self.account.cash(self.account_id, currency)
        if cash is None and currency is not None:
            return Decimal(0)
        if cash is None:
            raise RequestTimeout(f"the broker has not told the cash of {self.account_id} yet.")
        return cash

    def profit(self) -> PortfolioPnL:
        """The portfolio's totals, base currency."""
        self.require_current()
        summary = self.account.summary(self.account_id, ())
        pnl = self.account.pnl.get(self.account_id)
        held = self.held()
        unrealized = _first(pnl.unrealized if pnl else None, self.account.amount(self.account_id, "UnrealizedPnL"))
        realized = _first(pnl.realized if pnl else None, self.account.amount(self.account_id, "RealizedPnL"))
        if unrealized is None:
            unrealized = sum((p.unrealized_pnl or Decimal(0) for p in held), Decimal(0))
        return PortfolioPnL(
            cash_balance=summary.total_cash,
            total_value=summary.net_liquidation,
            unrealized=unrealized,
            realized=realized if realized is not None else Decimal(0),
            daily=pnl.daily if pnl else None,
            positions_count=len(held),
            as_of=self._session.clock.now(),
        )

    def pnl(self) -> PnL | None:
        """IBKR's own profit and loss of the account, if told."""
        return self.account.pnl.get(self.account_id)

    def executions_of_day(self) -> tuple[Execution, ...]:
        """Executions the broker told of (its day, and what came since), oldest first, with their commissions."""
        return self.executions.all()


def _first(*values: Decimal | None) -> Decimal | None:
    return next((value for value in values if value is not None), None)
