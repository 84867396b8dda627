"""The paper gateway as an object: market, exchange, the TWS front and the Web front, started and stopped together.

    async with PaperGateway(tws_port=0, seed=7) as gateway:
        ...connect any TWS client to 127.0.0.1, gateway.tws_port...

Everything runs on the event loop that starts it. No task is needed: the exchange is driven by one timer, set for the
next thing that will happen at it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from .clock import ClockMode, MarketClock
from .exchange.book import Exchange
from .exchange.types import AccountSpec
from .faults.plan import Fault, load_plan, make_fault
from .faults.room import FaultRoom
from .instruments import InstrumentBook
from .market import MarketSource, parse_market
from .truth import TruthLog
from .tws.hub import Hub
from .tws.options import TwsOptions
from .tws.server import TwsServer

if TYPE_CHECKING:
    from .control import ControlServer
    from .exchange.behavior import ExchangeBehavior
    from .web.front import WebFront
    from .web.options import WebOptions

T = TypeVar("T")

MIN_PUMP_WAIT: Final = 0.001
"""Wire seconds between two steps of the exchange, however fast the market clock runs."""
MAX_PUMP_WAIT: Final = 60.0


class PaperGateway:
    """A gateway for paper trading that needs no IBKR account.

    `accounts` are its account codes, `market` a source of prices (`synthetic`, `csv:DIR`, `lean:DIR`, or a
    `MarketSource`), `clock` `session` or `real`, `start` the market time it begins with (aware), `speed` market seconds
    per second, `truth` a file for the truth log, `faults` what shall go wrong: a plan file, or `Fault`s. `initial_cash`
    is in US dollars, for each account. Ports: 0 = any free one; after `start` they are in `tws_port`, `web_port` and
    `control_port` (None = no Web API, no control port). The Web API needs the extra `paper-web`; `web` are its
    settings. Raises ValueError for values that make no sense (PlanError for a plan) and OSError where a port or a file
    cannot be had. Can be started once.
    """

    def __init__(  # noqa: PLR0913 - one keyword per option of the command line
        self,
        *,
        tws_port: int = 0,
        web_port: int | None = None,
        host: str = "127.0.0.1",
        accounts: Sequence[str] = ("DU1234567",),
        market: str | MarketSource = "synthetic",
        clock: ClockMode = "session",
        start: datetime | None = None,
        speed: float = 1.0,
        seed: int = 0,
        truth: str | os.PathLike[str] | TruthLog | None = None,
        control_port: int | None = None,
        initial_cash: Decimal = Decimal(1_000_000),
        faults: str | os.PathLike[str] | Sequence[Fault] = (),
        options: TwsOptions | None = None,
        web: WebOptions | None = None,
        behavior: ExchangeBehavior | None = None,
    ) -> None:
        _check_accounts(accounts)
        if not (initial_cash.is_finite() and initial_cash > 0):
            raise ValueError(f"initial_cash must be a positive amount of US dollars, not {initial_cash}")
        self.host = host
        self.tws_port = tws_port
        self.web_port = web_port
        self.control_port = control_port
        if web_port is not None:
            from .web import require

            require()
        self._web_options = web
        self._web: WebFront | None = None
        self.options = options or TwsOptions()
        self._accounts = [AccountSpec(name=account, initial_cash=initial_cash) for account in accounts]
        self._market_spec = market
        self._clock_mode: ClockMode = clock
        self._start_at = start
        self._speed = speed
        self._seed = seed
        self._behavior = behavior
        self._plan = load_plan(faults) if isinstance(faults, str | os.PathLike) else list(faults)
        self._faults: FaultRoom | None = None
        self._owns_truth = not isinstance(truth, TruthLog)
        self.truth = truth if isinstance(truth, TruthLog) else TruthLog(truth)
        self._clock: MarketClock | None = None
        self._exchange: Exchange | None = None
        self._server: TwsServer | None = None
        self._control: ControlServer | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pump_at = float("inf")
        self._pumping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed: asyncio.Event = asyncio.Event()
        self._used = False

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> Self:
        """Open the market and listen. The same object cannot be started again."""
        if self._used:
            raise RuntimeError("this PaperGateway has been started before: make a new one")
        self._used = True
        loop = self._loop = asyncio.get_running_loop()
        try:
            await self._start(loop)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        market = (
            parse_market(self._market_spec, seed=self._seed)
            if isinstance(self._market_spec, str)
            else self._market_spec
        )
        start = self._start_at
        if start is None and self._clock_mode == "session":
            start = market.suggested_start
        clock = self._clock = MarketClock(self._clock_mode, start, self._speed, loop)
        self.truth.use_clock(clock)
        book = InstrumentBook(lambda: clock.now().date())
        exchange = self._exchange = Exchange(
            clock=clock,
            market=market,
            instruments=book,
            accounts=self._accounts,
            truth=self.truth,
            seed=self._seed,
            behavior=self._behavior,
        )
        hub = Hub(clock, exchange, market, book, self.truth, self.options, loop, self._wake)
        self._server = TwsServer(hub)
        self._web = self._make_web(hub) if self.web_port is not None else None
        self._faults = FaultRoom(hub, self._server, self._seed, self.jump, self._web)
        for fault in self._plan:
            self._faults.check(fault)
        await self._server.start(self.host, self.tws_port)
        self.tws_port = self._server.port
        if self._web is not None and self.web_port is not None:
            await self._web.start(self.host, self.web_port)
            self.web_port = self._web.port
        if self.control_port is not None:
            from .control import ControlServer

            self._control = ControlServer(self)
            self.control_port = await self._control.start(self.control_port)
        self._faults.arm(self._plan)
        self._pump()

    def _make_web(self, hub: Hub) -> WebFront:
        from .web.front import WebFront
        from .web.options import WebOptions

        return WebFront(
            clock=hub.clock,
            exchange=hub.exchange,
            market=hub.market,
            instruments=hub.instruments,
            truth=self.truth,
            options=self._web_options or WebOptions(),
            loop=hub.loop,
            wake=self._wake,
            hides=lambda event: hub.taps is not None and hub.taps.hides(event),
            seed=self._seed,
        )

    async def aclose(self) -> None:
        """End every connection, timer and file. Harmless when called twice."""
        if self._control is not None:
            await self._control.close()
            self._control = None
        if self._faults is not None:
            self._faults.close()
        if self._web is not None:
            await self._web.close()
        if self._server is not None:
            await self._server.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop = None
        if self._owns_truth:
            self.truth.close()
        self._closed.set()

    async def wait_closed(self) -> None:
        """Wait until somebody closes the gateway or asks for it over the control port."""
        await self._closed.wait()

    def request_shutdown(self) -> None:
        """Make `wait_closed` return; whoever owns the gateway then closes it."""
        self._closed.set()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- parts -------------------------------------------------------------------------------------------------------

    @property
    def clock(self) -> MarketClock:
        """Market and wire time. RuntimeError before `start`."""
        return _started(self._clock)

    @property
    def exchange(self) -> Exchange:
        """The exchange behind the front. RuntimeError before `start`."""
        return _started(self._exchange)

    @property
    def server(self) -> TwsServer:
        """The TWS front. RuntimeError before `start`."""
        return _started(self._server)

    @property
    def web(self) -> WebFront:
        """The Web front. RuntimeError before `start` or without a `web_port`."""
        if self._web is None:
            raise RuntimeError("the gateway has no Web front: give it a web_port, and start it")
        return self._web

    @property
    def faults(self) -> FaultRoom:
        """Armed and running faults: `faults()` lists them, `clear()` ends them. RuntimeError before `start`."""
        return _started(self._faults)

    @property
    def clients(self) -> list[int]:
        """The ids of the clients that are connected and have started."""
        return self.server.clients

    # --- tools -------------------------------------------------------------------------------------------------------

    def jump(self, to: datetime) -> None:
        """Move market time forward to `to` at once and let everything happen that was due. ValueError backwards."""
        self.clock.jump(to)
        self._pump()
        self.server.on_jump()
        self.faults.on_jump()

    def inject(self, fault: Fault | str, **keys: object) -> int:
        """Arm a fault, or one of this kind with the keys of a plan file (`for` is written `for_`); its number.

            gateway.inject("drop_connection", on="place_order", nth=2)

        Raises PlanError (a ValueError) for a fault that makes no sense. See docs/IMPLEMENTATION/faults.md.
        """
        if isinstance(fault, Fault):
            if keys:
                raise TypeError("a Fault is complete: give its keys when making it")
            chosen = fault
        else:
            chosen = make_fault({"kind": fault, **keys})
        return self.faults.arm([chosen])[0]

    def drop(self, client_id: int | None = None) -> int:
        """Cut the connection of one client, or of all, without a word; how many there were."""
        return self.server.drop(client_id)

    def inject_error(self, code: int, text: str, *, request_id: int = -1, client_id: int | None = None) -> int:
        """Send an error or notice (1100, 2103 …) to one client, or to all; how many got it."""
        return self.server.inject_error(code, text, request_id, client_id)

    def flood(self, client_id: int, frames: bytes) -> None:
        """Write pre-encoded frames (see `tws.bench`) to a client as they are: a bench tool.

        Nothing checks them, and the write limit holds: send blocks and let the client read. KeyError if the client is
        not connected.
        """
        self.server.session(client_id).link.write(frames)

    # --- the pump ----------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Something may now happen earlier than the timer says."""
        if not self._pumping:
            self._schedule(0.0)

    def _pump(self) -> None:
        """Let everything happen that is due, and set the timer for what comes next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pump_at = float("inf")
        self._pumping = True
        try:
            self.exchange.advance()
        finally:
            self._pumping = False
            self._schedule(MIN_PUMP_WAIT)

    def _schedule(self, at_least: float) -> None:
        loop = self._loop
        if loop is None:
            return
        due = self.exchange.next_event_at()
        now = loop.time()
        wait = MAX_PUMP_WAIT if due is None else self.clock.wire_at(due) - now
        at = now + min(max(wait, at_least), MAX_PUMP_WAIT)
        if self._timer is not None:
            if self._pump_at <= at:
                return
            self._timer.cancel()
        self._pump_at = at
        self._timer = loop.call_at(at, self._pump)


def _started(part: T | None) -> T:
    if part is None:
        raise RuntimeError("the gateway has not been started: use `async with PaperGateway(...)`, or await start()")
    return part


def _check_accounts(accounts: Sequence[str]) -> None:
    if isinstance(accounts, str) or not accounts:
        raise ValueError(f"accounts must be a list of account codes such as DU1234567, not {accounts!r}")
    for account in accounts:
        if not account.isascii() or not account.isalnum():
            raise ValueError(f"account {account!r}: letters and digits only, such as DU1234567")
    if len(set(accounts)) != len(accounts):
        raise ValueError(f"accounts {', '.join(accounts)}: each may be named once")
