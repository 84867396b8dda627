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
        │   ├── InsufficientFunds · PriceIncrementError · OrderConfirmationRequired
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

from ibkr_connector.errors.base import (
    Outcome,
    TradingError,
)
from ibkr_connector.errors.broker import (
    AmbiguousContract,
    AuthenticationError,
    BrokerLinkLost,
    CircuitOpen,
    ClientIdInUse,
    ConnectionLost,
    ConnectionRefused,
    ConnectTimeout,
    ContractError,
    ContractNotFound,
    HistoricalDataError,
    IBKRConnectionError,
    IBKRError,
    LiveTradingRefused,
    MarketDataError,
    MarketDataLost,
    MarketDataNotSubscribed,
    NoMarketData,
    NotConnected,
    PacingError,
    PacingTimeout,
    ProtocolError,
    ReadOnlyApi,
    RequestRejected,
    RequestTimeout,
    StaleMarketData,
    TooManyMarketDataLines,
    UnsupportedServerVersion,
)
from ibkr_connector.errors.caller import (
    ConfigurationError,
    ConnectorClosed,
    ConnectorConflict,
    InvalidRequest,
    JournalCorrupt,
    JournalError,
    JournalFromFuture,
    JournalInUse,
    JournalUnwritable,
    NotSupportedByBackend,
    SyncCallFromSession,
)
from ibkr_connector.errors.orders import (
    CancelInDoubt,
    FlattenIncomplete,
    GroupIncomplete,
    InsufficientFunds,
    ModifyInDoubt,
    ModifyNotPossible,
    ModifyRejected,
    OrderCancelled,
    OrderConfirmationRequired,
    OrderError,
    OrderInDoubt,
    OrderNotCancellable,
    OrderNotFound,
    OrderNotSent,
    OrderRejected,
    OrderValidationError,
    PriceIncrementError,
    RiskRejected,
)

__all__ = [
    "AmbiguousContract",
    "AuthenticationError",
    "BrokerLinkLost",
    "CancelInDoubt",
    "CircuitOpen",
    "ClientIdInUse",
    "ConfigurationError",
    "ConnectTimeout",
    "ConnectionLost",
    "ConnectionRefused",
    "ConnectorClosed",
    "ConnectorConflict",
    "ContractError",
    "ContractNotFound",
    "FlattenIncomplete",
    "GroupIncomplete",
    "HistoricalDataError",
    "IBKRConnectionError",
    "IBKRError",
    "InsufficientFunds",
    "InvalidRequest",
    "JournalCorrupt",
    "JournalError",
    "JournalFromFuture",
    "JournalInUse",
    "JournalUnwritable",
    "LiveTradingRefused",
    "MarketDataError",
    "MarketDataLost",
    "MarketDataNotSubscribed",
    "ModifyInDoubt",
    "ModifyNotPossible",
    "ModifyRejected",
    "NoMarketData",
    "NotConnected",
    "NotSupportedByBackend",
    "OrderCancelled",
    "OrderConfirmationRequired",
    "OrderError",
    "OrderInDoubt",
    "OrderNotCancellable",
    "OrderNotFound",
    "OrderNotSent",
    "OrderRejected",
    "OrderValidationError",
    "Outcome",
    "PacingError",
    "PacingTimeout",
    "PriceIncrementError",
    "ProtocolError",
    "ReadOnlyApi",
    "RequestRejected",
    "RequestTimeout",
    "RiskRejected",
    "StaleMarketData",
    "SyncCallFromSession",
    "TooManyMarketDataLines",
    "TradingError",
    "UnsupportedServerVersion",
]

for _name in __all__:
    # The name a program knows it by, in tracebacks and pickles too; the files are our own affair.
    globals()[_name].__module__ = __name__
del _name
