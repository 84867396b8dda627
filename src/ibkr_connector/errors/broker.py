"""What the broker, the gateway or the link said: connections, requests, contracts, market data."""

from __future__ import annotations

from ibkr_connector.errors.base import Outcome, TradingError


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
    """Too many failures: calls are refused for `retry_after` seconds to let the other side recover.

    Of a breaker that an operator holds open `retryable` is False: `remedy` names the command that resets it.
    """

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
