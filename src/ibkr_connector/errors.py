"""Every exception of the library, and nothing else.

    TradingError
    ├── ConfigurationError ········ a setting is wrong: field, origin, what is legal
    ├── InvalidRequest (ValueError) an argument is wrong; nothing was sent
    ├── ConnectorConflict ········· a second connector with other settings was asked for
    ├── ConnectorClosed ··········· the connector was closed; make a new one
    ├── SyncCallFromSession ······· a blocking call from the session's own thread
    ├── NotSupportedByBackend ····· this backend cannot do that
    ├── JournalError ·············· the order journal: nothing that adds risk is sent without it
    │   ├── JournalInUse          another process holds it
    │   ├── JournalUnwritable     disk full, read-only, locked
    │   ├── JournalCorrupt        cannot be trusted as it is
    │   └── JournalFromFuture     written by a newer version
    ├── IBKRError ················· what the broker, the gateway or the link said
    │   ├── IBKRConnectionError (ConnectionError)
    │   │   ├── NotConnected · ConnectionRefused · ConnectTimeout · ConnectionLost
    │   │   ├── ClientIdInUse · UnsupportedServerVersion · AuthenticationError
    │   │   ├── BrokerLinkLost    the gateway is up, IBKR behind it is not
    │   │   └── CircuitOpen       too many failures: retry_after says when
    │   ├── LiveTradingRefused    the account is not the paper account that was expected
    │   ├── ReadOnlyApi           the gateway refuses orders by its own setting
    │   ├── RequestRejected       the broker refused the request as such
    │   ├── RequestTimeout (TimeoutError)   no answer to a read in time
    │   ├── ProtocolError         an answer that cannot be understood
    │   ├── PacingError ········· too many requests
    │   │   └── PacingTimeout     no slot before the deadline; nothing was sent
    │   ├── ContractError
    │   │   ├── ContractNotFound · AmbiguousContract
    │   └── MarketDataError
    │       ├── NoMarketData · MarketDataNotSubscribed · MarketDataLost
    │       ├── TooManyMarketDataLines · HistoricalDataError · StaleMarketData
    └── OrderError ················ never an OSError: a retry decorator must not send again
        ├── OrderValidationError (ValueError)   wrong order; nothing was sent
        ├── RiskRejected          a pre-trade gate said no; nothing was sent
        ├── OrderNotSent          no slot, no link, no journal, cancelled early; nothing was sent
        ├── OrderRejected         the broker said no
        │   ├── InsufficientFunds · PriceIncrementError
        ├── OrderInDoubt          it may have reached the broker: do NOT send again
        │   ├── ModifyInDoubt · CancelInDoubt
        ├── GroupIncomplete       some orders of an OCA group work, another was refused or not sent
        ├── OrderNotFound · OrderNotCancellable
        ├── ModifyNotPossible · ModifyRejected
        ├── OrderCancelled        the order ended before what was awaited
        └── FlattenIncomplete     not every position could be closed, or nobody knows

Three questions every class answers: `retryable` (may the same call be made again as it is?), `outcome` (can it have
reached the broker?) and `remedy` (what to do next). Instances carry `code` (IBKR's number, if one was given), a
`remedy` of their own where it is known, and `context`: plain values a log or a program can use. All can be pickled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, ClassVar


class Outcome(StrEnum):
    """What is known about the request's arrival at the broker when the exception is raised."""

    NOT_SENT = "not_sent"
    """Nothing was written."""
    REJECTED = "rejected"
    """It arrived and was refused."""
    UNKNOWN = "unknown"
    """It may have arrived."""
    NOT_APPLICABLE = "not_applicable"
    """A read, or no request at all: arrival does not matter."""


class TradingError(Exception):
    """Base of everything this library raises on purpose. Catch it at the top of a program, and read `remedy`."""

    retryable: ClassVar[bool] = False
    outcome: ClassVar[Outcome] = Outcome.NOT_APPLICABLE
    default_remedy: ClassVar[str] = "Read the message and the context; it names what was refused."

    def __init__(
        self, message: str = "", *, code: int | None = None, remedy: str | None = None, **context: Any
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.remedy = remedy or self.default_remedy
        self.context: dict[str, Any] = context

    def __str__(self) -> str:
        prefix = f"[{self.code}] " if self.code is not None else ""
        return f"{prefix}{self.message} {self.remedy}".strip()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.code, self.remedy, dict(self.context)))

    def to_dict(self) -> dict[str, Any]:
        """The exception as JSON has values, for logs and scripts: numbers stay numbers, nothing is a repr."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "code": self.code,
            "remedy": self.remedy,
            "retryable": self.retryable,
            "outcome": self.outcome.value,
            "context": {key: _plain(value) for key, value in self.context.items()},
        }


def _plain(value: object) -> Any:
    """A value of the context as JSON has it. Foreign objects tell themselves with `to_dict`, or as text."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    told = getattr(value, "to_dict", None)
    return _plain(told()) if callable(told) else str(value)


def _rebuild(
    cls: type[TradingError], message: str, code: int | None, remedy: str, context: dict[str, Any]
) -> TradingError:
    return cls(message, code=code, remedy=remedy, **context)


# --- the caller's side ------------------------------------------------------------------------------------------------


class ConfigurationError(TradingError):
    """A setting is wrong. Correct the named field at the named origin (file and line, variable, argument)."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Correct the setting; `ibkr-connector config show` lists every value with its origin."


class InvalidRequest(TradingError, ValueError):
    """An argument is wrong. Nothing was sent; `context` holds `field`, `value` and `legal`."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Correct the argument and call again; nothing was sent."


class ConnectorConflict(TradingError):
    """A connector of this profile exists with other settings. Close it first, or use another profile."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Call `await connector.close()` first, or ask for another `profile`."


class ConnectorClosed(TradingError):
    """The connector was closed. Ask `get_ibkr_connector()` for a new one."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Ask get_ibkr_connector() for a new one."


class SyncCallFromSession(TradingError):
    """A blocking call was made on the session's own thread, where it would wait for itself. Use the async API there."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Use the async methods inside callbacks, or call from another thread."


class NotSupportedByBackend(TradingError):
    """The backend in use cannot do this. `connector.capabilities` says what each can."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Choose another backend for this call, or leave the call out."


# --- the journal ------------------------------------------------------------------------------------------------------


class JournalError(TradingError):
    """The order journal cannot be used. Orders that add risk are refused until it can; getting out stays possible."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Check the state directory (space, permissions, disk)."


class JournalInUse(JournalError):
    """Another process holds the journal of this account. `context['pid']` names it: stop it, or use its connector."""

    default_remedy = "Stop the process named here, or choose another state_dir for another account."


class JournalUnwritable(JournalError):
    """The journal cannot be written (full, read-only, locked). Make room or repair permissions, then try again."""

    retryable = True


class JournalCorrupt(JournalError):
    """The journal's content cannot be trusted. Keep the file; start anew only after checking the account."""

    default_remedy = "Keep the file for inspection; move it aside only after comparing open orders with the broker."


class JournalFromFuture(JournalError):
    """A newer version of this library wrote the journal. Use that version, or another state directory."""

    default_remedy = "Install the newer version of ibkr-connector that wrote it, or choose another state_dir."


# --- the broker and the link ------------------------------------------------------------------------------------------


class IBKRError(TradingError):
    """Something IBKR or its gateway said that has no better class. `code` is IBKR's number."""

    default_remedy = "Look the code up in docs/IMPLEMENTATION/errors.md."


class IBKRConnectionError(IBKRError, ConnectionError):
    """The connection cannot be made or was lost. Reads may be tried again; orders never raise this after a write."""

    retryable = True
    outcome = Outcome.NOT_SENT
    default_remedy = "Run `ibkr-connector doctor`: it names the failing step and its fix."


class NotConnected(IBKRConnectionError):
    """The call needs a connection and there is none. Connect first."""

    default_remedy = "Call `await connector.connect()` first."


class ConnectionRefused(IBKRConnectionError):
    """Nobody listens there. Start TWS or the Gateway, enable its API, check host and port."""

    default_remedy = "Start TWS or IB Gateway (or `ibkr-connector paper`), enable its API, check host and port."


class ConnectTimeout(IBKRConnectionError, TimeoutError):
    """The gateway accepted the connection but did not finish the handshake in time."""

    default_remedy = "Look for a dialog the gateway shows (accept incoming connection, login), then try again."


class ConnectionLost(IBKRConnectionError):
    """The connection ended while the call was waiting. A read may be made again after the reconnect."""

    outcome = Outcome.NOT_APPLICABLE
    default_remedy = "Wait for the reconnect (`await connector.ready()`), then ask again."


class ClientIdInUse(IBKRConnectionError):
    """Another connection holds this client id. End it, wait if it is our own that broke, or configure another id."""

    default_remedy = "End the other connection or set another client_id; our own half-open connection frees itself."


class UnsupportedServerVersion(IBKRConnectionError):
    """The gateway is too old or too new for the client library. Update the one that is behind."""

    retryable = False
    default_remedy = "Update TWS/IB Gateway or the client library."


class AuthenticationError(IBKRConnectionError):
    """The login failed or ended. Check the credentials and the session at the gateway."""

    retryable = False
    default_remedy = "Log in at the gateway again and check the credentials."


class BrokerLinkLost(IBKRConnectionError):
    """The gateway is reachable, IBKR behind it is not (1100, 2110). It comes back by itself; wait."""

    default_remedy = "Wait: the gateway restores the link by itself; orders are refused until then."


class CircuitOpen(IBKRConnectionError):
    """Too many failures: calls are refused for `retry_after` seconds to let the other side recover."""

    default_remedy = "Wait `retry_after` seconds; check the gateway meanwhile."

    @property
    def retry_after(self) -> float:
        """Seconds until a call may be tried again."""
        return float(self.context.get("retry_after", 0.0))


class LiveTradingRefused(IBKRError):
    """The account at the other end is not what was allowed: paper is the default, live needs three explicit steps."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Connect to a paper gateway; live needs mode=live, account_id pinned, and allow_live=True in code."


class ReadOnlyApi(IBKRError):
    """The gateway's API is read-only. Untick "Read-Only API" in its settings."""

    outcome = Outcome.REJECTED
    default_remedy = 'Untick "Read-Only API" in the gateway\'s API settings.'


class RequestRejected(IBKRError):
    """The broker refused the request as such (320, 321, 322 …). Correct it; repeating it changes nothing."""

    outcome = Outcome.REJECTED
    default_remedy = "Correct the request; the broker's text says which part."


class RequestTimeout(IBKRError, TimeoutError):
    """No answer to a read within the deadline. It may be asked again."""

    retryable = True
    default_remedy = "Ask again, or raise the timeout; if it repeats run `ibkr-connector doctor`."


class ProtocolError(IBKRError):
    """An answer that cannot be understood. Report it with the library's debug log."""

    default_remedy = "Report it, with the debug log of `ibkr_connector`."


class PacingError(IBKRError):
    """IBKR says too many requests (100, 162 pacing, 420). The connector slows down by itself; lower the demand."""

    retryable = True
    outcome = Outcome.REJECTED
    default_remedy = "Ask less often; other programs on the same gateway count too."


class PacingTimeout(PacingError):
    """No slot under IBKR's pacing rules before the deadline. Nothing was sent."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Ask later or with a longer deadline; nothing was sent."


class ContractError(IBKRError):
    """The contract cannot be used as it was named."""

    outcome = Outcome.NOT_SENT


class ContractNotFound(ContractError):
    """IBKR knows no such contract (200). Check symbol, type, exchange, currency and expiry."""

    default_remedy = "Check symbol, type, exchange, currency and expiry; `search_contracts` finds near names."


class AmbiguousContract(ContractError):
    """Several contracts fit. Name exchange, currency, expiry or con_id; `context['candidates']` lists them."""

    default_remedy = "Name the primary exchange, currency, expiry or con_id to choose one."


class MarketDataError(IBKRError):
    """Market data cannot be had."""

    default_remedy = "Check the contract and the account's market data subscriptions."


class NoMarketData(MarketDataError):
    """The request was right and there is no such data (162 no data). Ask for another period or kind."""

    default_remedy = "Ask for another period, bar size or kind of data."


class MarketDataNotSubscribed(MarketDataError):
    """The account has no subscription for this data (354, 10089 …). Subscribe, or accept delayed data."""

    default_remedy = "Subscribe in the Client Portal, or accept delayed data: market_data = delayed."


class MarketDataLost(MarketDataError):
    """A subscription ended (farm broken, 10182, competing session 10197). It is made again when the farm is back."""

    retryable = True
    default_remedy = "Wait: the connector subscribes again when the data farm is back."


class TooManyMarketDataLines(MarketDataError):
    """The account's market data lines are used up (101, 309, 10190). Close streams that are not needed."""

    default_remedy = "Close streams that are not needed, or buy more lines."


class HistoricalDataError(MarketDataError):
    """The history service refused or failed (162, 165, 366). The text says why."""

    default_remedy = "Check period, bar size and kind of data; the text says which is refused."


class StaleMarketData(MarketDataError):
    """The newest quote is older than the call allows."""

    default_remedy = "Wait for a fresh quote, or allow an older one explicitly."


# --- orders -----------------------------------------------------------------------------------------------------------


class OrderError(TradingError):
    """Base of everything about one order. `context['order_ref']` names it where it exists."""

    default_remedy = "Look the order up with get_order(order_ref) before doing anything else."


class OrderValidationError(OrderError, ValueError):
    """The order is wrong as written. Nothing was sent; `context` holds `field`, `value` and `legal`."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Correct the order; nothing was sent."


class RiskRejected(OrderError):
    """One or more pre-trade gates said no. `context['decision']` lists each gate with its limit and value."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Make the order smaller or change the limits in the configuration; nothing was sent."

    @property
    def gates(self) -> list[str]:
        """The names of the gates that refused, in their order."""
        return [str(gate) for gate in self.context.get("gates", [])]


class OrderNotSent(OrderError):
    """The order was given up before the write (no slot, link lost, not ready, killed). Nothing was sent."""

    retryable = True
    outcome = Outcome.NOT_SENT
    default_remedy = "Nothing was sent; the same order_ref may be used again."


class OrderRejected(OrderError):
    """The broker refused the order. Correct it and send it as a new order."""

    outcome = Outcome.REJECTED
    default_remedy = "Correct what the broker's text names and place a new order."


class InsufficientFunds(OrderRejected):
    """The broker refused for lack of margin or funds."""

    default_remedy = "Reduce the order or free buying power."


class PriceIncrementError(OrderRejected):
    """The price is not a multiple of the contract's tick (110)."""

    default_remedy = "Round the price to the contract's minimum increment."


class OrderInDoubt(OrderError):
    """It may have reached the broker. Do NOT place it again: wait for settlement, or look at `orders_in_doubt()`."""

    outcome = Outcome.UNKNOWN
    default_remedy = "Do NOT send it again. The connector settles it from the broker's records; see orders_in_doubt()."


class ModifyInDoubt(OrderInDoubt):
    """The change may or may not have reached the broker; exposure counts the larger of both versions."""

    default_remedy = "Do NOT repeat it. Wait for the broker's echo, or cancel the order."


class CancelInDoubt(OrderInDoubt):
    """The cancel was sent and not confirmed. The order may still fill; the cancel may be sent again."""

    retryable = True
    default_remedy = "The order may still fill. Cancel again, or check the order's state."


class GroupIncomplete(OrderError):
    """Orders of an OCA group work at the broker, and another was refused or not sent. Do NOT place the group again.

    `context['group']` names it, `context['orders']` tells the state of each order by ref, `context['why']` the reason.
    """

    outcome = Outcome.UNKNOWN
    default_remedy = (
        "The others work on. Cancel them with cancel_order(ref) if they must not work without it, or place an order in "
        "its stead; do NOT place the whole group again."
    )


class OrderNotFound(OrderError):
    """No such order is known here or at the broker (135, 10147)."""

    outcome = Outcome.REJECTED
    default_remedy = "Check the reference; get_open_orders() lists what works."


class OrderNotCancellable(OrderError):
    """The order cannot be cancelled any more (136, 161, 10148): it is filled or cancelled."""

    outcome = Outcome.REJECTED
    default_remedy = "Read its state: it has ended."


class ModifyNotPossible(OrderError):
    """The change cannot be made safely (not echoed in this connection, another change outstanding, ended). Not sent."""

    outcome = Outcome.NOT_SENT
    default_remedy = "Cancel the order and place a new one."


class ModifyRejected(OrderError):
    """The broker refused the change; the order works on as it was."""

    outcome = Outcome.REJECTED
    default_remedy = "The order works on unchanged; correct the change or cancel the order."


class OrderCancelled(OrderError):
    """The order ended (cancelled, expired) before what was awaited. `context` holds the filled quantity."""

    default_remedy = "Read `order.filled`: a part may have been done."


class FlattenIncomplete(OrderError):
    """Closing all positions stopped before the end. `context['report']` says what was done and what is left."""

    default_remedy = (
        "Look at the positions and the orders in doubt; only reducing orders are let through. Then flatten again, "
        'with scope="account" where orders of other programs stand in the way.'
    )
