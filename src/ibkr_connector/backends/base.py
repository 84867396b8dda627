"""What a backend is: a set of reads, a set of writes, and one stream of broker facts.

A backend lives on the session's event loop and is used from it only. Reads are coroutines that return converted values
or raise the typed errors of `ibkr_connector.errors`; they neither pace nor retry (the session does both). Writes are
plain functions without an `await`: when one returns, the bytes are with the operating system; when one raises, the
order is *maybe sent*. Everything the broker says about orders comes as a `BrokerFact` to the sink, in wire order,
asked for or not: that stream, not a library's objects, is the truth about orders.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from ibkr_connector.backends.facts import (
    AccountValueSeen,
    BrokerFact,
    Operation,
    OrderCompleted,
    OrderEchoed,
    OrderStatusSeen,
)
from ibkr_connector.errors import TradingError
from ibkr_connector.models.account import Execution, Position
from ibkr_connector.models.contract import Contract, ContractDetails
from ibkr_connector.models.market import Bar, Quote
from ibkr_connector.models.order_words import OcaType, TimeInForce


class MarketDataKind(StrEnum):
    """What quotes may be where the live ones are not to be had. IBKR shows live quotes where the account gets them."""

    LIVE = "live"
    FROZEN = "frozen"
    """The last ones before the close, while the market is closed."""
    DELAYED = "delayed"
    """15 to 20 minutes old, without a subscription."""
    DELAYED_FROZEN = "delayed_frozen"


BAR_KINDS = (
    "TRADES",
    "MIDPOINT",
    "BID",
    "ASK",
    "BID_ASK",
    "ADJUSTED_LAST",
    "HISTORICAL_VOLATILITY",
    "OPTION_IMPLIED_VOLATILITY",
)
"""Kinds of historical bars, as IBKR names them ("TWS API: Historical Bar Data", whatToShow)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What this backend can do; a call outside it raises `NotSupportedByBackend`."""

    name: str
    """`tws` or `web`."""
    library: str
    """The client library and its version, for `doctor` and logs."""
    client_ids: bool = True
    """Whether connections carry a client id (TWS) or one session is shared (Web)."""
    market_data_streams: bool = True
    what_if: bool = True
    global_cancel: bool = True
    times_in_force: frozenset[str] = frozenset(TimeInForce)
    """What an order's `tif` may be; without GTD there is no `order_ttl` either."""
    oca_types: frozenset[int] = frozenset(OcaType)
    """What a fill in an OCA group may do to the others."""
    bar_kinds: frozenset[str] = frozenset(BAR_KINDS)
    """What `what_to_show` of historical bars may be."""
    market_data: frozenset[MarketDataKind] = frozenset(MarketDataKind)
    """What `[connection] market_data` may be."""
    head_timestamp: bool = True
    """Whether the broker tells since when there are data of a contract."""
    generic_ticks: bool = True
    """Whether lines of quotes may carry generic ticks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectInfo:
    """What the handshake told."""

    accounts: tuple[str, ...]
    next_valid_id: int
    server_version: int
    connected_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WireOrder:
    """One order as it goes to the broker: every field final, prices exact. `transmit` False holds it for its group."""

    order_id: int
    contract: Contract
    action: str
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    trail_amount: Decimal | None
    trail_percent: Decimal | None
    tif: str
    good_till: datetime | None
    outside_rth: bool
    account: str
    order_ref: str
    parent_id: int = 0
    oca_group: str = ""
    oca_type: int = 0
    transmit: bool = True
    what_if: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The broker's own preview of an order, in the account's base currency. None = not told."""

    init_margin_before: Decimal | None = None
    init_margin_after: Decimal | None = None
    init_margin_change: Decimal | None = None
    maint_margin_before: Decimal | None = None
    maint_margin_after: Decimal | None = None
    maint_margin_change: Decimal | None = None
    equity_before: Decimal | None = None
    equity_after: Decimal | None = None
    commission: Decimal | None = None
    min_commission: Decimal | None = None
    max_commission: Decimal | None = None
    commission_currency: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRecords:
    """The answer to open or completed orders; `complete` is False when the end marker did not come."""

    echoes: tuple[OrderEchoed, ...] = ()
    statuses: tuple[OrderStatusSeen, ...] = ()
    completed: tuple[OrderCompleted, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRecords:
    """The answer to an executions request; `complete` is False when the end marker did not come (it happens)."""

    executions: tuple[Execution, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRequest:
    """One historical-data request, in IBKR's own terms."""

    contract: Contract
    end: datetime | None
    """Aware; None = now."""
    duration: str
    bar_size: str
    what_to_show: str = "TRADES"
    use_rth: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReply:
    """A yes or no to a question of the broker's about orders, about to be written (Web)."""

    order_ids: tuple[int, ...]
    """The orders it is about: one, or a group sent as one."""
    operation: Operation
    """What was asked of the broker when it asked back."""
    message_ids: tuple[str, ...]
    text: str
    """The question."""
    confirmed: bool


NOT_CONFIRMED = -1201
"""Code of an `OrderNotice` of ours: the broker's question is not on the list, and was answered with no."""
REPLY_WITHHELD = -1202
"""The same for a question of the list: what held for the order does not hold any more (killed, cancelled, too late)."""
LOGIN_REFUSED = -1203
"""The request was refused for want of a login, whatever the order in it: 401, 410."""
PACE_REFUSED = -1204
"""The request was refused because there were too many: 429."""

ReplyLeave: TypeAlias = Callable[[OrderReply], Awaitable[str]]
"""Makes a reply durable before it is written; returns why a yes must become a no (empty = as it stands)."""

ACCOUNT_FEED_MESSAGES = 2
"""Messages that `Backend.subscribe_account` writes: account updates, profit and loss."""

QuoteSink: TypeAlias = Callable[[Quote], None]
Write: TypeAlias = Callable[[], bool]
"""Writes one message, unless there is nothing left to write it to: whether it did. Raises nothing."""
Later: TypeAlias = Callable[[Write], None]
"""Takes what is to be written as soon as the pacing rules allow, in the order it is handed over."""
FactSink: TypeAlias = Callable[[BrokerFact], None]


@dataclass(slots=True, kw_only=True)
class LineHandle:
    """One market-data line in use; pass it back to `close_line`."""

    req_id: int
    contract: Contract
    snapshot: bool = False
    extra: dict[str, str] = field(default_factory=dict)


class Backend(Protocol):
    """One connection to IBKR. Used from the session's loop only."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the handshake is done and the transport is up."""
        ...

    def on_fact(self, sink: FactSink) -> None:
        """Name the one receiver of facts; called before `connect`."""
        ...

    def pace_with(self, later: Later) -> None:
        """Hand what is written without a caller who waited for a slot to `later`: ends of lines and requests, questions
        that had to wait for another of their kind. Called before `connect`; without it they are written at once.
        """
        ...

    def reply_with(self, leave: ReplyLeave) -> None:
        """Name who is asked before a question of the broker's about an order is answered. Called before `connect`."""
        ...

    def remember(self, order: WireOrder, *, perm_id: int, client_id: int, over: bool) -> None:
        """An order of an earlier run of this very program (`perm_id` 0 = not told), and whether it has ended.

        A broker that tells neither client ids nor our numbers (Web) is understood by it: what it shows under that
        permId, or under that ref where account, contract and side fit, is told with our numbers.
        """
        ...

    async def order_turn(self, timeout: float) -> None:
        """Wait until an order handed over now is written at once: no other's question is open (Web).

        Raises: OrderNotSent when that does not come in time.
        """
        ...

    def allow_ids_from(self, first: int) -> None:
        """Request and order numbers handed out from now on are >= `first`."""
        ...

    def take_id(self) -> int:
        """The next number of the one rising sequence that orders and requests share."""
        ...

    async def connect(self, *, host: str, port: int, client_id: int, timeout: float) -> ConnectInfo:
        """Connect and shake hands within `timeout` seconds. Sends nothing after startApi.

        Raises: ConnectionRefused, ConnectTimeout, ClientIdInUse, UnsupportedServerVersion, IBKRConnectionError.
        """
        ...

    async def disconnect(self) -> None:
        """Close and wait until the transport is closed. Idempotent."""
        ...

    # reads: each raises RequestTimeout / NotConnected / ConnectionLost / a typed error of the answer's code
    async def server_time(self, timeout: float) -> datetime:
        """IBKR's clock, UTC, whole seconds on TWS."""
        ...

    async def positions(self, timeout: float) -> list[Position]:
        """All positions of all accounts of the login; zero positions included as sent."""
        ...

    async def account_values(self, account: str, timeout: float) -> list[AccountValueSeen]:
        """The account's figures (accountSummary tags, and per-currency cash)."""
        ...

    async def open_orders(self, timeout: float, *, all_clients: bool = True) -> OrderRecords:
        """Orders that work now; facts are also sent to the sink."""
        ...

    async def completed_orders(self, timeout: float) -> OrderRecords:
        """Orders that ended today; facts are also sent to the sink."""
        ...

    async def executions(self, timeout: float, *, account: str = "") -> ExecutionRecords:
        """Executions since midnight; facts are also sent to the sink (replayed=True), commissions too."""
        ...

    async def contract_details(self, contract: Contract, timeout: float) -> list[ContractDetails]:
        """Every contract that fits. Raises ContractNotFound."""
        ...

    async def search_contracts(self, pattern: str, timeout: float) -> list[Contract]:
        """Contracts whose symbol or name starts with `pattern` (at most 16)."""
        ...

    async def historical_bars(self, request: HistoryRequest, timeout: float) -> list[Bar]:
        """Bars, oldest first. Raises NoMarketData, HistoricalDataError, PacingError, ContractNotFound."""
        ...

    async def head_timestamp(self, contract: Contract, what_to_show: str, timeout: float, *, use_rth: bool) -> datetime:
        """The earliest data available."""
        ...

    async def what_if(self, order: WireOrder, timeout: float) -> WhatIf:
        """The broker's preview; nothing is placed."""
        ...

    def subscribe_account(self, account: str) -> None:
        """Start account values, portfolio and P&L updates (facts): `ACCOUNT_FEED_MESSAGES`. Again: start them anew."""
        ...

    def unsubscribe_account(self, account: str) -> None:
        """Stop them."""
        ...

    def open_line(
        self, contract: Contract, sink: QuoteSink, on_error: Callable[[Exception], None], generic_ticks: str = ""
    ) -> LineHandle:
        """Open a streaming market-data line; `sink` gets, on the loop, a whole `Quote` per packet of changes."""
        ...

    def close_line(self, line: LineHandle) -> None:
        """Close it. Idempotent; silent when disconnected. The message goes by `pace_with`."""
        ...

    def renew_line(self, line: LineHandle) -> None:
        """Have a line tell the whole present quote soon, where lines may end silently; elsewhere nothing happens."""
        ...

    def set_market_data(self, kind: MarketDataKind) -> None:
        """What lines and snapshots asked for from now on may show."""
        ...

    async def snapshot(self, contract: Contract, timeout: float) -> Quote:
        """One quote without a lasting line (TWS: up to 11 s)."""
        ...

    # writes: no await inside; raise NotConnected when it is certain that nothing was written
    def order_frame(self, order: WireOrder) -> Callable[[], None]:
        """What writes a new order or a change; refuses what cannot be encoded here, before anything is committed.

        Calling it: any exception but NotConnected means *maybe sent*.

        Raises: OrderValidationError, InvalidRequest, NotConnected.
        """
        ...

    def send_cancel(self, order_id: int) -> None:
        """Write a cancel."""
        ...

    def refusal(self, code: int | None, text: str, **context: Any) -> TradingError:
        """The typed error of a new order that the broker refused with `code` and `text`: an `OrderError`."""
        ...

    def send_global_cancel(self) -> None:
        """Write a cancel of every order of the login, other programs' too."""
        ...
