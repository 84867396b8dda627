"""Accounts over the websocket: profit and loss (spl), summary rows (ssd), ledgers (sld)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .accounts_desk import pnl_rows
from .calls import Json
from .figures import NOT_IN_SUMMARY, Figures
from .stream import Stream

if TYPE_CHECKING:
    from .socket import Socket

PNL_INTERVAL: Final = 1.0
"""Wire seconds between two looks at the profit."""
FIGURES_INTERVAL: Final = 10.0
"""Wire seconds between two frames of summaries and ledgers."""
MAX_NAMES: Final = 200

_TEXTS: Final = frozenset({"AccountCode", "AccountReady", "AccountType"})
_LEDGER_NAMES: Final = {
    "cashbalance": "cashbalance",
    "cashBalanceFXSegment": "cashbalancefxsegment",
    "commodityMarketValue": "commoditymarketvalue",
    "corporateBondsMarketValue": "corporatebondsmarketvalue",
    "dividends": "dividends",
    "exchangeRate": "exchangerate",
    "funds": "funds",
    "marketValue": "stockmarketvalue",
    "optionMarketValue": "stockoptionmarketvalue",
    "interest": "interest",
    "issueOptionsMarketValue": "issueroptionsmarketvalue",
    "moneyFunds": "moneyfunds",
    "netLiquidationValue": "netliquidationvalue",
    "realizedPnl": "realizedpnl",
    "unrealizedPnl": "unrealizedpnl",
    "settledCash": "settledcash",
    "tBillsMarketValue": "tbillsmarketvalue",
    "tBondsMarketValue": "tbondsmarketvalue",
    "warrantsMarketValue": "warrantsmarketvalue",
}
"""Names in frames -> names in the REST ledger: other spellings of the same."""


class PnlStream(Stream):
    """spl: the profit of every account, when it has changed."""

    def __init__(self, socket: Socket) -> None:
        super().__init__(socket)
        self._shown: Json = None

    def open(self) -> None:
        """Send it, and look again every second."""
        rows = pnl_rows(self.hub)
        if rows != self._shown:
            self._shown = rows
            self.socket.send({"topic": "spl", "args": rows})
        self.later("look", PNL_INTERVAL, self.open)


class _FiguresStream(Stream):
    """Rows every ten seconds; those that did not change are only named."""

    def __init__(self, socket: Socket, account: str, options: dict[str, Json]) -> None:
        super().__init__(socket)
        self.account = account
        self.keys = _names(options, "keys")
        self.fields = _names(options, "fields")
        self._shown: dict[str, Json] = {}

    def figures(self) -> Figures:
        """The account's figures now."""
        return Figures(self.account, self.hub.exchange.account_values(self.account))

    def rows(self) -> dict[str, dict[str, Json]]:
        """The full rows by key, without key and timestamp."""
        raise TypeError(f"{type(self).__name__} does not say what its rows are")

    def always(self, key: str) -> bool:
        """Whether a row is sent in full every time."""
        return False

    def send_rows(self, topic: str) -> None:
        """Send a frame."""
        now = int(self.hub.clock.now().timestamp())
        result: list[Json] = []
        for key, row in self.rows().items():
            body = {} if self._shown.get(key) == row and not self.always(key) else row
            self._shown[key] = row
            result.append({"key": key, "timestamp": now, **body})
        if result:
            self.socket.send({"topic": topic, "result": result})


class SummaryStream(_FiguresStream):
    """ssd: rows of an account; its code comes with every frame."""

    def open(self) -> None:
        """Send the rows, and again every ten seconds."""
        self.send_rows(f"ssd+{self.account}")
        self.later("look", FIGURES_INTERVAL, self.open)

    def always(self, key: str) -> bool:
        """Clients need to know whose summary it is."""
        return key == "AccountCode"

    def rows(self) -> dict[str, dict[str, Json]]:
        """Amounts as monetaryValue, facts as value."""
        found: dict[str, dict[str, Json]] = {}
        for value in self.hub.exchange.account_values(self.account):
            wanted = not self.keys or value.key in self.keys or value.key == "AccountCode"
            if not wanted or value.key in found.keys() | NOT_IN_SUMMARY or value.currency not in {"", "USD"}:
                continue
            row: dict[str, Json] = {"severity": 0}
            if value.currency and value.key not in _TEXTS:
                row |= {"currency": value.currency, "monetaryValue": float(value.value)}
            else:
                row["value"] = value.value
            if self.fields:
                row = {name: content for name, content in row.items() if name in self.fields or name == "value"}
            found[value.key] = row
        return found


class LedgerStream(_FiguresStream):
    """sld: one row per currency, LedgerListUSD and so on, and LedgerListBASE."""

    def open(self) -> None:
        """Send the rows, and again every ten seconds."""
        self.send_rows(f"sld+{self.account}")
        self.later("look", FIGURES_INTERVAL, self.open)

    def rows(self) -> dict[str, dict[str, Json]]:
        """The REST ledger under the names of frames."""
        found: dict[str, dict[str, Json]] = {}
        for currency, ledger in self.figures().ledger(0).items():
            key = f"LedgerList{currency}"
            if self.keys and key not in self.keys:
                continue
            row: dict[str, Json] = {name: ledger[own] for name, own in _LEDGER_NAMES.items()}
            row |= {"secondKey": currency, "severity": 0, "acctCode": self.account}
            if self.fields:
                row = {n: v for n, v in row.items() if n in self.fields or n in {"secondKey", "acctCode"}}
            found[key] = row
        return found


def _names(options: dict[str, Json], name: str) -> frozenset[str]:
    wanted = options.get(name)
    return frozenset(str(each) for each in wanted[:MAX_NAMES]) if isinstance(wanted, list) else frozenset()
