"""What lies on the disk for one account: journal, trading state, audit export, pacing windows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from ibkr_connector.backends.base import ConnectInfo
from ibkr_connector.clock import Clock
from ibkr_connector.config import Settings
from ibkr_connector.errors import JournalError
from ibkr_connector.events import Severity
from ibkr_connector.ground import OpenJournal
from ibkr_connector.models.order import OrderRequest
from ibkr_connector.orders.journal import Journal
from ibkr_connector.orders.manager import OrderManager
from ibkr_connector.portfolio.service import Portfolio
from ibkr_connector.risk.daily_loss import DailyLoss
from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.risk.state import TradingControl
from ibkr_connector.session.session import Session
from ibkr_connector.session.windows import KeptWindows, PacingFiles
from ibkr_connector.trading import shared_control
from ibkr_connector.watch.audit import AuditExport

_TRADING_KEY = "trading_state"
_DAY_KEY = "daily_loss"
_EXPORTED_KEY = "audit_exported"
_REMEMBER = timedelta(days=8)
"""Ended orders this young are remembered: the broker can repeat their executions for a week."""


class AccountFiles:
    """Opens them on the first connect, and hands them to the rooms that use them."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock,
        session: Session,
        portfolio: Portfolio,
        manager: OrderManager,
        engine: RiskEngine,
        open_file: OpenJournal,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.session = session
        self.portfolio = portfolio
        self.manager = manager
        self.engine = engine
        self._open_file = open_file
        self._opening: asyncio.Future[Journal] | None = None
        self._journal_of = ""
        self._export: AuditExport | None = None

    async def open(self, info: ConnectInfo) -> bool:
        """The journal of this account, and what it remembers; once, on the first connect.

        The opening goes on when the connect is given up in the middle of it: its result belongs to the next connect, or
        to the close. Dropped, it would hold the account's lock for as long as the program runs. True: it was opened
        now.
        """
        del info
        if self.settings.connection.read_only:
            return False
        account = self.portfolio.account_id
        if self._journal_of not in ("", account):
            raise JournalError(
                f"the journal of {self._journal_of} is open, and the login now shows {account}.",
                remedy="Close the connector and make a new one: a connector keeps to one account.",
            )
        if self.manager.desk.journal is not None:
            return False
        if self._opening is None:
            self._opening = asyncio.get_running_loop().run_in_executor(None, self._journal, account)
            self._journal_of = account
        try:
            journal = await asyncio.shield(self._opening)
        except Exception:
            self._opening, self._journal_of = None, ""
            raise
        control = await asyncio.get_running_loop().run_in_executor(None, self._control, journal, account)
        day = DailyLoss(lambda: journal.meta(_DAY_KEY), lambda data: journal.put_meta(_DAY_KEY, data))
        self.engine.attach(control, day)
        if self.settings.agents:
            self.engine.start_agents(await asyncio.get_running_loop().run_in_executor(None, journal.agent_positions))
        if self.engine.remembers:
            self.engine.start_recent(await asyncio.get_running_loop().run_in_executor(None, self._recent, journal))
        try:
            self.manager.open_journal(journal, self.session.broker_now() - _REMEMBER)
        except BaseException:
            self.manager.desk.journal = None  # known in part only: the next connect must not go on with that
            raise
        self._opening = None
        self._export = self._start_export(journal, account)
        return True

    def _start_export(self, journal: Journal, account: str) -> AuditExport | None:
        path = self.settings.paths.audit_file
        if path is None:
            return None
        export = AuditExport(
            path,
            account=account,
            lines=lambda after: [line.to_dict() for line in journal.audit_lines(after)],
            position=int(journal.meta(_EXPORTED_KEY, 0)),
            on_copied=lambda seq: journal.put_meta(_EXPORTED_KEY, seq) if journal.writable else None,
            on_trouble=lambda why: self.session.incident("audit_export", why, Severity.WARNING),
        )
        journal.on_durable(export.notify)
        export.start()
        return export

    async def close_export(self) -> None:
        """Write out what is there, and end."""
        if self._export is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._export.close)

    async def recall_pacing(self, info: ConnectInfo) -> None:
        """What history was asked for before the program was started (once, on the first connect)."""
        del info
        account, client_id = self.portfolio.account_id, self.settings.connection.client_id

        def problem(text: str) -> None:
            self.session.incident("pacing_not_kept", text, Severity.WARNING)

        files = PacingFiles(self.settings.paths.state_dir, account, client_id, self.clock)
        await self.session.guard.keep_windows(KeptWindows(files, self.clock, problem))

    def _control(self, journal: Journal, account: str) -> TradingControl:
        """The trading state of the account, as every process sees it. Blocks; on a worker thread."""
        known = journal.meta(_TRADING_KEY)
        control = shared_control(self.settings.paths.state_dir, account, known=known)
        if known is None or "file" not in known:
            # From now on a record that is missing was lost, and with it perhaps a kill.
            journal.put_meta(_TRADING_KEY, {"file": True})
        return control

    def _recent(self, journal: Journal) -> list[tuple[float, OrderRequest]]:
        """What earlier runs sent lately, and when by the monotonic clock. Blocks; on a worker thread."""
        now, here = self.clock.now(), self.clock.monotonic()
        sent = journal.sent_since(now - timedelta(seconds=self.engine.remembers))
        # A machine whose clock was set back since then may show times to come: they count as now.
        return [(here - max(0.0, (now - at).total_seconds()), request) for at, request in sent]

    def audit(self, kind: str, data: Mapping[str, object]) -> None:
        """Add a line to the audit trail, once there is one."""
        if self.manager.desk.journal is not None:
            self.manager.desk.journal.audit(kind, data)

    def _journal(self, account: str) -> Journal:
        """Blocks; on a worker thread."""
        paths = self.settings.paths
        kept = max(timedelta(days=paths.keep_orders), _REMEMBER)
        # Broker time: orders are stamped with it, and a gateway may replay another year.
        before = self.session.broker_now() - kept if paths.keep_orders else None
        journal = self._open_file(paths.state_dir, account, self.clock, forget_before=before)
        journal.on_written(lambda seconds: self.session.meters.observe("audit_write", seconds))
        return journal

    async def close_unused(self) -> None:
        """One that was opened for a connect which nobody waited for any more."""
        opening, self._opening = self._opening, None
        if opening is not None:
            await asyncio.wait([opening])
            if not opening.cancelled() and opening.exception() is None:
                await asyncio.get_running_loop().run_in_executor(None, opening.result().close)
