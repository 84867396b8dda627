"""The house, put together: which room is given what, and in which order they wake after a connect."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any

from ibkr_connector.api.account import AccountApi
from ibkr_connector.api.contracts import ContractsApi
from ibkr_connector.api.history import HistoryApi
from ibkr_connector.api.market import MarketApi
from ibkr_connector.api.orders import OrdersApi
from ibkr_connector.api.risk import RiskApi
from ibkr_connector.backends.base import (
    AccountValueSeen,
    BrokerFact,
    Capabilities,
    ConnectInfo,
    PnlSeen,
    SocketClosed,
)
from ibkr_connector.backends.tws.client import TwsBackend
from ibkr_connector.clock import system_clock
from ibkr_connector.config import Settings
from ibkr_connector.contracts.lookup import ContractBook
from ibkr_connector.errors import ConnectorClosed
from ibkr_connector.events import EventBus, Incident, Severity
from ibkr_connector.history.fetch import HistoryFetcher
from ibkr_connector.identity import choose_account
from ibkr_connector.logs import get_logger, install_redaction
from ibkr_connector.orders.journal import Journal
from ibkr_connector.orders.manager import OrderManager
from ibkr_connector.portfolio.service import Portfolio
from ibkr_connector.prefetch import GateFeed
from ibkr_connector.risk.daily_loss import DailyLoss
from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.risk.limits import RiskLimits
from ibkr_connector.risk.state import TradingControl
from ibkr_connector.secrets import Secret
from ibkr_connector.session.guard import Guard
from ibkr_connector.session.lines import LineLeases
from ibkr_connector.session.link import LinkNews, LinkState
from ibkr_connector.session.session import Session
from ibkr_connector.session.thread import SessionThread
from ibkr_connector.streams.hub import QuoteHub

_log = get_logger(__name__)
_TRADING_KEY = "trading_state"
_DAY_KEY = "daily_loss"
_REMEMBER = timedelta(days=8)
"""Ended orders this young are remembered: the broker can repeat their executions for a week."""


class House:
    """All rooms of one connector. Made cheaply; threads and sockets come with `connect`."""

    def __init__(self, settings: Settings, *, allow_live: bool, profile: str) -> None:
        self.settings = settings
        self.clock = system_clock
        self.bus = EventBus()
        self.thread = SessionThread(f"ibkr-{profile}")
        self.closed = False
        self._warming: asyncio.Task[None] | None = None
        self._allow_live = allow_live
        self._password = Secret(settings.connection.password.get_secret_value())
        connection = settings.connection
        rng = random.Random()  # noqa: S311 - jitter, not secrecy
        backend = TwsBackend(tws_library=connection.tws_library, clock=self.clock)
        guard = Guard(
            connection=connection, pacing=settings.pacing, breaker=settings.breaker, clock=self.clock, rng=rng
        )
        self.session = Session(
            backend=backend,
            settings=connection,
            guard=guard,
            clock=self.clock,
            bus=self.bus,
            time_scale=settings.time.time_scale,
            rng=rng,
        )
        self.book = ContractBook(self.session)
        self.hub = QuoteHub(self.session, LineLeases())
        self.portfolio = Portfolio(self.session)
        self.engine = RiskEngine(RiskLimits.from_settings(settings.risk_limits))
        self.feed = GateFeed(
            session=self.session,
            book=self.book,
            hub=self.hub,
            portfolio=self.portfolio,
            limits=self.engine.limits,
            live=settings.mode == "live",
        )
        self.manager = OrderManager(
            session=self.session,
            risk=self.engine,
            prefetch=self.feed.prepare,
            lookup=lambda contract: self.book.details(contract, connection.request_timeout),
            settings=settings.orders,
            bus=self.bus,
            clock=self.clock,
            account=lambda: self.portfolio.account_id,
        )
        timeout = connection.request_timeout
        self.orders = OrdersApi(self.thread, self.manager)
        self.account = AccountApi(self.thread, self.portfolio, timeout)
        self.contracts = ContractsApi(self.thread, self.book, timeout)
        self.market = MarketApi(self.thread, self.book, self.hub, timeout)
        self.history = HistoryApi(self.thread, self.book, HistoryFetcher(self.session), timeout)
        self.risk = RiskApi(self.engine, self.clock)
        self.session.on_ready("account", self._identify)
        self.session.on_ready("broker time", self._ask_time)
        self.session.on_ready("journal", self._open_journal)
        self.session.on_ready("orders", self.manager.sync)
        self.session.on_ready("portfolio", self.portfolio.sync)
        self.session.on_ready("risk", self._arm)
        self.session.on_ready("streams", self._resubscribe)
        self.session.on_fact(self._on_fact)
        self.session.on_link_news(self._on_link_news)
        for note in settings.notes:
            _log.warning("configuration", note=note)

    # --- life ------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Start the session thread and connect on it."""
        self._require_open()
        self.thread.start()
        await self.thread.run(self.session.connect())
        install_redaction()

    async def disconnect(self) -> None:
        """End the connection."""
        if not self.closed and self.thread.started:
            await self.thread.run(self.session.disconnect())

    async def ready(self, timeout: float) -> None:
        """Wait until orders can be placed."""
        self._require_open()
        self.thread.start()
        await self.thread.run(self.session.ready(timeout))

    async def close(self) -> None:
        """End everything. Idempotent."""
        if self.closed:
            return
        self.closed = True
        if self.thread.started:
            await self.thread.run(self._close_rooms())
            if self.thread.is_current:
                self.thread.stop()
            else:
                await asyncio.to_thread(self.thread.stop)
        await asyncio.to_thread(self.bus.close)

    async def _close_rooms(self) -> None:
        if self._warming is not None:
            await asyncio.gather(self._warming, return_exceptions=True)
        self.hub.close()
        self.portfolio.close()
        await self.manager.close()
        await self.session.close()

    def _require_open(self) -> None:
        if self.closed:
            raise ConnectorClosed("the connector was closed.")

    # --- what happens after a connect, in this order -----------------------------------------------------------------

    async def _identify(self, info: ConnectInfo) -> None:
        """Check whose account this is before anything else is asked or written (INV-07)."""
        connection = self.settings.connection
        account = choose_account(
            info.accounts, mode=connection.mode, pinned=connection.account_id, allow_live=self._allow_live
        )
        self.portfolio.account_id = account

    async def _open_journal(self, info: ConnectInfo) -> None:
        """The journal of this account, and what it remembers; once, on the first connect."""
        del info
        if self.manager.desk.journal is not None or self.settings.connection.read_only:
            return
        loop = asyncio.get_running_loop()
        account = self.portfolio.account_id
        journal = await loop.run_in_executor(
            None, lambda: Journal.open(self.settings.paths.state_dir, account, self.clock)
        )
        self.engine.attach(
            TradingControl(lambda: journal.meta(_TRADING_KEY), lambda data: journal.put_meta(_TRADING_KEY, data)),
            DailyLoss(lambda: journal.meta(_DAY_KEY), lambda data: journal.put_meta(_DAY_KEY, data)),
        )
        self.manager.open_journal(journal, self.session.broker_now() - _REMEMBER)

    async def _ask_time(self, info: ConnectInfo) -> None:
        del info
        await self.session.ask_time(self.settings.connection.request_timeout)

    async def _arm(self, info: ConnectInfo) -> None:
        del info
        self._observe_account()
        if self._warming is None:
            self._warming = asyncio.create_task(self.feed.warm(), name="ibkr-warm")

    async def _resubscribe(self, info: ConnectInfo) -> None:
        del info
        await self.hub.resubscribe()

    def _on_fact(self, fact: BrokerFact) -> None:
        if isinstance(fact, SocketClosed):
            self.hub.lost()
        elif isinstance(fact, PnlSeen) or (isinstance(fact, AccountValueSeen) and fact.key == "NetLiquidation"):
            self._observe_account()

    def _observe_account(self) -> None:
        """Follow the loss of the day with every figure the broker sends."""
        if self.engine.observe(self.feed.account_view()):
            self.bus.publish(
                Incident(
                    at=self.clock.now(),
                    severity=Severity.CRITICAL,
                    kind="daily_loss",
                    text="the daily loss limit was passed: orders that add risk are refused until the next day",
                    context=self.engine.status(),
                )
            )

    def _on_link_news(self, news: LinkNews) -> None:
        if news.what != "broker" and news.up and self.session.link.state is LinkState.READY:
            self.hub.retry_lost()

    # --- looking -----------------------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """What the backend can do."""
        return self.session.backend.capabilities

    @property
    def state(self) -> str:
        """The link's state."""
        return "closed" if self.closed else self.session.link.state.value

    @property
    def connected(self) -> bool:
        """Whether the session is ready."""
        return not self.closed and self.session.link.state is LinkState.READY

    def should_attempt(self) -> bool:
        """Whether `connect` would try now."""
        return not self.closed and not self.connected and self.session.connect_wait() <= 0

    async def server_time(self) -> datetime:
        """Ask the broker's clock."""
        self._require_open()
        timeout = self.settings.connection.request_timeout
        return await self.thread.run(self.session.read("the time", self.session.backend.server_time, timeout=timeout))

    def status(self) -> dict[str, Any]:
        """The guide's keys, and ours."""
        link = self.session.link
        journal = self.manager.desk.journal
        return {
            "connected": self.connected,
            "state": self.state,
            "reason": link.last_reason,
            "account_id": self.portfolio.account_id,
            "broker_link": link.broker_link,
            "reconciled": link.reconciled,
            "data_farms": dict(link.farms),
            "epoch": link.epoch,
            "server_version": self.session.info.server_version if self.session.info else None,
            "orders_in_doubt": len(self.manager.in_doubt()),
            "journal_writable": None if journal is None else journal.writable,
            "trading_state": self.engine.trading.state.value,
            **self.session.guard_status(),
        }
