"""Every message code of the TWS protocol that is known, in one table: what it is about, and which error it becomes.

A code alone never decides about an order: what it ends depends on the operation outstanding, and that is said in one
place, `orders/terminal.py`.

Sources: *log* = seen in a real gateway's log or capture, *manual* = IBKR's list of message codes, *clients* = how the
public client libraries treat it. Pure: no I/O, no state.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from ibkr_connector.backends.facts import Operation
from ibkr_connector.errors import (
    AmbiguousContract,
    BrokerLinkLost,
    ClientIdInUse,
    ConnectionLost,
    ConnectionRefused,
    ContractNotFound,
    HistoricalDataError,
    IBKRConnectionError,
    IBKRError,
    InsufficientFunds,
    MarketDataError,
    MarketDataLost,
    MarketDataNotSubscribed,
    ModifyRejected,
    NoMarketData,
    NotConnected,
    OrderCancelled,
    OrderError,
    OrderNotCancellable,
    OrderNotFound,
    OrderRejected,
    PacingError,
    PriceIncrementError,
    ProtocolError,
    ReadOnlyApi,
    RequestRejected,
    TooManyMarketDataLines,
    TradingError,
    UnsupportedServerVersion,
)


class Kind(StrEnum):
    """What a code is about."""

    LINK = "link"
    """The gateway's own link to IBKR, or the socket: about no request."""
    FARM = "farm"
    """A data farm: daily noise, about no request."""
    CONNECTION = "connection"
    """Our connection to the gateway."""
    WARNING = "warning"
    """Something to know; ends neither a request nor an order."""
    REQUEST = "request"
    """Ends the request whose number it carries."""
    ORDER = "order"
    """About an order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeInfo:
    """One row of the table."""

    code: int
    kind: Kind
    error: type[TradingError]
    """The exception a waiting caller gets."""
    meaning: str
    source: str
    stream_may_live: bool = False
    """For a market-data line: the gateway may still hold it, so it is cancelled before it is made again."""

    @property
    def ends_request(self) -> bool:
        """Whether a request of that number gets no further answer."""
        return self.kind in (Kind.REQUEST, Kind.ORDER, Kind.CONNECTION)


def _row(
    code: int, kind: Kind, error: type[TradingError], meaning: str, source: str, *, lives: bool = False
) -> CodeInfo:
    return CodeInfo(code=code, kind=kind, error=error, meaning=meaning, source=source, stream_may_live=lives)


_R, _O, _W, _L, _F, _X = Kind.REQUEST, Kind.ORDER, Kind.WARNING, Kind.LINK, Kind.FARM, Kind.CONNECTION

_ROWS: tuple[CodeInfo, ...] = (
    _row(100, _R, PacingError, "more messages per second than the limit", "log"),
    _row(101, _R, TooManyMarketDataLines, "the market data lines are used up", "manual"),
    _row(102, _R, RequestRejected, "the request number is in use", "manual"),
    _row(103, _O, OrderRejected, "the order id was used before", "log"),
    _row(104, _O, ModifyRejected, "the order is filled and cannot be changed", "manual"),
    _row(105, _O, ModifyRejected, "the change does not match the original order", "manual, clients"),
    _row(106, _O, OrderRejected, "the order cannot be transmitted (it may sit in TWS)", "manual"),
    _row(107, _O, OrderRejected, "the order is incomplete", "manual"),
    _row(109, _O, OrderRejected, "the price is too far from the market (percentage setting)", "manual"),
    _row(110, _O, PriceIncrementError, "the price is not a multiple of the tick", "manual"),
    _row(111, _O, OrderRejected, "time in force and order type do not go together", "manual"),
    _row(113, _O, OrderRejected, "the time in force must be DAY for this order type", "manual"),
    _row(116, _O, OrderRejected, "the order cannot go to a dead exchange", "manual"),
    _row(133, _O, OrderRejected, "the new order failed", "manual"),
    _row(134, _O, ModifyRejected, "the change failed", "manual"),
    _row(135, _O, OrderNotFound, "no order has this id", "manual"),
    _row(136, _O, OrderNotCancellable, "this order cannot be cancelled", "manual"),
    _row(161, _O, OrderNotCancellable, "the order is not in a state to be cancelled", "manual"),
    _row(162, _R, HistoricalDataError, "the historical data service refused or failed", "log"),
    _row(165, _W, HistoricalDataError, "news of the historical data service", "log, clients"),
    _row(200, _R, ContractNotFound, "no such contract", "log"),
    _row(201, _O, OrderRejected, "the order (or a change, or a cancel of it) was refused", "log"),
    _row(202, _O, OrderCancelled, "the order is cancelled", "log"),
    _row(203, _O, OrderRejected, "the security is not available to this account", "manual"),
    _row(300, _W, RequestRejected, "no market data line has this number (answer to a late cancel)", "log"),
    _row(309, _R, TooManyMarketDataLines, "too many market depth requests", "manual"),
    _row(310, _W, RequestRejected, "no market depth has this number (answer to a late cancel)", "manual"),
    _row(317, _W, MarketDataLost, "market depth was reset: empty the book", "manual"),
    _row(320, _R, RequestRejected, "the gateway could not read the message", "log"),
    _row(321, _R, RequestRejected, "the gateway found the request invalid", "log"),
    _row(322, _R, RequestRejected, "the gateway could not process the request", "log"),
    _row(326, _X, ClientIdInUse, "another connection has this client id", "log"),
    _row(327, _R, RequestRejected, "only client id 0 may bind manual orders", "manual"),
    _row(329, _O, ModifyRejected, "the change of the order is invalid", "manual"),
    _row(354, _R, MarketDataNotSubscribed, "no subscription for this market data", "log"),
    _row(355, _O, OrderRejected, "the size does not conform to the market rule", "manual"),
    _row(366, _W, HistoricalDataError, "no history query has this number (answer to a late cancel)", "log"),
    _row(382, _O, OrderRejected, "the price breaks a limit of the presets", "manual, clients"),
    _row(383, _O, OrderRejected, "the size breaks a limit of the presets", "manual"),
    _row(386, _R, RequestRejected, "the number is in use by another history query", "log"),
    _row(387, _O, OrderRejected, "the exchange does not take this order type", "manual"),
    _row(388, _O, OrderRejected, "the size is below the minimum", "manual"),
    _row(392, _O, OrderRejected, "the contract has expired", "manual"),
    _row(399, _W, OrderRejected, "a message about the order (e.g. held until the exchange opens)", "log, clients"),
    _row(403, _O, OrderRejected, "the stop price is invalid", "manual"),
    _row(404, _W, OrderRejected, "the order is held while securities are located", "log, clients"),
    _row(420, _R, MarketDataError, "the real-time query is invalid", "log"),
    _row(430, _R, NoMarketData, "no fundamental data for this security", "manual"),
    _row(434, _O, OrderRejected, "the order size cannot be zero", "manual"),
    _row(435, _O, OrderRejected, "an account must be named", "manual"),
    _row(460, _O, OrderRejected, "no trading permissions", "manual"),
    _row(492, _W, RequestRejected, "a warning of the request", "clients"),
    _row(501, _X, IBKRConnectionError, "already connected", "manual"),
    _row(502, _X, ConnectionRefused, "TWS cannot be reached", "manual"),
    _row(503, _X, UnsupportedServerVersion, "TWS is out of date", "manual"),
    _row(504, _X, NotConnected, "not connected", "manual"),
    _row(506, _X, UnsupportedServerVersion, "unsupported version", "log"),
    _row(507, _X, ConnectionLost, "bad message length (the stream is broken)", "manual"),
    _row(508, _X, ProtocolError, "bad message", "manual"),
    _row(1100, _L, BrokerLinkLost, "the gateway lost IBKR", "log"),
    _row(1101, _L, BrokerLinkLost, "the gateway has IBKR again, subscriptions are lost", "log"),
    _row(1102, _L, BrokerLinkLost, "the gateway has IBKR again, subscriptions are kept", "log"),
    _row(1300, _L, ConnectionLost, "the gateway's port was reset: reconnect on the new one", "manual"),
    _row(2100, _W, IBKRError, "unsubscribed from account data", "manual"),
    _row(2101, _W, IBKRError, "cannot subscribe to this account", "manual"),
    _row(2102, _O, ModifyRejected, "the order is still being processed and cannot be changed", "manual"),
    _row(2103, _F, MarketDataLost, "a market data farm is broken", "log"),
    _row(2104, _F, MarketDataLost, "a market data farm is connected", "log"),
    _row(2105, _F, MarketDataLost, "a history farm is broken", "log"),
    _row(2106, _F, MarketDataLost, "a history farm is connected", "log"),
    _row(2107, _F, MarketDataLost, "a history farm is idle and comes on demand", "log"),
    _row(2108, _F, MarketDataLost, "a market data farm is idle and comes on demand", "log"),
    _row(2109, _W, OrderRejected, "outside-regular-hours is ignored for this order type", "manual"),
    _row(2110, _L, BrokerLinkLost, "TWS lost its server; it comes back by itself", "manual"),
    _row(2119, _F, MarketDataLost, "a market data farm is connecting", "log"),
    _row(2157, _F, MarketDataLost, "a security definition farm is broken", "log"),
    _row(2158, _F, MarketDataLost, "a security definition farm is connected", "log"),
    _row(10089, _R, MarketDataNotSubscribed, "this market data needs a subscription for the API", "log"),
    _row(10090, _W, MarketDataNotSubscribed, "part of this market data is not subscribed; the rest comes", "log"),
    _row(10091, _W, MarketDataNotSubscribed, "part of this market data needs a subscription; the rest comes", "log"),
    _row(10092, _R, MarketDataError, "no market depth for this combination", "log"),
    _row(10147, _O, OrderNotFound, "the order to cancel is not found", "log"),
    _row(10148, _O, OrderNotCancellable, "the order cannot be cancelled in its state", "log"),
    _row(10167, _W, MarketDataNotSubscribed, "not subscribed: delayed data is shown", "log, clients"),
    _row(10168, _R, MarketDataNotSubscribed, "not subscribed, and delayed data is not enabled", "log"),
    _row(10182, _R, MarketDataLost, "live updates ended and do not come back by themselves", "log", lives=True),
    _row(10187, _R, HistoricalDataError, "historical ticks refused", "log"),
    _row(10189, _R, MarketDataError, "tick-by-tick data refused", "log"),
    _row(10190, _R, TooManyMarketDataLines, "too many tick-by-tick requests", "log"),
    _row(10197, _R, MarketDataLost, "another session of this user gets the market data", "log", lives=True),
    _row(10225, _R, MarketDataLost, "bust event: subscribe to the real-time bars again", "clients", lives=True),
    _row(10276, _R, MarketDataNotSubscribed, "news is not allowed for this account", "log"),
    _row(10289, _O, OrderRejected, "the cash quantity of the order is invalid", "clients"),
    _row(10293, _O, OrderRejected, "the order was refused", "clients"),
    _row(10314, _R, RequestRejected, "a date or time of the request is invalid", "manual"),
    _row(10318, _O, OrderRejected, "no fractional quantity for this order", "log"),
    _row(10349, _W, OrderRejected, "the time in force was set to DAY by an order preset", "log, clients"),
)
TABLE: dict[int, CodeInfo] = {row.code: row for row in _ROWS}

LINK_DOWN = frozenset({1100, 2110})
LINK_UP = frozenset({1101, 1102})

_SPLITS: dict[int, tuple[tuple[str, type[TradingError], str], ...]] = {
    162: (
        ("pacing violation", PacingError, "history was asked for too often"),
        ("query cancelled", HistoricalDataError, "the history query was cancelled"),
        ("no market data permissions", MarketDataNotSubscribed, "no permission for this data"),
        ("no data", NoMarketData, "there is no such data"),
        ("different ip address", MarketDataLost, "another session of this user gets the data"),
        ("request timed out", HistoricalDataError, "the historical data service did not answer"),
    ),
    200: (("ambiguous", AmbiguousContract, "several contracts fit"),),
    201: (
        ("margin", InsufficientFunds, "not enough margin"),
        ("insufficient", InsufficientFunds, "not enough funds"),
        ("available funds", InsufficientFunds, "not enough funds"),
        ("minimum price variation", PriceIncrementError, "the price is not a multiple of the tick"),
    ),
    321: (("read-only", ReadOnlyApi, "the API of the gateway is read-only"),),
    322: (
        ("account summary requests exceeded", PacingError, "two account summaries are active already"),
        ("read-only", ReadOnlyApi, "the API of the gateway is read-only"),
    ),
    420: (
        ("pacing violation", PacingError, "real-time data was asked for too often"),
        ("no market data permissions", MarketDataNotSubscribed, "no permission for this data"),
        ("different ip address", MarketDataLost, "another session of this user gets the data"),
    ),
}
"""Codes that mean different things by their text (lower case, first match wins)."""


def classify(code: int, text: str = "") -> CodeInfo:
    """The row of `code`, refined by what `text` says.

    An unknown code ends a request, and nothing about an order; unknown codes from 2100 to 2199 are warnings (IBKR's
    own range for them).
    """
    row = TABLE.get(code)
    if row is None:
        kind = Kind.WARNING if 2100 <= code < 2200 else Kind.REQUEST
        return CodeInfo(code=code, kind=kind, error=IBKRError, meaning="not in the table", source="")
    lowered = text.lower()
    for needle, error, meaning in _SPLITS.get(code, ()):
        if needle in lowered:
            return replace(row, error=error, meaning=meaning)
    return row


def to_error(
    code: int,
    text: str,
    *,
    what: str = "",
    operation: Operation | None = None,
    link_up: bool = True,
    **context: Any,
) -> TradingError:
    """The exception for `code`. `what` names the request, `operation` the order operation it answers.

    While the gateway has no link to IBKR, a 200 is no proof that a contract does not exist: gateways answer pending
    requests with it a moment after 1100. It becomes `BrokerLinkLost` then.
    """
    info = classify(code, text)
    error = info.error
    if operation is not None:
        error = _for_operation(error, operation)
    elif not link_up and issubclass(error, ContractNotFound):
        error = BrokerLinkLost
    said = text.strip() or info.meaning
    message = f"{what}: {said}" if what else said
    return error(message if message.endswith((".", "!", "?")) else f"{message}.", code=code, **context)


def _for_operation(error: type[TradingError], operation: Operation) -> type[TradingError]:
    """The same refusal as seen by the one who placed, changed or cancelled."""
    if error is ReadOnlyApi or issubclass(error, OrderCancelled | OrderNotFound | OrderNotCancellable):
        return error
    if operation is Operation.MODIFY:
        return ModifyRejected
    if operation is Operation.CANCEL:
        return OrderNotCancellable
    return error if issubclass(error, OrderError) else OrderRejected
