"""Portfolio: accounts as the back office sees them, positions with their cache, summary, ledger, allocation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ..exchange.types import PositionView
from .calls import Call, Endpoint, Json, WebError
from .figures import Figures
from .hub import WebHub

PAGE: Final = 100
"""Positions on a page; large accounts (portfolio2, subaccounts2) 20."""
CACHE: Final = 30.0
"""Wire seconds a page of positions is as old as it was, unless it is invalidated (the duration is illustrative)."""


@dataclass(slots=True)
class _Cached:
    at: float
    positions: list[PositionView]
    known: set[int] = field(default_factory=set)
    """Contracts whose description has been fetched: their rows have more fields."""


class PortfolioDesk:
    """Answers below portfolio."""

    def __init__(self, hub: WebHub) -> None:
        self._hub = hub
        self._cache: dict[str, _Cached] = {}

    def endpoints(self) -> list[Endpoint]:
        """What is answered here."""
        rows = [
            ("GET", "portfolio/accounts", "portfolio_accounts", self._accounts),
            ("GET", "portfolio/subaccounts", "portfolio_subaccounts", self._subaccounts),
            ("GET", "portfolio/subaccounts2", "portfolio_subaccounts", self._subaccounts),
            ("GET POST", "portfolio/allocation", "allocation", self._allocations),
            ("GET", "portfolio/positions/{conid}", "positions", self._by_conid),
            ("GET", "portfolio/{account}/meta", "portfolio_meta", self._meta),
            ("GET", "portfolio/{account}/allocation", "allocation", self._allocation),
            ("GET", "portfolio/{account}/summary", "portfolio_summary", self._summary),
            ("GET", "portfolio/{account}/ledger", "ledger", self._ledger),
            ("GET", "portfolio/{account}/combo/positions", "combo_positions", self._combos),
            ("POST", "portfolio/{account}/positions/invalidate", "positions_invalidate", self._invalidate),
            ("GET", "portfolio/{account}/positions", "positions", self._positions),
            ("GET", "portfolio/{account}/positions/{page}", "positions", self._positions),
            ("GET", "portfolio/{account}/position/{conid}", "positions", self._position),
            ("GET", "portfolio2/{account}/positions", "positions", self._real_time),
        ]
        return [Endpoint(methods, path, name, handler, "login") for methods, path, name, handler in rows]

    # --- accounts ----------------------------------------------------------------------------------------------------

    def _accounts(self, call: Call) -> Json:
        self._hub.portfolio_asked = True
        return [self._card(name, brokerage=True) for name in self._hub.exchange.accounts]

    def _subaccounts(self, call: Call) -> Json:
        self._hub.portfolio_asked = True
        return [self._card(name) for name in self._hub.exchange.accounts]

    def _meta(self, call: Call) -> Json:
        return self._card(self._account(call))

    def _account(self, call: Call) -> str:
        if not self._hub.portfolio_asked:
            raise WebError(400, "Bad Request: Please query /portfolio/accounts first")
        return self._hub.account(call.text("account"))

    def _card(self, name: str, *, brokerage: bool = False) -> Json:
        return {
            "id": name,
            "PrepaidCrypto-Z": False,
            "PrepaidCrypto-P": False,
            "brokerageAccess": brokerage,
            "accountId": name,
            "accountVan": name,
            "accountTitle": "Paper Trader",
            "displayName": "Paper Trader",
            "accountAlias": None,
            "accountStatus": int(self._hub.clock.anchor.timestamp()) * 1000,
            "currency": "USD",
            "type": "DEMO",
            "tradingType": "STKNOPT",
            "businessType": "INDEPENDENT",
            "category": "",
            "ibEntity": "IBLLC-US",
            "faclient": False,
            "clearingStatus": "O",
            "covestor": False,
            "noClientTrading": False,
            "trackVirtualFXPortfolio": False,
            "acctCustType": "INDIVIDUAL",
            "parent": {"mmc": [], "accountId": "", "isMParent": False, "isMChild": False, "isMultiplex": False},
            "desc": name,
        }

    # --- positions ---------------------------------------------------------------------------------------------------

    def _positions(self, call: Call) -> Json:
        account = self._account(call)
        page = call.integer("page", 0)
        if page < 0:
            raise WebError(400, "Bad Request: page is not valid")
        cached = self._cached(account)
        chosen = cached.positions[page * PAGE : (page + 1) * PAGE]
        rows = [position_row(view, described=view.instrument.con_id in cached.known) for view in chosen]
        # What a first request leaves out is fetched meanwhile.
        cached.known |= {view.instrument.con_id for view in chosen}
        return rows

    def _cached(self, account: str) -> _Cached:
        now = self._hub.clock.wire()
        cached = self._cache.get(account)
        if cached is None or now - cached.at >= CACHE:
            known = set() if cached is None else cached.known
            cached = self._cache[account] = _Cached(now, self._hub.exchange.positions(account), known)
        return cached

    def _invalidate(self, call: Call) -> Json:
        self._cache.pop(self._account(call), None)
        return {"message": "success"}

    def _position(self, call: Call) -> Json:
        account, con_id = self._account(call), call.integer("conid")
        return [
            position_row(view, described=True)
            for view in self._hub.exchange.positions(account)
            if view.instrument.con_id == con_id
        ]

    def _by_conid(self, call: Call) -> Json:
        con_id = call.integer("conid")
        found: dict[str, list[Json]] = {}
        for view in self._hub.exchange.positions(None):
            if view.instrument.con_id == con_id:
                found.setdefault(view.account, []).append(position_row(view, described=False))
        return found

    def _real_time(self, call: Call) -> Json:
        at = int(self._hub.clock.now().timestamp())
        return [_real_time_row(view, at) for view in self._hub.exchange.positions(self._account(call))]

    def _combos(self, call: Call) -> Json:
        self._account(call)
        return []

    # --- figures -----------------------------------------------------------------------------------------------------

    def _figures(self, call: Call) -> Figures:
        account = self._account(call)
        return Figures(account, self._hub.exchange.account_values(account))

    def _summary(self, call: Call) -> Json:
        return self._figures(call).summary(int(self._hub.clock.now().timestamp()))

    def _ledger(self, call: Call) -> Json:
        return self._figures(call).ledger(int(self._hub.clock.now().timestamp()))

    def _allocation(self, call: Call) -> Json:
        return self._allocated([self._account(call)])

    def _allocations(self, call: Call) -> Json:
        wanted = call.body.get("acctIds") if isinstance(call.body, dict) else None
        names = self._hub.exchange.accounts if not isinstance(wanted, list) else wanted[:PAGE]
        return self._allocated([self._hub.account(str(name)) for name in names])

    def _allocated(self, accounts: list[str]) -> Json:
        table: dict[str, dict[str, dict[str, float]]] = {
            name: {"long": {}, "short": {}} for name in ("assetClass", "sector", "group")
        }

        def add(name: str, key: str, value: float) -> None:
            side = table[name]["long" if value >= 0 else "short"]
            side[key] = round(side.get(key, 0.0) + value, 2)

        for account in accounts:
            for view in self._hub.exchange.positions(account):
                if view.instrument.sec_type == "CASH":
                    continue
                value = float(view.market_value)
                add("assetClass", view.instrument.sec_type, value)
                add("sector", view.instrument.industry or "Others", value)
                add("group", view.instrument.category or "Others", value)
            figures = Figures(account, self._hub.exchange.account_values(account))
            add("assetClass", "CASH", float(figures.get("TotalCashValue")))
        return table


def position_row(view: PositionView, *, described: bool) -> Json:
    """A position; `described` rows name the contract as well, and write some of their nothings otherwise."""
    item = view.instrument
    is_future = item.sec_type == "FUT"
    row = {
        "acctId": view.account,
        "conid": item.con_id,
        "contractDesc": item.local_symbol if is_future else item.symbol,
        "position": float(view.quantity),
        "mktPrice": round(float(view.market_price), 7),
        "mktValue": round(float(view.market_value), 2),
        "currency": item.currency,
        "avgCost": round(float(view.avg_cost), 8),
        "avgPrice": round(float(view.avg_cost / item.multiplier), 8),
        "realizedPnl": round(float(view.realized_pnl), 2),
        "unrealizedPnl": round(float(view.unrealized_pnl), 2),
        "exchs": None,
        "expiry": item.expiry or None,
        "putOrCall": None,
        "multiplier": float(item.multiplier) if is_future else 0.0 if described else None,
        "strike": "0" if described else 0.0,
        "exerciseStyle": None,
        "conExchMap": [],
        "assetClass": item.sec_type,
        "undConid": item.under_con_id,
        "model": "",
    }
    if described:
        row |= {
            "ticker": item.symbol,
            "name": item.long_name,
            "isUS": item.currency == "USD",
            "isEventContract": False,
            "fullName": item.local_symbol,
            "listingExchange": item.primary_exchange or item.exchange,
            "countryCode": "US",
            "type": item.stock_type,
            "hasOptions": "OPT" in item.derivative_sec_types,
            "pageSize": PAGE,
        }
    return row


def _real_time_row(view: PositionView, at: int) -> Json:
    item = view.instrument
    average = float(view.avg_cost / item.multiplier)
    return {
        "position": float(view.quantity),
        "conid": str(item.con_id),
        "avgCost": float(view.avg_cost),
        "avgPrice": average,
        "currency": item.currency,
        "description": item.local_symbol,
        "isLastToLoq": False,
        "marketPrice": float(view.market_price),
        "marketValue": float(view.market_value),
        "realizedPnl": float(view.realized_pnl),
        "secType": item.sec_type,
        "timestamp": at,
        "unrealizedPnl": float(view.unrealized_pnl),
        "assetClass": item.sec_type,
        "sector": item.industry or None,
        "group": item.category or None,
        "model": "",
    }
