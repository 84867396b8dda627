"""The house, put together: which room is given what, and in which order they wake after a connect."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from datetime import datetime
from typing import Any

from ibkr_connector.account_files import AccountFiles
from ibkr_connector.alerts.room import Alerts
from ibkr_connector.api.account import AccountApi
from ibkr_connector.api.breakers import BreakersApi
from ibkr_connector.api.contracts import ContractsApi
from ibkr_connector.api.history import HistoryApi
from ibkr_connector.api.market import MarketApi
from ibkr_connector.api.orders import OrdersApi
from ibkr_connector.api.risk import RiskApi
from ibkr_connector.backends.base import Capabilities, ConnectInfo, MarketDataKind
from ibkr_connector.backends.factory import with_endpoint
from ibkr_connector.backends.facts import AccountValueSeen, BrokerFact, PnlSeen, SocketClosed
from ibkr_connector.config import Settings
from ibkr_connector.contracts.lookup import ContractBook
from ibkr_connector.errors import (
    ConnectorClosed,
    RequestTimeout,
    TradingError,
)
from ibkr_connector.events import Incident, Severity
from ibkr_connector.ground import Ground
from ibkr_connector.history.fetch import HistoryFetcher
from ibkr_connector.identity import choose_account
from ibkr_connector.logs import get_logger, install_redaction
from ibkr_connector.orders.closing import OpenOrders, increasing
from ibkr_connector.orders.flatten import Flattener
from ibkr_connector.orders.manager import OrderManager
from ibkr_connector.orders.watchman import Watchman
from ibkr_connector.portfolio.service import Portfolio
from ibkr_connector.prefetch import GateFeed
from ibkr_connector.resilience.rules import Lane
from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.risk.limits import RiskLimits
from ibkr_connector.risk.state import TradingAction
from ibkr_connector.secrets import Secret, Secrets
from ibkr_connector.session.lines import LineLeases
from ibkr_connector.session.link import LinkNews, LinkState
from ibkr_connector.session.shared import SharedRead
from ibkr_connector.streams.hub import QuoteHub
from ibkr_connector.watch.lookout import Lookout
from ibkr_connector.watch.room import Watch
from ibkr_connector.wiring import wire

_log = get_logger(__name__)
_CLOSE_S = 30.0
"""How long the rooms may take to close before the session's thread is ended without them."""


class House:
    """All rooms of one connector. Made cheaply; threads and sockets come with `connect`."""

    def __init__(self, settings: Settings, *, allow_live: bool, profile: str, ground: Ground | None = None) -> None:
        ground = ground or Ground()
        self.settings = settings = with_endpoint(settings)
        self.clock = ground.clock
        self.bus = ground.bus()
        self.thread = ground.thread(f"ibkr-{profile}")
        self.closed = False
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._closing: Future[None] | None = None
        self._disconnecting: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._allow_live = allow_live
        self._password = Secret(settings.connection.password.get_secret_value())
        connection = settings.connection
        self.secrets = Secrets.of(settings, clock=self.clock)
        wired = wire(settings, ground=ground, bus=self.bus, secrets=self.secrets)
        self.session, guard, word = wired.session, wired.guard, wired.word
        self.time = SharedRead(self.session, self.clock, "the time", self.session.backend.server_time)
        self.book = ContractBook(self.session)
        self.hub = QuoteHub(
            self.session,
            LineLeases(settings.pacing.market_data_lines),
            lines_end_silently=connection.backend == "web",
        )
        self.portfolio = Portfolio(self.session)
        self.engine = RiskEngine(
            RiskLimits.from_settings(settings.risk_limits, agents=settings.agents, symbols=settings.symbols)
        )
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
        self.flattener = Flattener(
            session=self.session,
            manager=self.manager,
            portfolio=self.portfolio,
            engine=self.engine,
            bus=self.bus,
            clock=self.clock,
        )
        self.files = AccountFiles(
            settings,
            clock=self.clock,
            session=self.session,
            portfolio=self.portfolio,
            manager=self.manager,
            engine=self.engine,
            open_file=ground.journal,
        )
        self.watchman = Watchman(
            engine=self.engine,
            bus=self.bus,
            clock=self.clock,
            audit=self.files.audit,
            acts={
                TradingAction.CANCEL: self.flattener.cancel_as_told,
                TradingAction.FLATTEN: self.flattener.flatten_as_told,
            },
            able=lambda: self.manager.desk.journal is not None and self.session.link.state is LinkState.READY,
        )
        self.orders = OrdersApi(self.thread, self.manager, self.flattener)
        self.account = AccountApi(self.thread, self.portfolio, timeout)
        self.contracts = ContractsApi(self.thread, self.book, timeout)
        self.market = MarketApi(self.thread, self.book, self.hub, timeout)
        self.history = HistoryApi(self.thread, self.book, HistoryFetcher(self.session), timeout)
        self.breakers = BreakersApi(guard, word, self.clock)
        self.risk = RiskApi(self.engine, self.clock, self.bus)
        self.session.on_ready("account", self._identify)
        self.session.on_ready("broker time", self._ask_time)
        self.session.on_ready("pacing", self.files.recall_pacing)
        self.session.on_ready("journal", self._open_files)
        self.session.on_ready("orders", self.manager.sync)
        self.session.on_ready("portfolio", self.portfolio.sync)
        self.session.on_ready("market data", self._choose_market_data)
        self.session.on_ready("risk", self._arm)
        self.session.on_ready("streams", self._resubscribe)
        self.session.on_fact(self._on_fact)
        self.session.on_link_news(self._on_link_news)
        self.watch = self._watch(profile)
        self.alerts = Alerts(
            settings.alerts, source=f"{profile} ({settings.mode})", clock=self.clock, meters=self.session.meters
        )
        for note in settings.notes:
            _log.warning("configuration", note=note)

    def _watch(self, profile: str) -> Watch:
        lookout = Lookout(
            session=self.session,
            manager=self.manager,
            portfolio=self.portfolio,
            engine=self.engine,
            hub=self.hub,
            bus=self.bus,
            account_view=self.feed.account_view,
        )
        return Watch(
            lookout=lookout,
            session=self.session,
            portfolio=self.portfolio,
            thread=self.thread,
            settings=self.settings.watch,
            thresholds=self.settings.alerts,
            profile=profile,
        )

    # --- life ------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Start the session thread and connect on it."""
        self._require_open()
        await asyncio.to_thread(self._start)
        await self.thread.run(self.session.connect())
        install_redaction()

    def _start(self) -> None:
        """Threads and listeners, once; what watches is there before the first attempt to connect."""
        with self._starting:
            self.thread.start()
            self.alerts.start(self.bus)
            self.watch.start()
            with contextlib.suppress(RuntimeError, ConnectorClosed):
                self.thread.loop.call_soon_threadsafe(self.thread.loop.set_exception_handler, self._on_loop_error)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What no coroutine of ours caught: a bug, told and logged."""
        error = context.get("exception")
        self.session.incident("unexpected_exception", f"{context.get('message')}: {type(error).__name__}: {error}")
        loop.default_exception_handler(context)

    async def disconnect(self) -> None:
        """End the connection. Begun, it is done to the end, whether or not its caller waits; close() does it too."""
        if self.closed:
            await self.close()
        elif self.thread.started:
            await self.thread.run(self._disconnect())

    async def _disconnect(self) -> None:
        if self._disconnecting is None or self._disconnecting.done():
            self._disconnecting = asyncio.create_task(self.session.disconnect(), name="ibkr-disconnect")
        await asyncio.shield(self._disconnecting)

    async def ready(self, timeout: float) -> None:
        """Wait until orders can be placed."""
        self._require_open()
        self.thread.start()
        await self.thread.run(self.session.ready(timeout))

    async def close(self, open_orders: str = OpenOrders.LEAVE) -> None:
        """End everything. All callers, of any thread and loop, share one close, and learn how it went.

        What becomes of open orders, the first caller says.

        It has a thread of its own: begun, it is done to the end, whatever becomes of its callers and their loops.
        """
        with self._lock:
            self.closed = True
            closing = self._closing
            if closing is None:
                closing = self._closing = Future()
                closing.set_running_or_notify_cancel()  # so that a caller that leaves cannot cancel it
                work = (closing, OpenOrders(open_orders))
                threading.Thread(target=self._close, args=work, name="ibkr-close", daemon=True).start()
        if self.thread.is_current:
            return  # it ends this very loop: waiting for that here would never end
        await asyncio.wrap_future(closing)

    def _close(self, closing: Future[None], open_orders: OpenOrders) -> None:
        """On a thread of its own."""
        try:
            if self.thread.started:
                self.thread.submit(self._close_rooms(open_orders)).result(_CLOSE_S)
            problem: BaseException | None = None
        except BaseException as error:  # noqa: BLE001 - told to whoever waits; what is left ends with the thread
            problem = error
            if isinstance(error, TimeoutError) and not isinstance(error, TradingError):
                problem = RequestTimeout(f"not everything could be closed in {_CLOSE_S:g} s; the rest was cut off.")
            _log.error("the connector did not close in order", error=repr(problem))
        self.thread.stop()
        self.watch.stop()
        self.alerts.stop()
        self.bus.close()
        if problem is None:
            closing.set_result(None)
        else:
            closing.set_exception(problem)

    async def _close_rooms(self, open_orders: OpenOrders) -> None:
        """Every room in its turn, whatever the others say; the first failure is told at the end."""
        self.session.link.held = "the connector is being closed"  # nothing new may come behind the cancels
        steps: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("open orders", lambda: self._leave_orders(open_orders)),
            ("streams", self._close_streams),
            ("trading state", self.watchman.close),
            ("orders", self.manager.close),
            ("audit export", self.files.close_export),
            ("order updates", self._close_updates),
            ("connection", self.session.close),
            ("journal", self.files.close_unused),
        ]
        failures: list[Exception] = []
        for name, step in steps:
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - the other rooms are closed all the same
                _log.exception("a room did not close in order", room=name)
                failures.append(error)
        if failures:
            raise failures[0]

    async def _leave_orders(self, policy: OpenOrders) -> None:
        """Cancel what is not to be left at the broker. Without a connection the cancels are kept for the next one."""
        if policy is OpenOrders.LEAVE:
            return
        table = self.manager.desk.table
        chosen = [live for live in [*table.unsent(), *table.open()] if live.record.ours]
        if policy is OpenOrders.CANCEL_INCREASING:
            account, positions = self.portfolio.account_id, self.portfolio.positions
            refs = {
                order.order_ref
                for order in increasing(
                    [live.snapshot for live in table.open()],
                    lambda con_id, sign: positions.worst(account, con_id, sign),
                )
            }
            chosen = [live for live in chosen if live.ref in refs or not live.record.committed]
        await self.manager.cancel_chosen(chosen, min(self.settings.orders.order_deadline, _CLOSE_S / 2))

    async def _close_streams(self) -> None:
        if self._warming is not None:
            await asyncio.gather(self._warming, return_exceptions=True)
        self.hub.close()
        self.portfolio.close()

    async def _close_updates(self) -> None:
        self.manager.desk.end_streams()

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
        shown = account if connection.mode == "paper" else f"{account[:2]}***{account[-2:]}"
        self.session.incident(
            "credential_use",
            f"client {connection.client_id} of {connection.host}:{connection.port} acts for {shown} "
            f"({connection.mode})",
            Severity.WARNING if connection.mode == "live" else Severity.INFO,
            about=f"client {connection.client_id}",
        )

    async def _open_files(self, info: ConnectInfo) -> None:
        if await self.files.open(info):
            self.secrets.attach(self.files.audit)
            self.watchman.start()

    async def _ask_time(self, info: ConnectInfo) -> None:
        del info
        await self.session.ask_time(self.settings.connection.request_timeout)

    async def _choose_market_data(self, info: ConnectInfo) -> None:
        del info
        connection = self.settings.connection
        kind = MarketDataKind(connection.market_data)
        if kind is not MarketDataKind.LIVE:  # what every connection begins with
            await self.session.pace(Lane.MARKET, timeout=connection.request_timeout)
            self.session.backend.set_market_data(kind)

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
        return not self.closed and not self.connected and self.session.guard.connect_wait() <= 0

    async def server_time(self) -> datetime:
        """Ask the broker's clock."""
        self._require_open()
        timeout = self.settings.connection.request_timeout
        return await self.thread.run(self.time.read(timeout))

    def status(self) -> dict[str, Any]:
        """The guide's keys, and ours."""
        link = self.session.link
        journal = self.manager.desk.journal
        health = self.watch.health()
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
            "audit_head": None if journal is None else journal.head[1],
            "journal_writable": None if journal is None else journal.writable,
            "trading_state": self.engine.trading.state.value,
            **self.session.guard.status(),
            "ready": {plane.value: one.ready for plane, one in health.planes.items()},
            "not_ready": {plane.value: list(one.reasons) for plane, one in health.planes.items() if not one.ready},
            "listeners": [one.to_dict() for one in self.bus.listeners],
        }
