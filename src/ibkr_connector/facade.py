"""The names under which callers of IBKR connectors ask for things, as one-line delegations to the resources.

`IBKRConnector` adds the life of a connection; what each call does, raises and returns is the resource's business
(`connector.orders`, `.account`, `.contracts`, `.market`, `.history`, `.risk`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ibkr_connector.api.defaults import BUY, MARKET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from ibkr_connector.api.account import AccountApi
    from ibkr_connector.api.breakers import BreakersApi
    from ibkr_connector.api.contracts import ContractsApi
    from ibkr_connector.api.history import HistoryApi
    from ibkr_connector.api.market import MarketApi
    from ibkr_connector.api.order_arguments import Number, OrderLike
    from ibkr_connector.api.orders import OrdersApi
    from ibkr_connector.api.risk import RiskApi
    from ibkr_connector.assembly import House
    from ibkr_connector.backends.base import WhatIf
    from ibkr_connector.models.account import AccountSummary, Execution, PortfolioPnL, Position
    from ibkr_connector.models.contract import Contract, ContractDetails
    from ibkr_connector.models.market import BarSeries, Quote
    from ibkr_connector.models.order import OcaType, OrderRequest, OrderSnapshot, OrderState, OrderType
    from ibkr_connector.orders.flatten import FlattenReport
    from ibkr_connector.orders.handle import BracketOrder, OcaGroup, Order
    from ibkr_connector.orders.updates import AllOrderUpdates
    from ibkr_connector.streams.quotes import QuoteStream


class Facade:
    """Everything that can be asked of a connection."""

    @property
    def _house(self) -> House:
        raise AttributeError("_house")  # the connector has one

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
    def breakers(self) -> BreakersApi:
        """The circuit breakers: look, hold open, reset."""
        return self._house.breakers

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

    async def place_oca_group(
        self,
        orders: Sequence[OrderRequest | Mapping[str, Any]],
        oca_type: OcaType | int = 1,
        group: str | None = None,
        *,
        timeout: float | None = None,
    ) -> OcaGroup:
        """Place orders of which a fill cancels (type 1) or reduces (2, 3) the others; see `OrdersApi.oca`."""
        return await self.orders.oca(orders, oca_type, group, timeout=timeout)

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
        """An operator's word on an order in doubt, kept in the audit trail. It books no fill, also as `filled`."""
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
