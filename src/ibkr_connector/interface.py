"""Six blocking calls for programs that want no more: `IBInterface`, and `IBIndClient` over the Web API.

A thin adapter over `connector.sync`: gates, journal, settlement and the paper check are those of the connector.

    client = IBIndClient("https://127.0.0.1:5000", paper_trading=True, web={"verify_tls": False})
    client.connect()
    order_id = client.place_order("AAPL", "BUY", 10)
    client.disconnect()
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ibkr_connector.errors import InvalidRequest, NotConnected
from ibkr_connector.registry import get_ibkr_connector

if TYPE_CHECKING:
    from ibkr_connector.connector import IBKRConnector
    from ibkr_connector.sync.connector import SyncConnector

_API_PATH = "/v1/api/"
_QUOTE_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketData:
    """A quote. Prices are in the contract's currency, sizes in shares or contracts; None = IBKR did not tell."""

    ticker: str
    bid: float | None
    ask: float | None
    last: float | None
    bid_size: float | None
    ask_size: float | None
    last_price: float | None
    """The last price if it lies within bid and ask, else their middle, else the previous close."""
    volume: float | None
    close: float | None
    """The previous session's close."""
    delayed: bool
    """15 to 20 minutes old, for want of a market-data subscription."""
    at: datetime | None
    """When the newest value arrived (UTC)."""


class IBInterface(ABC):
    """What a small bot needs of a broker. Every call blocks, from any thread that runs no event loop."""

    @abstractmethod
    def connect(self, host: str = "", port: int = 0, client_id: int = 1, timeout: float = 20.0) -> None:
        """Connect within `timeout` seconds, or raise."""

    @abstractmethod
    def is_connected(self) -> bool:
        """Whether orders can be placed now."""

    @abstractmethod
    def place_order(self, ticker: str, action: str, quantity: int) -> int:
        """Place a market order, and return its order id."""

    @abstractmethod
    def get_market_data(self, ticker: str) -> MarketData:
        """A live quote."""

    @abstractmethod
    def disconnect(self) -> None:
        """End the connection. Orders stay at the broker."""

    @abstractmethod
    def get_account(self) -> str:
        """The id of the account that is traded."""


class IBIndClient(IBInterface):
    """`IBInterface` over the Web API: a Client Portal Gateway or IBeam.

    Args:
        base_url: of the gateway, with or without the path of the API. The default is a gateway on this machine.
        paper_trading: True refuses every account that is not a paper one (`DU…`, and the login's own `isPaper`); False
            allows live trading.
        profile: names the journal's and the connector's identity, for several clients in one program.
        settings: any setting of the connector, by section: `web={"verify_tls": False}` (a Client Portal Gateway has a
            certificate of its own, which is refused without it), `state_dir=…`.

    Raises:
        ConfigurationError: from `connect`, when a setting cannot be used.
    """

    def __init__(
        self,
        base_url: str = "https://127.0.0.1:5000",
        paper_trading: bool = True,
        *,
        profile: str = "ibind-client",
        **settings: Any,
    ) -> None:
        self.base_url = base_url
        self.paper_trading = paper_trading
        self._profile = profile
        self._settings = settings
        self._connector: IBKRConnector | None = None
        self._lock = threading.Lock()

    def connect(self, host: str = "", port: int = 0, client_id: int = 1, timeout: float = 20.0) -> None:
        """Connect and synchronise. Returns at once when connected.

        Args:
            host: as in `base_url`; for programs written for a socket. Another one is refused.
            port: the same.
            client_id: numbers nothing at the Web API; names the client's files in the state directory.
            timeout: seconds for the login and the handshake.

        Raises:
            InvalidRequest: `host` or `port` name another gateway than `base_url`.
            LiveTradingRefused: the account is a live one and `paper_trading` is True.
            IBKRConnectionError: no gateway, nobody logged in, another program holds the session.
        """
        named = urlsplit(self.base_url).hostname or ""
        if (host and host != named) or (port and port != _port(self.base_url)):
            raise InvalidRequest(
                f"host and port are {host or named}:{port or _port(self.base_url)}, base_url is {self.base_url}.",
                field="host",
                remedy="Leave host and port away, or make the client with the right base_url.",
            )
        with self._lock:
            connector = self._connector
            if connector is None or connector.closed:
                web = {"url": _api_url(self.base_url), **self._settings.get("web", {})}
                others = {name: value for name, value in self._settings.items() if name != "web"}
                arguments: dict[str, Any] = {
                    "backend": "web",
                    "web": web,
                    "client_id": client_id,
                    "mode": "paper" if self.paper_trading else "live",
                    "handshake_timeouts": (timeout, timeout, timeout),
                    **others,
                }
                connector = self._connector = get_ibkr_connector(
                    profile=self._profile, allow_live=not self.paper_trading, **arguments
                )
        connector.sync.connect()

    def is_connected(self) -> bool:
        """Whether the session is up, logged in and synchronised."""
        return self._connector is not None and not self._connector.closed and self._connector.is_connected()

    def place_order(self, ticker: str, action: str, quantity: int) -> int:
        """Place a market order through every gate and the journal; returns when the broker has acknowledged it.

        Returns:
            The connector's order id: `client.sync.get_order(order_id)` finds the order again.

        Raises:
            OrderValidationError, RiskRejected, OrderNotSent: nothing was sent.
            OrderRejected: the broker refused it. OrderInDoubt: it may or may not be there; do not send it again.
        """
        order_id = self.sync.place_market_order(ticker, quantity, action).order_id
        return int(order_id)

    def get_market_data(self, ticker: str) -> MarketData:
        """A quote at most a few seconds old. Raises: NoMarketData, ContractNotFound, NotConnected."""
        quote = self.sync.get_live_quote(ticker, timeout=_QUOTE_S)
        return MarketData(
            ticker=ticker,
            bid=quote.bid,
            ask=quote.ask,
            last=quote.last,
            bid_size=quote.bid_size,
            ask_size=quote.ask_size,
            last_price=quote.market_price,
            volume=quote.volume,
            close=quote.close,
            delayed=quote.delayed,
            at=quote.at,
        )

    def disconnect(self) -> None:
        """End the connection and close the connector; `connect` may follow. Idempotent. Orders stay at the broker."""
        with self._lock:
            connector, self._connector = self._connector, None
        if connector is not None:
            connector.sync.close()

    def get_account(self) -> str:
        """The account's id. Raises: NotConnected."""
        return self.sync.account_id

    @property
    def sync(self) -> SyncConnector:
        """The whole blocking connector, for what six calls do not offer. Raises: NotConnected before `connect`."""
        if self._connector is None:
            raise NotConnected("connect() was not called.", remedy="Call connect() first.")
        return self._connector.sync


def _port(url: str) -> int:
    address = urlsplit(url)
    return address.port or (443 if address.scheme == "https" else 80)


def _api_url(base_url: str) -> str:
    """The address of the API: the gateway's own path where none is named."""
    return base_url if urlsplit(base_url).path.strip("/") else base_url.rstrip("/") + _API_PATH
