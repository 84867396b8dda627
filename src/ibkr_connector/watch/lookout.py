"""Looking at every room at once: the figures for metrics, and the health of each plane.

`figures` reads what belongs to the session loop and is called there; `health` reads flags and immutable snapshots, and
may be called on any thread, also while the loop is stuck.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib import metadata

from ibkr_connector.events import EventBus, ListenerLag
from ibkr_connector.meters import Counted
from ibkr_connector.orders.manager import OrderManager
from ibkr_connector.orders.readiness import order_checks
from ibkr_connector.portfolio.service import Portfolio
from ibkr_connector.resilience import BreakerSnapshot, BreakerState, PacerSnapshot
from ibkr_connector.risk.engine import RiskEngine
from ibkr_connector.risk.view import RiskView
from ibkr_connector.session.link import LinkState
from ibkr_connector.session.session import Session
from ibkr_connector.streams.hub import QuoteHub
from ibkr_connector.watch.health import Health, HealthCheck, Plane, PlaneHealth, farms_check


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything that metrics tell, read at one moment."""

    backend: str
    library: str
    version: str
    python: str
    state: LinkState
    broker_link: bool
    reconciled: bool
    epoch: int
    last_message_age: float | None
    breakers: tuple[BreakerSnapshot, ...]
    pacing: PacerSnapshot
    lines_used: int
    lines_limit: int
    orders_in_doubt: int
    orders_open: int
    journal_writable: bool | None
    halted: bool
    daily_loss_ratio: float | None
    listeners: tuple[ListenerLag, ...]
    counted: Counted
    ready: Mapping[Plane, bool]


class Lookout:
    """Sees all rooms; touches none."""

    def __init__(
        self,
        *,
        session: Session,
        manager: OrderManager,
        portfolio: Portfolio,
        engine: RiskEngine,
        hub: QuoteHub,
        bus: EventBus,
        account_view: Callable[[], RiskView],
    ) -> None:
        self._session = session
        self._manager = manager
        self._portfolio = portfolio
        self._engine = engine
        self._hub = hub
        self._bus = bus
        self._account_view = account_view

    # --- health ----------------------------------------------------------------------------------------------------

    def health(self) -> Health:
        """Every plane now. Any thread."""
        self._session.guard.heed()
        checks = {
            Plane.MARKET_DATA: (*self._connected(), *self._reads(), self._farms("market_data")),
            Plane.HISTORY: (*self._connected(), *self._reads(), self._farms("history")),
            Plane.ORDERS: self._orders(),
            Plane.ACCOUNT: (*self._connected(), *self._reads(), self._figures_current()),
        }
        planes = {plane: PlaneHealth(plane, found) for plane, found in checks.items()}
        return Health(self._session.clock.now(), planes)

    def _connected(self) -> tuple[HealthCheck, ...]:
        found = dict(self._session.link.order_checks())
        return tuple(HealthCheck(name, found[name]) for name in ("connection", "broker_link"))

    def _reads(self) -> tuple[HealthCheck, ...]:
        return (_breaker_check(self._session.guard.reads.snapshot(self._session.clock.monotonic())),)

    def _farms(self, kind: str) -> HealthCheck:
        link = self._session.link
        return farms_check(kind, dict(link.farms), dict(link.farm_kinds))

    def _figures_current(self) -> HealthCheck:
        fine = self._portfolio.is_current
        return HealthCheck("figures", "" if fine else "account figures are not current")

    def _orders(self) -> tuple[HealthCheck, ...]:
        """The same words with which an order that adds risk is refused."""
        session = self._session
        breaker = _breaker_check(session.guard.orders.snapshot(session.clock.monotonic()))
        found = [HealthCheck(name, why) for name, why in order_checks(self._session, self._manager.desk)]
        return (*found, breaker, HealthCheck("risk", self._why_not_armed()))

    def _why_not_armed(self) -> str:
        if not self._engine.control.is_stored:
            return "the account's risk limits are not armed before the first connect"
        if not self._portfolio.is_current:
            return "the account figures that the risk gates need are not current"
        return self._engine.why_no_risk

    # --- figures ---------------------------------------------------------------------------------------------------

    def figures(self) -> Figures:
        """Everything now. On the session loop (or where there is none)."""
        session, link = self._session, self._session.link
        now = session.clock.monotonic()
        journal = self._manager.desk.journal
        capabilities = session.backend.capabilities
        health = self.health()
        return Figures(
            backend=capabilities.name,
            library=capabilities.library,
            version=_version(),
            python=platform.python_version(),
            state=link.state,
            broker_link=link.broker_link,
            reconciled=link.reconciled,
            epoch=link.epoch,
            last_message_age=now - session.last_fact if session.last_fact else None,
            breakers=tuple(one.snapshot(now) for one in session.guard.breakers),
            pacing=session.guard.pacing(),
            lines_used=self._hub.lines[0],
            lines_limit=self._hub.lines[1],
            orders_in_doubt=len(self._manager.in_doubt()),
            orders_open=len(self._manager.desk.table.open()),
            journal_writable=None if journal is None else journal.writable,
            halted=bool(self._engine.trading.why_halted),
            daily_loss_ratio=self._loss_ratio(),
            listeners=self._bus.listeners,
            counted=session.meters.read(),
            ready={plane: one.ready for plane, one in health.planes.items()},
        )

    def _loss_ratio(self) -> float | None:
        limit = self._engine.limits.daily_loss_limit
        loss = self._engine.day_figures(self._account_view()).loss
        if limit is None or loss is None:
            return None
        return float(loss / limit) if limit else (0.0 if loss <= Decimal(0) else float("inf"))


@cache
def _version() -> str:
    try:
        return metadata.version("ibkr-connector")
    except metadata.PackageNotFoundError:
        return "unknown"


def _breaker_check(snapshot: BreakerSnapshot) -> HealthCheck:
    if snapshot.state not in (BreakerState.OPEN, BreakerState.FORCED_OPEN):
        return HealthCheck("breaker")
    forced = snapshot.state is BreakerState.FORCED_OPEN
    how_long = "until an operator resets it" if forced else f"for {snapshot.retry_after:.0f} s"
    return HealthCheck("breaker", f"the {snapshot.name} breaker is open {how_long}: {snapshot.reason}")
