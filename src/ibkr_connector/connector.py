"""`IBKRConnector`: one connection to Interactive Brokers, safe from any thread and any event loop.

The class is a thread-safe singleton per profile; its methods are one-line delegations to the resources `orders`,
`account`, `contracts`, `market`, `history` and `risk`, under the names that callers of IBKR connectors use.
"""

from __future__ import annotations

import asyncio
import os
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ibkr_connector.api.defaults import BUY, MARKET
from ibkr_connector.config import Settings, load_settings
from ibkr_connector.errors import ConnectorClosed, ConnectorConflict
from ibkr_connector.models.arguments import wrong

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from decimal import Decimal

    from ibkr_connector.api.account import AccountApi
    from ibkr_connector.api.contracts import ContractsApi
    from ibkr_connector.api.history import HistoryApi
    from ibkr_connector.api.market import MarketApi
    from ibkr_connector.api.orders import Number, OrderLike, OrdersApi
    from ibkr_connector.api.risk import RiskApi
    from ibkr_connector.assembly import House
    from ibkr_connector.backends.base import Capabilities, WhatIf
    from ibkr_connector.events import Listener
    from ibkr_connector.models.account import AccountSummary, Execution, PortfolioPnL, Position
    from ibkr_connector.models.contract import Contract, ContractDetails
    from ibkr_connector.models.market import BarSeries, Quote
    from ibkr_connector.models.order import OrderRequest, OrderSnapshot, OrderState, OrderType
    from ibkr_connector.orders.flatten import FlattenReport
    from ibkr_connector.orders.handle import BracketOrder, Order
    from ibkr_connector.orders.updates import AllOrderUpdates
    from ibkr_connector.streams.quotes import QuoteStream
    from ibkr_connector.sync import SyncConnector
    from ibkr_connector.watch.health import Health

DEFAULT_PROFILE = "default"
_LEAVING = ("leave", "cancel_increasing", "cancel_all")


class _OnePerProfile(type):
    """Calling the class gives the profile's one instance; `__init__` runs once."""

    _lock = threading.RLock()
    _instances: ClassVar[dict[str, IBKRConnector]] = {}
    _of_parents: ClassVar[list[IBKRConnector]] = []
    """In a forked child: the connectors it inherited, kept so that nothing here finalises what the parent uses."""

    def __call__(
        cls,
        config_path: str | os.PathLike[str] | None = None,
        *,
        profile: str = DEFAULT_PROFILE,
        allow_live: bool = False,
        **overrides: Any,
    ) -> Any:
        with _OnePerProfile._lock:
            found = _OnePerProfile._instances.get(profile)
            if found is not None and not found.closed:
                if config_path is not None or allow_live or overrides:
                    found._refuse_other(load_settings(config_path, overrides=overrides), allow_live=allow_live)
                return found
            made = super().__call__(config_path, profile=profile, allow_live=allow_live, **overrides)
            _OnePerProfile._instances[profile] = made
            return made

    @staticmethod
    def _after_fork() -> None:
        """In the child: its connectors are new and unconnected, and no lock is held by a thread that is not here."""
        _OnePerProfile._lock = threading.RLock()
        _OnePerProfile._of_parents.extend(_OnePerProfile._instances.values())
        _OnePerProfile._instances.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_OnePerProfile._after_fork)


class IBKRConnector(metaclass=_OnePerProfile):
    """A connection to IBKR that can be left running.

        connector = get_ibkr_connector()
        await connector.connect()
        order = await connector.place_market_order("AAPL", 100, "BUY")
        await order.filled()

    Args:
        config_path: an `ibkr_config.ini`; None looks in the usual places (`ibkr-connector config show` tells where).
        profile: connectors of different profiles are independent; one profile has one connector per process.
        allow_live: one of the three steps to a live account; the others are `mode = live` and a pinned `account_id`.
        overrides: settings by name (`port=4002`, `client_id=7`, `risk_limits={"max_order_size": 10}`).

    Raises:
        ConfigurationError: a setting is wrong; names field, origin and what is legal.
        ConnectorConflict: this profile has a connector with other settings.
    """

    def __init__(
        self,
        config_path: str | os.PathLike[str] | None = None,
        *,
        profile: str = DEFAULT_PROFILE,
        allow_live: bool = False,
        **overrides: Any,
    ) -> None:
        self.profile = profile
        self.settings: Settings = load_settings(config_path, overrides=overrides)
        self._allow_live = allow_live
        self._made: House | None = None
        self._closed = False
        self._making = threading.Lock()
        self._pid = os.getpid()

    @property
    def _is_inherited(self) -> bool:
        """Whether this is a forked child's copy of its parent's connector: its threads and sockets are not here."""
        return self._pid != os.getpid()

    def _require_own_process(self) -> None:
        if self._is_inherited:
            raise ConnectorClosed(
                f"this connector belongs to process {self._pid}; a child made by fork() needs its own.",
                remedy="Ask get_ibkr_connector() in the child, with a client_id of its own.",
                pid=self._pid,
            )

    @property
    def _house(self) -> House:
        """All rooms; made when first needed, so that naming a connector costs no more than reading its settings."""
        self._require_own_process()
        if self._made is None:
            from ibkr_connector.assembly import House

            with self._making:
                if self._closed:
                    raise ConnectorClosed("the connector was closed.")
                if self._made is None:
                    self._made = House(self.settings, allow_live=self._allow_live, profile=self.profile)
        return self._made

    def _refuse_other(self, settings: Settings, *, allow_live: bool) -> None:
        fields = list(self.settings.differences(settings))
        if allow_live != self._allow_live:
            fields.append("allow_live")
        if fields:
            raise ConnectorConflict(
                f"profile {self.profile!r} has a connector with other settings: {', '.join(fields)} differ.",
                fields=fields,
                profile=self.profile,
            )

    # --- life ------------------------------------------------------------------------------------------------------

    async def connect(self) -> bool:
        """Connect, synchronise, and keep connected. Returns True, or raises.

        Raises:
            ConnectionRefused, ConnectTimeout, ClientIdInUse …: after the tries of the adaptive plan.
            CircuitOpen: after too many failures; `retry_after` says when.
            LiveTradingRefused: the account is not the paper account that the settings expect.
            JournalError: the order journal cannot be opened.
        """
        self._require_own_process()  # before any thread is asked for: an inherited pool has none
        house = await asyncio.to_thread(lambda: self._house)
        await house.connect()
        return True

    async def disconnect(self) -> None:
        """End the connection; orders at the broker live on, and `connect` may follow."""
        if self._made is not None and not self._is_inherited:
            await self._made.disconnect()

    async def close(self, open_orders: str = "leave") -> None:
        """End the connector for good and free everything; a new one can be made afterwards.

        `open_orders` says what becomes of this connector's own: `leave` them at the broker, `cancel_increasing` (those
        that can add to a position; what protects one goes on working), or `cancel_all`. Raises `CancelInDoubt` after
        everything was freed if one did not end in time; its cancel stands, and is sent again by the next connector.

        Idempotent, from any thread and loop: all callers share one close and return when it is done; begun, it is done
        to the end. Whoever still waits for an answer gets ConnectorClosed; streams end. In a child made by fork() it
        does nothing: the connection is the parent's.
        """
        if open_orders not in _LEAVING:
            raise wrong("open_orders", open_orders, ", ".join(_LEAVING), why="is not known")
        if self._is_inherited:
            return
        with self._making:
            self._closed = True
        if self._made is not None:
            await self._made.close(open_orders)

    async def ready(self, timeout: float = 60.0) -> None:
        """Wait until orders can be placed: connected, the broker link up, reconciled. Raises NotConnected."""
        await self._house.ready(timeout)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or this is the parent's connector in a child made by fork()."""
        return self._closed or self._is_inherited

    @property
    def connected(self) -> bool:
        """Whether there is a synchronised connection now."""
        return self._made is not None and not self._is_inherited and self._made.connected

    def is_connected(self) -> bool:
        """The same as `connected`, as a method."""
        return self.connected

    # --- resources -------------------------------------------------------------------------------------------------

    @property
    def orders(self) -> OrdersApi:
        """Place, change, cancel, look up."""
        return self._house.orders

    @property
    def account(self) -> AccountApi:
        """Positions, figures, profit and loss, executions."""
        return self._house.account

    @property
    def contracts(self) -> ContractsApi:
        """Find and qualify contracts."""
        return self._house.contracts

    @property
    def market(self) -> MarketApi:
        """Quotes, once or as a stream."""
        return self._house.market

    @property
    def history(self) -> HistoryApi:
        """Historical bars."""
        return self._house.history

    @property
    def risk(self) -> RiskApi:
        """Limits and the kill."""
        return self._house.risk

    @property
    def account_id(self) -> str:
        """The account in use; empty before the first connect."""
        return self.account.account_id

    @property
    def capabilities(self) -> Capabilities:
        """What the backend in use can do."""
        return self._house.capabilities

    def get_connection_status(self) -> dict[str, Any]:
        """State of link, breaker and synchronisation, without waiting."""
        return self._house.status()

    def should_attempt_connection(self) -> bool:
        """Whether `connect` would try now: not connected, and no breaker open."""
        return self._house.should_attempt()

    def health(self) -> Health:
        """Which planes can be used (market data, history, orders, account), and why not; any thread, without waiting.

        The reasons of the orders plane are the words with which an order that adds risk would be refused.
        """
        return self._house.watch.health()

    def metrics_registry(self) -> Any:
        """A prometheus_client `CollectorRegistry` of this connector alone, read at every scrape: to serve it yourself.

        `[watch] http_port` serves it without a line of code. Raises ConfigurationError without the extra `metrics`.
        """
        return self._house.watch.registry()

    @property
    def watch_port(self) -> int:
        """Where /metrics, /livez and /readyz are served; 0 = they are not."""
        return self._house.watch.port

    def on_event(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for every event, on a thread of its own; returns a function that ends it."""
        return self._house.bus.subscribe(listener)

    @property
    def sync(self) -> SyncConnector:
        """The blocking twin: the same methods for programs without an event loop."""
        from ibkr_connector.sync import SyncConnector

        return SyncConnector(self, self._house.thread)

    def __repr__(self) -> str:
        c = self.settings.connection
        state = "closed" if self._closed else self._made.state if self._made else "not connected"
        if self._is_inherited:
            state = f"of process {self._pid}"
        return f"IBKRConnector(profile={self.profile!r}, {c.host}:{c.port}, client_id={c.client_id}, {state})"

    # --- orders ----------------------------------------------------------------------------------------------------

    async def place_order(
        self,
        symbol: str | Contract | OrderRequest,
        quantity: Number | None = None,
        order_type: OrderType | str = MARKET,
        action: str = BUY,
        price: Number | None = None,
        **options: Any,
    ) -> Order:
        """Place an order of any type, or an `OrderRequest` alone. `price` is the limit of LMT, the stop of STP."""
        return await self.orders.place(self.orders.build(symbol, quantity, order_type, action, price, **options))

    async def place_market_order(self, symbol: str | Contract, quantity: Number, action: str, **options: Any) -> Order:
        """Place a market order; see `OrdersApi` for what is raised."""
        return await self.orders.market(symbol, quantity, action, **options)

    async def place_limit_order(
        self, symbol: str | Contract, quantity: Number, action: str, limit_price: Number, **options: Any
    ) -> Order:
        """Place a limit order."""
        return await self.orders.limit(symbol, quantity, action, limit_price, **options)

    async def place_stop_order(
        self, symbol: str | Contract, quantity: Number, action: str, stop_price: Number, **options: Any
    ) -> Order:
        """Place a stop order."""
        return await self.orders.stop(symbol, quantity, action, stop_price, **options)

    async def place_stop_limit_order(
        self,
        symbol: str | Contract,
        quantity: Number,
        action: str,
        stop_price: Number,
        limit_price: Number,
        **options: Any,
    ) -> Order:
        """Place a stop-limit order."""
        return await self.orders.stop_limit(symbol, quantity, action, stop_price, limit_price, **options)

    async def place_trailing_stop_order(
        self,
        symbol: str | Contract,
        quantity: Number,
        action: str,
        trail_amount: Number | None = None,
        trail_percent: Number | None = None,
        **options: Any,
    ) -> Order:
        """Place a trailing stop: exactly one of `trail_amount` (currency) and `trail_percent`."""
        return await self.orders.trailing_stop(symbol, quantity, action, trail_amount, trail_percent, **options)

    async def place_bracket_order(
        self,
        symbol: str | Contract,
        quantity: Number,
        entry_price: Number | None = None,
        stop_loss_pct: float = 0.05,
        take_profit_pct: float = 0.10,
        action: str = "BUY",
        *,
        take_profit_price: Number | None = None,
        stop_loss_price: Number | None = None,
        **options: Any,
    ) -> BracketOrder:
        """Place an entry with a target and a stop; exits as prices, or as fractions of `entry_price`."""
        return await self.orders.bracket(
            symbol,
            quantity,
            action,
            entry_price=entry_price,
            take_profit_price=take_profit_price,
            stop_loss_price=stop_loss_price,
            stop_loss_pct=stop_loss_pct,
            take_profit_pct=take_profit_pct,
            **options,
        )

    async def preview_order(
        self,
        symbol: str | Contract | OrderRequest,
        quantity: Number | None = None,
        order_type: OrderType | str = MARKET,
        action: str = BUY,
        price: Number | None = None,
        **options: Any,
    ) -> WhatIf:
        """Margin and commission of an order as the broker sees them; nothing is placed."""
        return await self.orders.preview(self.orders.build(symbol, quantity, order_type, action, price, **options))

    async def modify_order(
        self,
        order: OrderLike,
        quantity: Number | None = None,
        price: Number | None = None,
        *,
        limit_price: Number | None = None,
        stop_price: Number | None = None,
    ) -> OrderSnapshot:
        """Change a working order. `price` means the limit price, or the stop price of a STP order."""
        return await self.orders.change(order, quantity, price, limit_price=limit_price, stop_price=stop_price)

    async def cancel_order(self, order: OrderLike, *, timeout: float | None = None) -> OrderSnapshot:
        """Cancel and wait for the end: Cancelled (with the filled part) or Filled. Raises CancelInDoubt."""
        return await self.orders.cancel(order, timeout=timeout)

    async def cancel_all_orders(self, scope: str = "own", *, timeout: float | None = None) -> list[OrderSnapshot]:
        """Cancel `own` orders, all of this `client` id, or of the whole `account`."""
        return await self.orders.cancel_all(scope, timeout=timeout)

    async def get_order(self, order: OrderLike) -> Order:
        """An order by handle, ref or id. Raises `OrderNotFound`."""
        return await self.orders.get(order)

    async def get_order_status(self, order: OrderLike) -> OrderSnapshot:
        """What is known of an order now."""
        return (await self.orders.get(order)).snapshot

    async def get_open_orders(self, *, refresh: bool = False) -> list[OrderSnapshot]:
        """Orders of the account that can still fill."""
        return await self.orders.open(refresh=refresh)

    async def get_completed_orders(self) -> list[OrderSnapshot]:
        """Orders of the broker's day that ended."""
        return await self.orders.completed()

    def order_updates(self, *, foreign: bool = True, buffer: int = 10_000) -> AllOrderUpdates:
        """A stream of all orders: `async with connector.order_updates() as updates: async for order in updates`."""
        return self.orders.updates(foreign=foreign, buffer=buffer)

    def orders_in_doubt(self) -> list[OrderSnapshot]:
        """Orders that may or may not be at the broker."""
        return self.orders.in_doubt()

    async def resolve(self, order: OrderLike, as_: OrderState | str, evidence: str) -> OrderSnapshot:
        """An operator's word on an order in doubt, kept in the audit trail."""
        return await self.orders.resolve(order, as_, evidence)

    # --- account ---------------------------------------------------------------------------------------------------

    async def get_positions(self, *, refresh: bool = False) -> list[Position]:
        """Open positions; an empty list means the broker confirmed there are none."""
        return await self.account.positions(refresh=refresh)

    async def get_account_summary(self, *, refresh: bool = False) -> AccountSummary:
        """Net liquidation, cash, buying power, margins."""
        return await self.account.summary(refresh=refresh)

    async def get_cash_balance(self, currency: str | None = None) -> Decimal:
        """Cash in `currency`, or all of it in the base currency."""
        return await self.account.cash(currency)

    async def get_portfolio_pnl(self) -> PortfolioPnL:
        """Totals of the portfolio, base currency."""
        return await self.account.pnl()

    async def get_executions(self) -> list[Execution]:
        """Executions of the broker's day."""
        return await self.account.executions()

    # --- contracts and data ----------------------------------------------------------------------------------------

    async def get_contract(self, symbol: str | Contract) -> ContractDetails:
        """The one contract that `symbol` means, with its rules."""
        return await self.contracts.get(symbol)

    async def search_contracts(self, pattern: str) -> list[Contract]:
        """At most 16 contracts whose symbol or name starts with `pattern`."""
        return await self.contracts.search(pattern)

    async def get_historical_data(
        self,
        symbol: str | Contract,
        duration: str = "1 D",
        bar_size: str = "1 min",
        *,
        end: datetime | None = None,
        what_to_show: str = "",
        use_rth: bool = True,
        timeout: float = 60.0,
        allow_stale: bool | float = False,
    ) -> BarSeries:
        """Bars, oldest first; see `HistoryApi.bars`."""
        return await self.history.bars(
            symbol,
            duration,
            bar_size,
            end=end,
            what_to_show=what_to_show,
            use_rth=use_rth,
            timeout=timeout,
            allow_stale=allow_stale,
        )

    async def get_market_data(
        self, symbol: str | Contract, bar_size: str = "1 min", duration: str = "1 D"
    ) -> dict[str, Any]:
        """The newest bar as the guide's dict (symbol, timestamp, open, high, low, close, volume)."""
        return await self.history.latest(symbol, bar_size, duration)

    async def get_live_quote(
        self,
        symbol: str | Contract,
        *,
        max_age: float = 5.0,
        timeout: float = 11.0,
        allow_stale: bool | float = False,
    ) -> Quote:
        """A quote at most `max_age` seconds old; waits up to `timeout` seconds; see `MarketApi.quote`."""
        return await self.market.quote(symbol, max_age=max_age, timeout=timeout, allow_stale=allow_stale)

    def stream_quotes(self, symbol: str | Contract, *, buffer: int = 10_000) -> QuoteStream:
        """A stream of quotes: `async with connector.stream_quotes("AAPL") as quotes: async for quote in quotes`."""
        return self.market.stream(symbol, buffer=buffer)

    async def get_server_time(self) -> datetime:
        """The broker's clock, UTC, whole seconds."""
        return await self._house.server_time()

    # --- risk ------------------------------------------------------------------------------------------------------

    def kill(self, reason: str, *, cancel: bool = False) -> bool:
        """Stop all orders, at once, from any thread, in every process of the account. Holds until `resume`.

        Cancels still work; `cancel` cancels this journal's working orders too. True when it is saved and outlives the
        program; False before the first connect, which saves it. Raises `JournalUnwritable` when it cannot be saved:
        trading is stopped all the same.
        """
        return self.risk.kill(reason, cancel=cancel)

    def reduce_only(self, reason: str) -> None:
        """Let through only orders that reduce positions, until `resume`."""
        self.risk.reduce_only(reason)

    async def flatten(self, reason: str, *, scope: str = "own", timeout: float = 60.0) -> FlattenReport:
        """Reduce only, cancel the orders of `scope`, close every position of the account. Raises FlattenIncomplete."""
        return await self.orders.flatten(reason, scope=scope, timeout=timeout)

    def resume(self, reason: str) -> bool:
        """End a kill. False when somebody killed again meanwhile. Raises `JournalError` when it cannot be saved."""
        return self.risk.resume(reason)
