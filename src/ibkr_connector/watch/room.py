"""Everything that watches one connector: health, metrics, the server, and incidents about breakers and the account."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from decimal import Decimal, InvalidOperation
from typing import Any

from ibkr_connector.backends.base import ConnectInfo
from ibkr_connector.backends.facts import AccountValueSeen, BrokerFact, ExecutionSeen, PositionSeen
from ibkr_connector.config.settings import AlertSettings, WatchSettings
from ibkr_connector.errors import ConnectorClosed
from ibkr_connector.events import BreakerChanged, Severity
from ibkr_connector.logs import get_logger
from ibkr_connector.models.contract import Contract
from ibkr_connector.portfolio.service import Portfolio
from ibkr_connector.resilience import BreakerState
from ibkr_connector.resilience.breaker_types import BreakerChange
from ibkr_connector.session.session import Session
from ibkr_connector.session.thread import SessionThread
from ibkr_connector.watch.account import MarginWatch, PositionWatch
from ibkr_connector.watch.health import Health
from ibkr_connector.watch.lookout import Figures, Lookout
from ibkr_connector.watch.metrics import make_registry
from ibkr_connector.watch.server import WatchServer

_log = get_logger(__name__)
_ANSWER_S = 2.0
"""How long the session's loop may take to answer before it counts as stuck."""
_OPEN = (BreakerState.OPEN, BreakerState.FORCED_OPEN)


class Watch:
    """Made with the connector; the server runs from `start` to `stop`."""

    def __init__(
        self,
        *,
        lookout: Lookout,
        session: Session,
        portfolio: Portfolio,
        thread: SessionThread,
        settings: WatchSettings,
        thresholds: AlertSettings,
        profile: str,
    ) -> None:
        self._lookout = lookout
        self._session = session
        self._portfolio = portfolio
        self._thread = thread
        self._margin = MarginWatch(thresholds.margin_cushion)
        self._positions = PositionWatch(thresholds.position_change)
        self._seen: dict[int, tuple[str, Decimal | None]] = {}
        """Of each contract once held: its name, and what a unit was worth."""
        self._registry: Any = None
        self._making = threading.Lock()
        self._server: WatchServer | None = None
        if settings.http_port is not None:
            self._server = WatchServer(
                host=settings.http_host,
                port=settings.http_port,
                name=profile,
                health=self.health,
                alive=self._alive,
                registry=self.registry(),
            )
        for breaker in session.guard.breakers:
            breaker.subscribe(self._on_breaker)
        session.on_ready("watch", self._on_ready)
        session.on_fact(self._on_fact)

    # --- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen, if the settings say so. Blocks for the moment that takes. An address in use is told, not raised:
        trading does not wait for somebody to watch it.
        """
        server = self._server
        if server is None or server.port:
            return
        try:
            server.start()
        except (OSError, concurrent.futures.TimeoutError) as error:
            why = f"{type(error).__name__}: {error}"
            _log.error("metrics and health are not served", error=why)
            self._session.incident("watch_unavailable", why, Severity.WARNING)

    def stop(self) -> None:
        """Stop listening. Idempotent."""
        if self._server is not None:
            self._server.stop()

    @property
    def port(self) -> int:
        """Where /metrics, /livez and /readyz are served; 0 = nowhere."""
        return 0 if self._server is None else self._server.port

    # --- looking ---------------------------------------------------------------------------------------------------

    def health(self) -> Health:
        """Every plane now; any thread, without waiting."""
        return self._lookout.health()

    def registry(self) -> Any:
        """The connector's own prometheus_client registry; needs the extra `metrics`."""
        with self._making:
            if self._registry is None:
                self._registry = make_registry(self._figures)
            return self._registry

    def _figures(self) -> Figures | None:
        """Read on the session loop; None when that does not answer in time."""
        if not self._thread.started or self._thread.is_current:
            return self._lookout.figures()

        async def look() -> Figures:
            return self._lookout.figures()

        try:
            return self._thread.submit(look()).result(_ANSWER_S)
        except (concurrent.futures.TimeoutError, concurrent.futures.CancelledError, ConnectorClosed):
            return None

    async def _alive(self) -> bool:
        """Whether the session's loop comes round."""
        if not self._thread.started:
            return True

        async def answer() -> None:
            return None

        try:
            await asyncio.wait_for(asyncio.wrap_future(self._thread.submit(answer())), _ANSWER_S)
        except (TimeoutError, ConnectorClosed):
            return False
        return True

    # --- what is told of breakers and account ----------------------------------------------------------------------

    def _on_breaker(self, change: BreakerChange) -> None:
        self._session.publish(
            BreakerChanged(
                at=self._session.clock.now(),
                severity=Severity.WARNING if change.state in _OPEN else Severity.INFO,
                plane=change.name,
                previous=change.previous.value,
                state=change.state.value,
                reason=change.reason,
                cooldown=change.cooldown,
            )
        )
        if change.state in _OPEN and change.previous not in _OPEN:
            severity = Severity.CRITICAL if change.name == "orders" else Severity.WARNING
            forced = change.state is BreakerState.FORCED_OPEN
            how_long = "until an operator resets it" if forced else f"for {change.cooldown:.0f} s"
            text = f"the {change.name} breaker opened {how_long}: {change.reason}"
            self._session.incident("breaker_open", text, severity, about=change.name)

    async def _on_ready(self, info: ConnectInfo) -> None:
        """Everything was read: compare it with what was known before the outage."""
        del info
        held = {
            position.contract.con_id: position.quantity
            for position in self._portfolio.positions.snapshot
            if position.account == self._portfolio.account_id
        }
        self._positions.begin(held)
        for con_id in {*self._seen, *held}:
            self._look_at_position(con_id)
        self._look_at_margin()

    def _on_fact(self, fact: BrokerFact) -> None:
        if isinstance(fact, AccountValueSeen) and fact.key in ("ExcessLiquidity", "NetLiquidation"):
            self._look_at_margin()
        elif isinstance(fact, ExecutionSeen) and fact.execution.account == self._portfolio.account_id:
            self._look_at_position(fact.execution.contract.con_id, fact.execution.price)
        elif isinstance(fact, PositionSeen) and fact.position.account == self._portfolio.account_id:
            self._look_at_position(fact.position.contract.con_id)

    def _look_at_margin(self) -> None:
        account, book = self._portfolio.account_id, self._portfolio.account
        cushion = self._margin.observe(book.amount(account, "NetLiquidation"), book.amount(account, "ExcessLiquidity"))
        if cushion is not None:
            severity = Severity.CRITICAL if cushion <= 0 else Severity.WARNING
            text = f"excess liquidity is {cushion:.1%} of net liquidation"
            self._session.incident("margin_low", text, severity, cushion=float(cushion))

    def _look_at_position(self, con_id: int, price: Decimal | None = None) -> None:
        if not self._portfolio.is_synchronised:
            return  # a snapshot in the making: what is missing in it has not been sold
        account = self._portfolio.account_id
        position = self._portfolio.positions.find(account, con_id)
        if position is None:
            name, value = self._seen.get(con_id, ("", None))  # closed while nobody was connected
            quantity = Decimal(0)
        else:
            contract, quantity = position.contract, position.quantity
            name = contract.local_symbol or contract.symbol
            value = self._unit_value(contract, price or position.market_price, position.avg_cost)
            self._seen[con_id] = (name, value)
        worth = self._portfolio.account.amount(account, "NetLiquidation")
        now = self._session.clock.monotonic()
        change = self._positions.observe(con_id, quantity, value, worth, now)
        if change is not None and worth:
            text = (
                f"{name} went to {quantity:f}: {change:+,.0f} within a minute, {abs(change) / worth:.0%} of "
                "net liquidation"
            )
            self._session.incident("position_change", text, Severity.WARNING, about=name, change=float(change))

    def _unit_value(self, contract: Contract, price: Decimal | None, cost: Decimal | None) -> Decimal | None:
        """What one unit is worth in base currency."""
        rate = self._portfolio.account.exchange_rates(self._portfolio.account_id).get(contract.currency)
        if rate is None:
            return None
        if price is None:
            return None if cost is None else cost * rate
        try:
            return price * Decimal(contract.multiplier or 1) * rate
        except InvalidOperation:
            return None
