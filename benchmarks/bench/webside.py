"""The sides of the Web benchmarks: ibind's `IbkrClient` as its README uses it, and the connector with `backend = web`.

Only what is needed is imported, when it is needed: a raw side never loads the connector.
"""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .sides import MESSAGES_PER_SECOND, ConnectorSide

if TYPE_CHECKING:
    from ibkr_connector import IBKRConnector

ACCOUNT = "DU1234567"
LIBRARY = "ibind"


def take_environment(file: str) -> None:
    """Set the variables of an environment file of `paper oauth-keys`, as a shell would: ibind's names and ours."""
    for line in Path(file).read_text("utf-8").splitlines():
        name, is_one, value = line.partition("=")
        if is_one and not line.startswith("#"):
            os.environ[name] = shlex.split(value)[0]


class RawWebSide:
    """ibind's client, with its defaults: ten seconds for an answer, and three more tries."""

    kind = "raw"

    def __init__(self, urls: list[str], oauth: str, options: dict[str, Any]) -> None:
        self.urls = urls
        self.oauth = oauth
        self.options = options
        self.module: Any = None
        self.client: Any = None
        self.clients: dict[int, Any] = {}
        """One for each of several gateways."""
        self._numbers = itertools.count(1)

    async def prepare(self) -> None:
        """Import ibind, which reads its settings from the environment then."""
        if self.oauth:
            take_environment(self.oauth)
        self.module = importlib.import_module(LIBRARY)
        logging.getLogger(LIBRARY).setLevel(logging.CRITICAL)

    async def open(self) -> None:
        """Make the client."""
        self.client = self.make(self.urls[0])

    def make(self, url: str) -> Any:
        """A client that has made the calls which have to come first."""
        if self.oauth:
            client = self.module.IbkrClient(account_id=ACCOUNT, use_oauth=True, **self.options)
        else:
            client = self.module.IbkrClient(account_id=ACCOUNT, url=url, **self.options)
        client.receive_brokerage_accounts()
        client.portfolio_accounts()
        return client

    def stock(self, symbol: str) -> int:
        """The conid of a stock."""
        return int(self.client.stock_conid_by_symbol(symbol).data[symbol])

    def limit(self, con_id: int, price: float, *, named: bool = True) -> Any:
        """A limit order for one share, with a cOID of its own where `named`."""
        name = f"raw-{os.getpid()}-{next(self._numbers)}" if named else None
        return self.module.OrderRequest(
            conid=con_id, side="BUY", quantity=1, order_type="LMT", acct_id=ACCOUNT, price=price, tif="GTC", coid=name
        )

    async def close(self) -> None:
        """Nothing: ibind ends with its process."""


class WebConnectorSide(ConnectorSide):
    """The connector over the Web API, connected; with `paced` at IBKR's pace, else as fast as it can be set.

    `options` are settings of `[web]`; its `pacing` and `risk_limits` are those sections.
    """

    def __init__(self, urls: list[str], folder: Path, oauth: str, options: dict[str, Any], *, paced: bool) -> None:
        # No pace: what its settings can ask for at most, as on TWS. IBKR's own limits of the Web API are below that.
        rates: dict[str, int] = options.pop("pacing", {})
        self.limits: dict[str, Any] = options.pop("risk_limits", {})
        super().__init__(LIBRARY, 0, 1, folder, rates=rates if paced else None)
        self.urls = urls
        self.oauth = oauth
        self.paced = paced
        self.options = options

    async def prepare(self) -> None:
        """Before anything is connected."""
        if self.oauth:
            take_environment(self.oauth)
        if not self.paced:
            unhurried()

    def make(self, client_id: int, name: str, **limits: Any) -> IBKRConnector:
        """See `ConnectorSide.make`. `name` may end in the number of the gateway: `case-2`."""
        from ibkr_connector import IBKRConnector

        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / "empty.ini"
        settings.touch(mode=0o600)
        number = name.rpartition("-")[2]
        url = self.urls[int(number)] if number.isdecimal() else self.urls[0]
        made: IBKRConnector = IBKRConnector(
            settings,
            profile=f"bench-web-{name}",
            mode="paper",
            backend="web",
            account_id=ACCOUNT,
            state_dir=folder,
            pacing=self.rates,
            web={"url": url, **self.options},
            risk_limits=self.limits,
            sync_timeout=60.0,
            **limits,
        )
        return made


def unhurried() -> None:
    """Lift IBKR's limits of the Web API from connectors made from now on, for a gateway that has none.

    Settings can only lower them: the pacer stays in place, at the rate at which the benchmarks over TWS have it.
    """
    from ibkr_connector.resilience import web_rules

    rules: Any = web_rules
    rules._RATES = dict.fromkeys(rules._RATES, (MESSAGES_PER_SECOND, 1.0))
    rules.GATEWAY_PER_SECOND = rules.OAUTH_PER_SECOND = MESSAGES_PER_SECOND


WebSide = RawWebSide | WebConnectorSide
