"""The vocabulary between the exchange and the fronts that speak for it (TWS socket, Web API).

A front turns its wire messages into `OrderTicket`s and queries, calls the `Exchange`, and turns the
`ExchangeEvent`s it hears back into wire messages. Nothing here knows a wire format, a socket or a clock.

Quantities and prices are `Decimal`; times are aware UTC datetimes in *market time*.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ..instruments import Instrument

ZERO = Decimal(0)
WEB_CLIENT_ID = -1
"""The client id of every order that came over the Web API: it has none. TWS clients cannot have this one."""


class OrderStatus(StrEnum):
    """IBKR's order statuses, spelled as on the wire."""

    PENDING_SUBMIT = "PendingSubmit"
    PENDING_CANCEL = "PendingCancel"
    PRE_SUBMITTED = "PreSubmitted"
    SUBMITTED = "Submitted"
    API_PENDING = "ApiPending"
    API_CANCELLED = "ApiCancelled"
    CANCELLED = "Cancelled"
    FILLED = "Filled"
    INACTIVE = "Inactive"

    @property
    def is_done(self) -> bool:
        """Whether no fill can follow (Inactive orders can still be cancelled, but do not work)."""
        return self in _DONE


_DONE = frozenset({OrderStatus.CANCELLED, OrderStatus.API_CANCELLED, OrderStatus.FILLED, OrderStatus.INACTIVE})


@dataclass(slots=True, kw_only=True)
class OrderTicket:
    """One order as a client asked for it. `extras` carries every other field, to be echoed untouched."""

    client_id: int
    order_id: int
    instrument: Instrument
    account: str
    action: str
    """BUY or SELL (SSHORT is treated as SELL)."""
    quantity: Decimal
    order_type: str
    """MKT, LMT, STP, STP LMT, TRAIL, TRAIL LIMIT, MOC, LOC, MIT, LIT …; what cannot be matched is refused."""
    limit_price: Decimal | None = None
    aux_price: Decimal | None = None
    """The stop price of STP and STP LMT; the trailing amount of TRAIL."""
    trailing_percent: Decimal | None = None
    trail_stop_price: Decimal | None = None
    tif: str = "DAY"
    good_till: str = ""
    outside_rth: bool = False
    oca_group: str = ""
    oca_type: int = 0
    parent_id: int = 0
    transmit: bool = True
    order_ref: str = ""
    exchange: str = "SMART"
    """The destination asked for; executions name the venue that filled."""
    what_if: bool = False
    all_or_none: bool = False
    hidden: bool = False
    source: str = "tws"
    """The front it came over: tws or web."""
    extras: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class OrderView:
    """A working or finished order as the exchange knows it at the moment of an event: a copy, never live state."""

    ticket: OrderTicket
    perm_id: int
    status: OrderStatus
    filled: Decimal = ZERO
    remaining: Decimal = ZERO
    avg_fill_price: Decimal = ZERO
    last_fill_price: Decimal = ZERO
    why_held: str = ""
    """`child` (parent not filled), `trigger`, `locate`, or empty."""
    market_cap_price: Decimal = ZERO
    reject_text: str = ""
    warning_text: str = ""
    completed_at: datetime | None = None
    completed_status: str = ""
    """`Filled Size: 100`, `Cancelled by Trader` …: the text of completedOrder's last field."""
    cancelled_by: int | None = None
    """The client whose request ended the order; a real gateway writes its id into the orderStatus it is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One fill. `exec_id` is unique; a correction differs only after the last dot."""

    exec_id: str
    at: datetime
    client_id: int
    order_id: int
    perm_id: int
    account: str
    instrument: Instrument
    side: str
    """BOT or SLD."""
    shares: Decimal
    price: Decimal
    cum_qty: Decimal
    avg_price: Decimal
    venue: str
    order_ref: str
    liquidity: int = 0
    """1 added, 2 removed, 3 routed out, 0 none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commission:
    """What one execution cost, and what it realised (None on opening trades), in `currency`."""

    exec_id: str
    amount: Decimal
    currency: str
    realized_pnl: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginPreview:
    """The answer to a what-if order: account totals before, change and after, in base currency."""

    init_before: Decimal
    init_change: Decimal
    init_after: Decimal
    maint_before: Decimal
    maint_change: Decimal
    maint_after: Decimal
    equity_before: Decimal
    equity_change: Decimal
    equity_after: Decimal
    commission: Decimal | None
    min_commission: Decimal | None
    max_commission: Decimal | None
    commission_currency: str
    warning_text: str = ""
    refusal_code: int = 0
    """201 when the real order would be refused for its margin: a real gateway sends the numbers *and* this error."""
    refusal_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSpec:
    """One account to open: its name and what is in it at the start."""

    name: str
    initial_cash: Decimal = Decimal(1_000_000)
    """In the base currency."""
    base_currency: str = "USD"
    account_type: str = "INDIVIDUAL"
    """The text of the AccountType value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayStats:
    """Prices of the session in progress, or of the last one. None = no trade yet; `close` is the session before."""

    open: Decimal | None = None
    high: Decimal | None = None
    low: Decimal | None = None
    close: Decimal | None = None
    volume: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionView:
    """An account's position in one instrument. `avg_cost` includes commissions and the multiplier, as IBKR's does."""

    account: str
    instrument: Instrument
    quantity: Decimal
    avg_cost: Decimal
    market_price: Decimal
    market_value: Decimal
    unrealized_pnl: Decimal
    realized_pnl: Decimal
    daily_pnl: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PnlView:
    """Profit and loss of an account today, base currency. None = not computed yet."""

    account: str
    daily: Decimal
    unrealized: Decimal
    realized: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountValue:
    """One `key = value (currency)` row of an account, as in updateAccountValue and accountSummary."""

    key: str
    value: str
    currency: str


# --- what the exchange says, in the order it happened -------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChanged:
    """The order's state to be shown: `echo` = openOrder, `status` = orderStatus, in this order when both are set.

    The exchange emits them exactly as often and in the order a real gateway does (duplicates included).
    """

    order: OrderView
    echo: bool = True
    status: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """An execution happened (execDetails)."""

    execution: Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """A commission report for an earlier execution."""

    client_id: int
    account: str
    commission: Commission


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderMessage:
    """An error or notice about an order id, for the client that sent the request (IBKR's own code and text)."""

    client_id: int
    order_id: int
    code: int
    text: str
    advanced_reject_json: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChanged:
    """Cash, margin or a position of this account changed."""

    account: str
    instrument: Instrument | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteChanged:
    """A new top of book. A side that is None is absent (no bid, no offer)."""

    instrument: Instrument
    at: datetime
    bid: Decimal | None
    ask: Decimal | None
    bid_size: Decimal
    ask_size: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TradePrinted:
    """A trade on the tape of this instrument."""

    instrument: Instrument
    at: datetime
    price: Decimal
    size: Decimal


ExchangeEvent: TypeAlias = OrderChanged | Filled | Charged | OrderMessage | AccountChanged | QuoteChanged | TradePrinted
