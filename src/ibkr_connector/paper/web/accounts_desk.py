"""The accounts of the brokerage session: which there are, which is selected, what is in them, today's profit."""

from __future__ import annotations

from typing import Final

from .calls import Call, Endpoint, Fields, Json, WebError
from .figures import Figures
from .hub import WebHub
from .session import SERVER_NAME, SERVER_VERSION

_ASSETS: Final = "STK,CFD,OPT,FOP,WAR,FUT,BAG,PDC,CASH,IND,BOND,BILL,FUND,SLB,News,CMDTY,IOPT,ICU,ICS,PHYSS,CRYPTO"
_ON: Final = (
    "showGFIS", "allowEventContract", "allowFXConv", "allowMTA", "allowTypeAhead", "allowEventTrading", "showWebNews",
    "research", "debugPnl", "showTaxOpt", "showImpactDashboard", "allowCrypto", "sideBySide",
)  # fmt: skip
_OFF: Final = (
    "showEUCostReport", "allowFinancialLens", "liteUser", "allowDynAccount", "allowFA", "allowLiteUnderPro",
    "restrictTradeSubscription", "showUkUserLabels",
)  # fmt: skip
_EVERY_PERIOD: Final = (
    "STK", "CFD", "WAR", "IOPT", "FUT", "CASH", "IND", "BOND", "FUND", "CMDTY", "PHYSS", "CRYPTO",
)  # fmt: skip


class AccountsDesk:
    """Answers below iserver/account."""

    def __init__(self, hub: WebHub) -> None:
        self._hub = hub
        self._pnl_asked = False

    def endpoints(self) -> list[Endpoint]:
        """What is answered here."""
        summary = "iserver/account/{account}/summary"
        return [
            Endpoint("GET", "iserver/accounts", "accounts", self._accounts),
            Endpoint("POST", "iserver/account", "switch_account", self._switch),
            Endpoint("POST", "iserver/dynaccount", "dynamic_account", self._dynamic),
            Endpoint("GET", "iserver/account/search/{pattern}", "search_account", self._search),
            Endpoint("GET", "iserver/account/pnl/partitioned", "pnl", self._pnl),
            Endpoint("GET", summary, "account_summary", self._summary),
            Endpoint("GET", f"{summary}/available_funds", "account_summary", self._funds),
            Endpoint("GET", f"{summary}/balances", "account_summary", self._balances),
            Endpoint("GET", f"{summary}/margins", "account_summary", self._margins),
            Endpoint("GET", f"{summary}/market_value", "account_summary", self._market_value),
            Endpoint("GET", "acesws/{account}/signatures-and-owners", "signatures", self._signatures, "login"),
        ]

    def body(self) -> dict[str, Json]:
        """The answer of iserver/accounts; a websocket's `act` frame carries the same."""
        accounts = self._hub.exchange.accounts
        flags: dict[str, Json] = {**dict.fromkeys(_ON, True), **dict.fromkeys(_OFF, False)}
        return {
            "accounts": accounts,
            "acctProps": {
                name: {
                    "hasChildAccounts": False,
                    "supportsCashQty": True,
                    "liteUnderPro": False,
                    "noFXConv": False,
                    "isProp": False,
                    "supportsFractions": True,
                    "allowCustomerTime": False,
                    "autoFx": False,
                }
                for name in accounts
            },
            "aliases": {name: name for name in accounts},
            "allowFeatures": flags | {"snapshotRefreshTimeout": 30, "allowedAssetTypes": _ASSETS},
            "chartPeriods": {kind: ["*"] for kind in _EVERY_PERIOD} | {"OPT": ["2h", "1d"], "FOP": ["2h", "1d"]},
            "groups": [],
            "profiles": [],
            "selectedAccount": self._hub.selected,
            "serverInfo": {"serverName": SERVER_NAME, "serverVersion": SERVER_VERSION},
            "sessionId": f"{self._hub.session.token[:8]}.00000001",
            "isFT": False,
            "isPaper": True,
        }

    def _accounts(self, call: Call) -> Json:
        self._hub.accounts_asked = True
        return self.body()

    def _switch(self, call: Call) -> Json:
        account = Fields(call.object()).text("acctId")
        if not account:
            raise WebError(400, "Bad Request: acctId is missing")
        if account not in self._hub.exchange.accounts:
            raise WebError(500, f"Account {account} is not valid")
        if account == self._hub.selected:
            return {"success": "Account already set"}
        self._hub.selected = account
        return {"set": True, "acctId": account}

    def _dynamic(self, call: Call) -> Json:
        account = self._hub.account(Fields(call.object()).text("acctId"))
        self._hub.selected = account
        return {"set": True, "acctId": account}

    def _search(self, call: Call) -> Json:
        pattern = call.text("pattern")
        found = [name for name in self._hub.exchange.accounts if pattern.upper() in name.upper()]
        return {
            "matchedAccounts": [{"accountId": name, "alias": name, "allocationId": name} for name in found],
            "pattern": pattern,
        }

    def _pnl(self, call: Call) -> Json:
        # The first request only starts the subscription.
        first, self._pnl_asked = not self._pnl_asked, True
        return {"upnl": {} if first else pnl_rows(self._hub)}

    def figures(self, account: str) -> Figures:
        """The figures of an account."""
        return Figures(account, self._hub.exchange.account_values(account))

    def _figures(self, call: Call) -> Figures:
        return self.figures(self._hub.account(call.text("account")))

    def _summary(self, call: Call) -> Json:
        return self._figures(call).overview()

    def _funds(self, call: Call) -> Json:
        return self._figures(call).available_funds()

    def _balances(self, call: Call) -> Json:
        return self._figures(call).balances()

    def _margins(self, call: Call) -> Json:
        return self._figures(call).margins()

    def _market_value(self, call: Call) -> Json:
        return self._figures(call).market_value()

    def _signatures(self, call: Call) -> Json:
        account = self._hub.account(call.text("account"))
        owner = {
            "firstName": "Paper",
            "lastName": "Trader",
            "entityType": "INDIVIDUAL",
            "entityName": "Paper Trader",
            "dateOfBirth": "1990-01-01",
        }
        user = {
            "roleId": "OWNER",
            "hasRightCodeInd": True,
            "userName": self._hub.options.username,
            "entity": owner,
        }
        return {"accountId": account, "users": [user], "applicant": {"signatures": ["Paper Trader"]}}


def pnl_rows(hub: WebHub) -> dict[str, Json]:
    """Today's profit of every account by `<account>.Core`, base currency."""
    rows: dict[str, Json] = {}
    for account in hub.exchange.accounts:
        figures = Figures(account, hub.exchange.account_values(account))
        pnl = hub.exchange.pnl(account)
        rows[f"{account}.Core"] = {
            "rowType": 1,
            "dpl": round(float(pnl.daily), 2),
            "nl": round(float(figures.get("NetLiquidation")), 2),
            "upl": round(float(pnl.unrealized), 2),
            "uel": round(float(figures.get("ExcessLiquidity")), 2),
            "el": round(float(figures.get("ExcessLiquidity")), 2),
            "mv": round(float(figures.get("StockMarketValue", "BASE")), 2),
        }
    return rows
