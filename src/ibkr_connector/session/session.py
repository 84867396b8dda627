"""One connection to the broker, kept: connect, synchronise, watch, reconnect, and read through pace and breaker.

Upper rooms register what must happen after every (re)connect with `on_ready`, in order; the session is READY when all
of it is done. Everything here runs on the session loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, TypeVar

from ibkr_connector.backends.base import Backend, ConnectInfo, FactSink, HistoryRequest
from ibkr_connector.backends.facts import BrokerFact, SocketClosed, SystemNotice
from ibkr_connector.clock import Clock
from ibkr_connector.config.settings import ConnectionSettings
from ibkr_connector.errors import (
    BrokerLinkLost,
    ClientIdInUse,
    ConnectionLost,
    ConnectorClosed,
    IBKRConnectionError,
    NotConnected,
    OrderNotSent,
    RequestTimeout,
    TradingError,
)
from ibkr_connector.events import BrokerLinkChanged, Event, EventBus, Incident, LinkChanged, Severity
from ibkr_connector.logs import get_logger
from ibkr_connector.meters import Meters
from ibkr_connector.models.market import Bar
from ibkr_connector.resilience.pacing import Lane
from ibkr_connector.session.absence import Absence, KnownAbsences
from ibkr_connector.session.brokertime import BrokerTime
from ibkr_connector.session.flight import Flight
from ibkr_connector.session.guard import Guard
from ibkr_connector.session.keeper import LinkKeeper
from ibkr_connector.session.link import Link, LinkNews, LinkState
from ibkr_connector.session.permits import HeldSlot
from ibkr_connector.session.restart import GatewayRestart
from ibkr_connector.session.webpace import Leave

_T = TypeVar("_T")
_log = get_logger(__name__)
_WARNING = Severity.WARNING

Step = Callable[[ConnectInfo], Awaitable[None]]


class Session:
    """The link, and everything that keeps it."""

    def __init__(
        self,
        *,
        backend: Backend,
        settings: ConnectionSettings,
        guard: Guard,
        clock: Clock,
        bus: EventBus,
        time_scale: float = 1.0,
        rng: random.Random | None = None,
        meters: Meters | None = None,
        absences: KnownAbsences | None = None,
        restart: GatewayRestart | None = None,
    ) -> None:
        self._absences = absences
        self._restart = restart
        self.meters = meters or Meters()
        self.backend = backend
        self.settings = settings
        self.clock = clock
        self.link = Link()
        self.broker_time = BrokerTime(time_scale)
        self.info: ConnectInfo | None = None
        self.guard = guard
        self._bus = bus
        self._steps: list[tuple[str, Step]] = []
        self._sinks: list[FactSink] = []
        self._news: list[Callable[[LinkNews], None]] = []
        self._connecting: Flight[None] | None = None
        self._ending = asyncio.Lock()
        self._keeper = LinkKeeper(self, rng or random.Random())  # noqa: S311 - jitter, not secrecy
        self._stale = False
        """The broker link came back while the sync was under way: what was read before may be old."""
        self._changed = asyncio.Condition()
        self.last_fact = 0.0
        self.alive_at = 0.0
        """When the gateway last showed that it is there: monotonic seconds of a message, or of an answer to a beat."""
        backend.on_fact(self._on_fact)
        backend.pace_with(guard.write_soon)

    # --- what upper rooms register --------------------------------------------------------------------------------

    def on_ready(self, name: str, step: Step) -> None:
        """Do `step` after every (re)connect, in the order of registration, before the session counts as ready."""
        self._steps.append((name, step))

    def on_fact(self, sink: FactSink) -> None:
        """Give every broker fact to `sink`, in wire order."""
        self._sinks.append(sink)

    def on_link_news(self, listener: Callable[[LinkNews], None]) -> None:
        """Tell `listener` when the broker link or a farm goes down or comes back."""
        self._news.append(listener)

    # --- life -----------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect and synchronise; concurrent callers share one attempt. Returns at once when ready.

        Raises:
            IBKRConnectionError: (a subclass) after the tries of the adaptive plan, or CircuitOpen at once.
            ConnectorClosed: the session was closed.
        """
        async with self._ending:  # a disconnect that is under way comes first
            pass
        while self._connecting is not None and self._connecting.ending:
            await asyncio.wait([self._connecting.task])
        if self.link.state is LinkState.CLOSED:
            raise ConnectorClosed("the connector was closed.")
        if self.link.state is LinkState.READY:
            return
        if self._keeper.busy:
            await self._wait_until(lambda: self.link.state is LinkState.READY, self.settings.sync_timeout)
            return
        if self._connecting is None or not self._connecting.open:
            self._connecting = Flight(self._connect_by_plan(), name="ibkr-connect", ended=_interrupted)
        await self._connecting.join()

    async def disconnect(self) -> None:
        """End the connection and stop reconnecting; `connect` may follow. Idempotent; nothing after `close`."""
        await self._end(LinkState.DISCONNECTED, "disconnect() was called")

    async def close(self) -> None:
        """End the session for good. Idempotent."""
        await self._end(LinkState.CLOSED, "close() was called")

    async def ready(self, timeout: float) -> None:
        """Wait until orders can be written: READY, the broker link up (1100), reconciled.

        Raises: NotConnected at the deadline, saying why; ConnectorClosed.
        """
        await self._wait_until(lambda: not self.link.why_no_orders, timeout)

    async def _wait_until(self, condition: Callable[[], bool], timeout: float) -> None:
        def is_over() -> bool:
            return condition() or self.link.state is LinkState.CLOSED

        try:
            async with self._changed:
                await self.clock.wait_for(self._changed.wait_for(is_over), timeout)
        except TimeoutError:
            now = self.unavailable(f"not ready after {timeout:g} s")
            raise NotConnected(now.message, remedy=now.remedy) from None
        if self.link.state is LinkState.CLOSED:
            raise ConnectorClosed("the connector was closed.")

    async def drop(self, reason: str) -> None:
        """Cut a connection that is of no use any more (half-open, flooded); the keeper reconnects."""
        _log.warning("dropping the connection", reason=reason)
        await self.backend.disconnect()
        self._on_socket_closed(SocketClosed(reason=reason, expected=False))

    # --- reading --------------------------------------------------------------------------------------------------

    async def pace(self, lane: Lane, *, timeout: float, units: int = 1) -> None:
        """Wait for leave to write `units` messages at once. Raises `PacingTimeout` when it cannot come in time."""
        await self.guard.slot(lane, timeout=timeout, units=units)

    async def read(
        self,
        what: str,
        call: Callable[[float], Awaitable[_T]],
        *,
        timeout: float,
        lane: Lane = Lane.ACCOUNT,
        retry: bool = True,
        op: str = "",
    ) -> _T:
        """Make an idempotent request: paced, through the reads breaker, retried on transport errors, within `timeout`.

        `call` gets the seconds left. `op` names the kind of request in metrics, where `what` names a contract. Raises
        what it raises, `RequestTimeout`, `PacingTimeout`, `CircuitOpen`, `NotConnected`.
        """
        return await self.guard.read(
            what, call, timeout=timeout, lane=lane, retry=retry, usable=self._check_readable, op=op
        )

    async def read_history(self, request: HistoryRequest, *, timeout: float, caller: str = "") -> list[Bar]:
        """Historical bars, under IBKR's history rules as well. Raises what `read` raises, and `PacingError`."""
        return await self.guard.read_history(
            request, self.backend.historical_bars, timeout=timeout, caller=caller, usable=self._check_readable
        )

    def _check_readable(self) -> None:
        if self.link.state is LinkState.CLOSED:
            raise ConnectorClosed("the connector was closed.")
        if not self.backend.connected:
            raise self.unavailable("there is no connection to IBKR")

    def unavailable(self, what: str) -> IBKRConnectionError:
        """The error of a call that needs more than there is now: `what`, why, and what to do about it."""
        link, why = self.link, self.link.why_no_orders
        text = f"{what}: {why}." if why else f"{what}."
        if self._keeper.busy or (self._connecting is not None and self._connecting.open):
            return ConnectionLost(text)
        if link.state is LinkState.READY and not link.broker_link:
            return BrokerLinkLost(text)
        return NotConnected(text)

    @property
    def data_flows(self) -> bool:
        """Whether nothing is known to stand between the broker's quotes and here: link up, no data farm down."""
        return self.link.broker_link and all(self.link.farms.values())

    def broker_now(self) -> datetime:
        """The time at the broker (UTC), carried on from its last answer."""
        return self.broker_time.now(self.clock.monotonic(), self.clock.now())

    # --- connecting -----------------------------------------------------------------------------------------------

    async def _connect_by_plan(self) -> None:
        try:
            await self._try_by_plan()
        except (IBKRConnectionError, RequestTimeout):
            if not await self.mend():
                raise
            await self._try_by_plan()

    @property
    def absence(self) -> Absence | None:
        """Why the broker is known to be away now, if it is."""
        return None if self._absences is None else self._absences.at(self.clock.now())

    async def mend(self) -> bool:
        """Restart the gateway if that is configured, due, and no absence explains the trouble; whether it was done."""
        if self._restart is None or not self._restart.configured or self.absence is not None:
            return False
        if not await self._restart.run_if_due():
            return False
        self.guard.connect_anew("the gateway was restarted")
        return True

    def _failed(self, error: BaseException) -> None:
        if self._restart is not None:
            self._restart.trouble.failed(error)

    async def _try_by_plan(self) -> None:
        plan = self.guard.plan()
        tries, delay = plan.tries, plan.delay
        for attempt in range(1, tries + 1):
            try:
                await self.attempt()
            except IBKRConnectionError as error:
                if attempt == tries or not error.retryable or self.link.state is LinkState.CIRCUIT_OPEN:
                    raise
                _log.warning("connection attempt failed", attempt=attempt, of=tries, error=error.message)
                await self.clock.sleep(delay)
            else:
                return

    async def attempt(self) -> None:
        """One attempt through the breaker, synchronisation included."""
        try:
            permit = self.guard.connect_permit()
        except IBKRConnectionError as error:
            self.move(LinkState.CIRCUIT_OPEN, error.message)
            raise
        resting = LinkState.RECONNECTING if self._keeper.started else LinkState.DISCONNECTED
        self.move(LinkState.CONNECTING, f"{self.settings.host}:{self.settings.port}")
        try:
            timeout = self.guard.plan().timeout
            info = await self.backend.connect(
                host=self.settings.host, port=self.settings.port, client_id=self.settings.client_id, timeout=timeout
            )
        except BaseException as error:
            absence = self.absence
            permit.done(error, None if absence is None else absence.hint)
            self._failed(error)
            self.move(resting, str(error) or type(error).__name__)
            if isinstance(error, ClientIdInUse):
                self.incident("credential_use", f"another connection uses the client id: {error.message}", _WARNING)
            raise
        permit.done(None)
        self.guard.wrote(Lane.ACCOUNT)  # startApi, the handshake's own message
        self.info = info
        self.link.socket_up(self.clock.monotonic())
        if self._restart is not None:
            self._restart.trouble.new_connection()
        self.last_fact = self.alive_at = self.clock.monotonic()
        self.move(LinkState.SYNCING, f"server version {info.server_version}")
        try:
            await self.synchronise(info)
        except BaseException as error:
            self._failed(error)
            await self.backend.disconnect()
            self.link.socket_down()
            if self.link.state is not LinkState.CLOSED:
                self.move(resting, f"start-up sync failed: {error}")
            raise
        if self._restart is not None:
            self._restart.trouble.went_well()
        self._keeper.watch()

    async def synchronise(self, info: ConnectInfo) -> None:
        """Run the registered steps within the sync budget; then the session is READY."""
        deadline = self.clock.monotonic() + self.settings.sync_timeout
        self._stale = True
        while self._stale:
            self._stale = False
            for name, step in self._steps:
                await self._run_step(name, step, info, deadline)
        self.move(LinkState.READY, "synchronised")
        self.link.reconciled = self.link.broker_link
        await self._notify()

    async def _run_step(self, name: str, step: Step, info: ConnectInfo, deadline: float) -> None:
        try:
            await self.clock.wait_for(step(info), max(deadline - self.clock.monotonic(), 0.001))
        except TimeoutError as error:
            if isinstance(error, TradingError):
                raise
            raise RequestTimeout(
                f"the start-up sync did not finish in {self.settings.sync_timeout:g} s; it was at: {name}."
            ) from None
        if not self.backend.connected:
            raise ConnectionLost(f"the connection ended during the start-up sync, at: {name}.")

    # --- keeping ------------------------------------------------------------------------------------------------

    async def ask_time(self, timeout: float) -> None:
        """Ask the broker's clock and remember the answer."""
        await self.guard.slot(Lane.ACCOUNT, timeout=timeout)
        told = await self.backend.server_time(timeout)
        self.alive_at = self.clock.monotonic()
        self.broker_time.told(told, self.alive_at)

    def _on_fact(self, fact: BrokerFact) -> None:
        self.last_fact = self.alive_at = self.clock.monotonic()
        if isinstance(fact, SystemNotice):
            self._on_notice(fact)
        for sink in self._sinks:
            try:
                sink(fact)
            except Exception as error:  # noqa: BLE001 - our own bug in one room must not deafen the others
                _log.exception("a broker message could not be taken in", fact=type(fact).__name__)
                self.incident("unexpected_exception", f"{type(fact).__name__}: {type(error).__name__}: {error}")
        if isinstance(fact, SocketClosed):
            self._on_socket_closed(fact)

    def publish(self, event: Event) -> None:
        """Tell whoever listens."""
        self._bus.publish(event)

    def incident(
        self, kind: str, text: str, severity: Severity = Severity.CRITICAL, *, about: str = "", **context: Any
    ) -> None:
        """Tell of something that a person should look at. `about` tells two of one kind apart."""
        context = {**context, "about": about} if about else context
        self._bus.publish(Incident(at=self.clock.now(), severity=severity, kind=kind, text=text, context=context))

    def _on_notice(self, notice: SystemNotice) -> None:
        news = self.link.on_notice(notice.code, notice.text, self.clock.monotonic())
        if news is None:
            return
        important = news.what == "broker"
        self._bus.publish(
            BrokerLinkChanged(
                at=self.clock.now(),
                severity=Severity.WARNING if important and not news.up else Severity.INFO,
                what=news.what,
                up=news.up,
                code=notice.code,
                text=notice.text,
            )
        )
        if self._restart is not None:
            self._restart.trouble.heard(news, self.clock.monotonic())
        for listener in self._news:
            listener(news)
        if important and news.up:
            self._stale = True
            if self.link.state is LinkState.READY:
                self._keeper.resync()

    def _on_socket_closed(self, fact: SocketClosed) -> None:
        self.link.socket_down()
        if fact.expected or self.link.state not in (LinkState.READY, LinkState.SYNCING):
            return
        if self.link.state is LinkState.SYNCING:
            return  # the attempt that is synchronising sees the loss itself
        self.move(LinkState.RECONNECTING, fact.reason)
        self._keeper.lost()

    async def _end(self, state: LinkState, reason: str) -> None:
        async with self._ending:
            if self.link.state is LinkState.CLOSED:
                return
            await self._keeper.stop()
            if self._connecting is not None:
                await self._connecting.stop()
            was_connected = self.backend.connected
            self.move(state, reason)
            await self.backend.disconnect()
            self.link.socket_down()
            if was_connected:
                _log.info("disconnected", reason=reason)
            await self._notify()

    def move(self, state: LinkState, reason: str) -> None:
        """Move the link and tell it."""
        previous = self.link.move(state, reason)
        if previous is state:
            return
        self.meters.count("connection_transitions", state.value, _why(previous, state))
        _log.info("link", previous=previous.value, state=state.value, reason=reason)
        self._bus.publish(
            LinkChanged(
                at=self.clock.now(), previous=previous.value, state=state.value, reason=reason, epoch=self.link.epoch
            )
        )

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # --- orders ----------------------------------------------------------------------------------------------------

    def require_orders(self) -> None:
        """Raise `OrderNotSent` unless an order that adds risk may be written now."""
        why = self.link.why_no_orders
        if why:
            raise OrderNotSent(f"not sent: {why}.", remedy="Wait with `await connector.ready()`; nothing was sent.")

    async def hold_order_slot(
        self, *, units: int, timeout: float, reduces: Callable[[], bool] = lambda: False
    ) -> HeldSlot:
        """Leave to write `units` order messages, held until they are written. Raises `OrderNotSent`.

        What only `reduces` passes the orders breaker; see `Guard.order_slot`.

        with await session.hold_order_slot(units=1, timeout=5.0) as slot:
            await lane.write(..., written=slot.sent)
        ...
        slot.answered(in_doubt=False)  # or unanswered(), when nobody waits for that
        """

        async def probe() -> None:
            await self.ask_time(min(timeout, self.settings.request_timeout))

        return await self.guard.order_slot(units=units, timeout=timeout, probe=probe, reduces=reduces)

    def cancel_slot(self, *, again: bool = False) -> AbstractAsyncContextManager[Leave]:
        """Leave to write a cancel, as a block. It comes in the end: a cancel is owed, and whoever writes it waits.

        Its lane has a reserve of its own and passes every breaker; after a 429 of the Web API it rests. `again`: this
        cancel was written before. Raises ConnectorClosed.
        """
        return self.guard.exit_slot(again=again)


def _interrupted() -> NotConnected:
    return NotConnected("disconnect() or close() was called while connecting.")


_S = LinkState
_WHY: dict[tuple[LinkState, LinkState], str] = {
    (_S.SYNCING, _S.READY): "synchronised",
    (_S.READY, _S.SYNCING): "broker_link_back",
    (_S.READY, _S.RECONNECTING): "lost",
    (_S.SYNCING, _S.RECONNECTING): "sync_failed",
    (_S.SYNCING, _S.DISCONNECTED): "sync_failed",
    (_S.CONNECTING, _S.SYNCING): "connected",
    (_S.CONNECTING, _S.RECONNECTING): "attempt_failed",
    (_S.CONNECTING, _S.DISCONNECTED): "attempt_failed",
}
"""Why the link moved, in one of few words: the reasons themselves are sentences, and no label of a metric."""


def _why(previous: LinkState, state: LinkState) -> str:
    usual = {_S.CONNECTING: "attempt", _S.CIRCUIT_OPEN: "breaker", _S.CLOSED: "closed", _S.DISCONNECTED: "disconnect"}
    return _WHY.get((previous, state)) or usual.get(state, "other")
